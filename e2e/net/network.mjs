// The network and the accounts that were made on it.

import path from 'node:path'
import { Hold } from './hold.mjs'
import { migrate } from './migrate.mjs'
import { planAccount } from './plan.mjs'
import { ADMIN_PASSWORD, Pds, startPlc } from './servers.mjs'
import { truthOf } from './truth.mjs'
import { basic, procedure } from './xrpc.mjs'

const PASSWORD = 'e2e-password'
const ADMIN = basic(ADMIN_PASSWORD)
const LANES = 4

export class Network {
  accounts = new Map()
  // Every collection that a record was ever written to, emptied or not.
  written = new Set()
  hosts = []
  seeding = { running: false, accounts: 0, commits: 0 }
  seeded = Promise.resolve([])

  static async start(dir, count, backfillMs) {
    const self = new Network()
    self.plc = await startPlc()
    for (let i = 0; i < count; i++) {
      self.hosts.push(await Pds.start(path.join(dir, `pds${i}`), self.plc.url, backfillMs))
    }
    return self
  }

  async close() {
    await Promise.all(this.hosts.map((host) => host.close()))
    await this.plc?.close()
  }

  find(did) {
    const account = this.accounts.get(did)
    if (!account) throw new Error(`not an account of this network: ${did}`)
    return account
  }

  host(pds) {
    const host = this.hosts[pds]
    if (!host) throw new Error(`no such pds: ${pds}`)
    return host
  }

  hostOf(did) {
    const { host } = this.find(did)
    return this.hosts.find(({ url }) => url === host)
  }

  async account({ handle, pds = 0 }) {
    const host = this.host(pds)
    const name = `${handle ?? `user${this.accounts.size}`}.test`
    const made = await procedure(host.url, 'com.atproto.server.createAccount', {
      handle: name,
      email: `${name}@mail.test`,
      password: PASSWORD,
    })
    this.accounts.set(made.did, { did: made.did, host: host.url, token: made.accessJwt })
    return { did: made.did, handle: name, pds }
  }

  async asUser(did, nsid, input) {
    const account = this.find(did)
    // A takedown ends the sessions of the account.
    account.token ??= (
      await procedure(account.host, 'com.atproto.server.createSession', { identifier: did, password: PASSWORD })
    ).accessJwt
    return procedure(account.host, nsid, input, `Bearer ${account.token}`)
  }

  asAdmin(did, nsid, input) {
    return procedure(this.find(did).host, nsid, input, ADMIN)
  }

  // ---- records

  record({ did, collection, rkey, record }) {
    this.written.add(collection)
    const value = { $type: collection, ...record }
    return this.asUser(did, 'com.atproto.repo.createRecord', { repo: did, collection, rkey, record: value, validate: false })
  }

  delete({ did, collection, rkey }) {
    return this.asUser(did, 'com.atproto.repo.deleteRecord', { repo: did, collection, rkey })
  }

  // All writes go into one commit.
  applyWrites({ did, writes }) {
    for (const { collection } of writes) this.written.add(collection)
    return this.asUser(did, 'com.atproto.repo.applyWrites', {
      repo: did,
      validate: false,
      writes: writes.map(({ action, collection, rkey, record }) => ({
        $type: `com.atproto.repo.applyWrites#${action}`,
        collection,
        rkey,
        ...(action === 'delete' ? {} : { value: { $type: collection, ...record } }),
      })),
    })
  }

  // ---- states of an account

  deactivate({ did }) {
    return this.asUser(did, 'com.atproto.server.deactivateAccount', {})
  }

  activate({ did }) {
    return this.asUser(did, 'com.atproto.server.activateAccount')
  }

  async takedown({ did }) {
    await this.#setTakedown(did, { applied: true, ref: 'e2e' })
    this.find(did).token = undefined
  }

  untakedown({ did }) {
    return this.#setTakedown(did, { applied: false })
  }

