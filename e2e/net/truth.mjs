// What a repo holds, walked out of the CAR file of getRepo. describeRepo is not
// asked: it is one of the answers that an index may rely on.

import { MemoryBlockstore, Repo, readCarWithRoot } from '@atproto/repo'
import { XrpcError, query } from './xrpc.mjs'

const INACTIVE = ['RepoDeactivated', 'RepoTakendown', 'RepoNotFound']

export async function truthOf(host, did) {
  let car
  try {
    car = await query(host, 'com.atproto.sync.getRepo', { did })
  } catch (err) {
    if (err instanceof XrpcError && INACTIVE.includes(err.name)) return { did, public: false, refusal: err.name, collections: [] }
    throw err
  }
  return { did, public: true, collections: await collectionsOf(car, did) }
}

async function collectionsOf(car, did) {
  const { root, blocks } = await readCarWithRoot(car)
  const repo = await Repo.load(new MemoryBlockstore(blocks), root)
  if (repo.did !== did) throw new Error(`the CAR of ${did} is of ${repo.did}`)
  const found = new Set()
  for await (const { collection } of repo.walkRecords()) found.add(collection)
  return [...found].sort()
}
