// The network and the accounts that were made on it.

import path from 'node:path'
import { migrate } from './migrate.mjs'
import { planAccount } from './plan.mjs'
import { ADMIN_PASSWORD, startPds, startPlc } from './servers.mjs'
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
      self.hosts.push(await startPds(path.join(dir, `pds${i}`), self.plc.url, backfillMs))
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

  async account({ handle, pds = 0 }) {
    const host = this.hosts[pds]
    if (!host) throw new Error(`no such pds: ${pds}`)
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
    const account = this.find(did)
    const from = this.hosts.find((host) => host.url === account.host)
    this.accounts.set(did, await migrate(account, from, this.hosts[pds], PASSWORD))
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

  #seed(accounts, seed) {
    return inLanes(accounts, async (i) => {
      const plan = planAccount(seed, i)
      const { did } = await this.account({ handle: `s${seed}n${i}`, pds: i % this.hosts.length })
      this.seeding.accounts++
      for (const writes of plan.commits) {
        await this.applyWrites({ did, writes })
        this.seeding.commits++
      }
      return { did, collections: plan.collections }
    })
  }

  // ---- truth

  // Fails as a whole rather than leave an account out.
  async truth() {
    const all = [...this.accounts.values()]
    const accounts = await inLanes(all.length, (i) => truthOf(all[i].host, all[i].did))
    return { accounts, written: [...this.written].sort() }
  }
}

// Runs work(0) to work(n-1), some of them at a time, and gives the results in
// order.
async function inLanes(n, work) {
  const out = new Array(n)
  let next = 0
  const lane = async () => {
    while (next < n) {
      const i = next++
      out[i] = await work(i)
    }
  }
  await Promise.all(Array.from({ length: Math.min(LANES, n) }, lane))
  return out
}