  #setTakedown(did, takedown) {
    const subject = { $type: 'com.atproto.admin.defs#repoRef', did }
    return this.asAdmin(did, 'com.atproto.admin.updateSubjectStatus', { subject, takedown })
  }

  deleteAccount({ did }) {
    return this.asAdmin(did, 'com.atproto.admin.deleteAccount', { did })
  }

  handle({ did, handle }) {
    return this.asUser(did, 'com.atproto.identity.updateHandle', { handle: `${handle}.test` })
  }

  async migrate({ did, pds }) {
    this.accounts.set(did, await migrate(this.find(did), this.hostOf(did), this.host(pds), PASSWORD))
  }

  // The directory has no document of the DID any more. The PDS goes on as before.
  async tombstone({ did }) {
    await this.hostOf(did).tombstone(did)
    this.find(did).tombstoned = true
  }

  // ---- timeline

  // The seeding of this server waits, and goes on when it is started.
  async stop({ pds }) {
    const host = this.host(pds)
    let start
    host.pause = { over: new Promise((resolve) => (start = resolve)), start }
    await Promise.allSettled(host.writing ?? [])
    await host.stop()
  }

  async start({ pds }) {
    const host = this.host(pds)
    await host.start()
    host.pause.start()
    host.pause = undefined
  }

  hold({ pds, side }) {
    this.host(pds).hold = new Hold(side)
  }

  held({ pds }) {
    return this.host(pds).hold?.waiting
  }

  release({ pds }) {
    const host = this.host(pds)
    host.hold?.release()
    host.hold = undefined
  }

  async replays() {
    const all = await Promise.all(this.hosts.map((host) => host.replays()))
    return { any: all.includes(true) }
  }

  // ---- seeding

  // Starts the plans of many accounts, round robin over the servers, and comes
  // back at once; waitForSeed tells how it ended.
  seed({ accounts, seed }) {
    if (this.seeding.running) throw new Error('a seeding is under way')
    this.seeding = { running: true, accounts: 0, commits: 0 }
    this.seeded = this.#seed(accounts, seed).finally(() => (this.seeding.running = false))
    this.seeded.catch((err) => console.error(`seeding: ${err.stack ?? err}`))
    return this.seeding
  }

  async waitForSeed() {
    return { accounts: await this.seeded }
  }

  // Each server has lanes of its own, so that one that is stopped does not hold up
  // the others.
  async #seed(accounts, seed) {
    const out = new Array(accounts)
    const shares = this.hosts.map((host, pds) => {
      const share = Math.ceil((accounts - pds) / this.hosts.length)
      return inLanes(share, LANES / this.hosts.length, async (n) => {
        const i = n * this.hosts.length + pds
        out[i] = await this.#seedOne(host, pds, seed, i)
      })
    })
    await Promise.all(shares)
    return out
  }

  async #seedOne(host, pds, seed, i) {
    const plan = planAccount(seed, i)
    const { did } = await whileRunning(host, () => this.account({ handle: `s${seed}n${i}`, pds }))
    this.seeding.accounts++
    for (const writes of plan.commits) {
      await whileRunning(host, () => this.applyWrites({ did, writes }))
      this.seeding.commits++
    }
    return { did, collections: plan.collections }
  }

  // ---- truth

  // Fails as a whole rather than leave an account out.
  async truth() {
    const all = [...this.accounts.values()]
    const accounts = await inLanes(all.length, LANES, async (i) => {
      const { host, did, tombstoned = false } = all[i]
      return { ...(await truthOf(host, did)), tombstoned }
    })
    return { accounts, written: [...this.written].sort() }
  }
}

// Runs work(0) to work(n-1), some of them at a time, and gives the results in
// order.
async function inLanes(n, lanes, work) {
  const out = new Array(n)
  let next = 0
  const lane = async () => {
    while (next < n) {
      const i = next++
      out[i] = await work(i)
    }
  }
  await Promise.all(Array.from({ length: Math.max(1, Math.min(lanes, n)) }, lane))
  return out
}

// Does a write once the server runs. A stop waits for the writes that were begun.
async function whileRunning(host, write) {
  await host.pause?.over
  const result = write()
  host.writing = (host.writing ?? new Set()).add(result)
  try {
    return await result
  } finally {
    host.writing.delete(result)
  }
}
