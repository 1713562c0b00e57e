// Holds back what a server answers about its repos, so that something can happen
// while a reader waits.

const FETCHES = /^\/xrpc\/com\.atproto\.(sync\.getRepo|sync\.getRecord|repo\.describeRepo)\?/

// 'question': the server hears it at the release. 'answer': the server answers at
// once, and the reader gets that at the release.
const SIDES = ['question', 'answer']

export class Hold {
  // How many readers wait, by DID.
  waiting = {}
  #side
  #released
  #release

  constructor(side) {
    if (!SIDES.includes(side)) throw new Error(`no such side: ${side}`)
    this.#side = side
    this.#released = new Promise((resolve) => (this.#release = resolve))
  }

  release() {
    this.#release()
  }

  // Takes a request, and tells whether it was answered. Requests of accounts are
  // not held, as a migration needs them, and neither are its own.
  async take(url, req, res) {
    if (!FETCHES.test(req.url) || req.headers.authorization || req.headers.unheld) return false
    const params = new URL(req.url, url).searchParams
    const did = params.get('did') ?? params.get('repo')
    const early = this.#side === 'answer' ? await answerOf(url + req.url) : undefined
    this.waiting[did] = (this.waiting[did] ?? 0) + 1
    await this.#released
    this.waiting[did]--
    if (!early) return false
    res.writeHead(early.status, { 'content-type': early.type }).end(early.body)
    return true
  }
}

async function answerOf(url) {
  const res = await fetch(url, { headers: { unheld: 'yes' } })
  return { status: res.status, type: res.headers.get('content-type'), body: new Uint8Array(await res.arrayBuffer()) }
}
