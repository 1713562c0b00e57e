// A plan of commits for one account, drawn from (seed, index) only. It goes for
// what an index of collections can get wrong: names that are prefixes of each
// other, commits that mix collections, collections that are emptied at once or
// in steps, and that come back.

const NAMES = [
  'app.bsky.actor.profile',
  'app.bsky.feed.post',
  'app.bsky.graph.follow',
  // Prefixes at a segment boundary: '.' and '-' sort before the '/' of a key.
  'com.example.gallery',
  'com.example.gallery.item',
  'com.example.gallery.item.tag',
  'com.example.gallery-x.item',
  // Prefixes inside a segment: digits and letters sort after it.
  'com.example.gallery0',
  'com.example.gallerys',
  'com.example.galleryItem',
  // The same letters in another case are another collection.
  'com.example.note',
  'com.example.Note',
  'com.example.nOte',
  // The shortest, a deep and a long one.
  'a.b.c',
  `com.example.${'deep.'.repeat(20)}record`,
  `com.example.${'n'.repeat(63)}`,
  'com.ex4mple.note',
  'com.example-two.note',
  'sh.tangled.repo',
  'sh.tangled.repo.issue',
]

const MAX_COLLECTIONS = 7
const MAX_RECORDS = 8
const MAX_WRITES = 16

// Mulberry32: a 32-bit state, good enough to draw test data.
function draw(seed, index) {
  let state = (Math.imul(seed, 0x9e3779b1) ^ Math.imul(index + 1, 0x85ebca6b)) >>> 0
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), state | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return (t ^ (t >>> 14)) >>> 0
  }
  return { upTo: (n) => next() % (n + 1), percent: (p) => next() % 100 < p, next }
}

function shuffle(rnd, list) {
  for (let i = list.length - 1; i > 0; i--) {
    const j = rnd.upTo(i)
    ;[list[i], list[j]] = [list[j], list[i]]
  }
  return list
}

const create = (collection, n) => ({
  action: 'create',
  collection,
  rkey: `${n % 2 ? 'r' : 'A-'}${n}`,
  record: { $type: collection, n },
})
const remove = ({ collection, rkey }) => ({ action: 'delete', collection, rkey })

// Gives the commits, each a list of writes, and the collections that are left.
export function planAccount(seed, index) {
  const rnd = draw(seed, index)
  const chosen = shuffle(rnd, [...NAMES]).slice(0, rnd.upTo(MAX_COLLECTIONS))
  const records = new Map(
    chosen.map((name) => [name, Array.from({ length: 1 + rnd.upTo(MAX_RECORDS - 1) }, (_, n) => create(name, n))]),
  )
  const commits = []
  const creates = shuffle(rnd, [...records.values()].flat())
  while (creates.length > 0) commits.push(creates.splice(0, 1 + rnd.upTo(MAX_WRITES - 1)))

  const left = new Set(chosen)
  for (const [name, made] of records) {
    if (rnd.percent(25)) {
      const deletes = made.map(remove)
      if (rnd.percent(50)) commits.push(deletes)
      else commits.push(deletes.slice(1), deletes.slice(0, 1))
      left.delete(name)
      if (rnd.percent(30)) {
        commits.push([create(name, 100)])
        left.add(name)
      }
    } else if (rnd.percent(20)) {
      commits.push(made.slice(1).map(remove))
    }
  }
  return { commits: commits.filter((c) => c.length > 0), collections: [...left].sort() }
}
