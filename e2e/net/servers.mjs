// The servers: each listens on loopback only, on a free port.

import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdirSync } from 'node:fs'
import http from 'node:http'
import net from 'node:net'
import path from 'node:path'
import { PDS, envToCfg, envToSecrets } from '@atproto/pds'
import * as plcServer from '@did-plc/server'
import { documentOf } from './document.mjs'

export const LOOPBACK = '127.0.0.1'
export const ADMIN_PASSWORD = 'e2e-admin'

async function freePort() {
  const probe = net.createServer().listen(0, LOOPBACK)
  await once(probe, 'listening')
  const { port } = probe.address()
  probe.close()
  await once(probe, 'close')
  return port
}

async function listening(server) {
  if (!server.listening) await once(server, 'listening')
  const { address } = server.address()
  if (address !== LOOPBACK) throw new Error(`a server listens on ${address}`)
}

// The directory of @did-plc/server with its store in memory. The PDS refuses a
// directory whose host is an IP address, so the URL says localhost.
export async function startPlc() {
  const port = await freePort()
  const db = plcServer.Database.mock()
  const server = plcServer.PlcServer.create({ db, port })
  server.app.listen = (at) => http.createServer(answerDocuments(db, server.app)).listen(at, LOOPBACK)
  await listening(await server.start())
  return {
    url: `http://localhost:${port}`,
    close() {
      server.server?.closeAllConnections()
      return server.destroy()
    },
  }
}

// Answers GET /<did> in the form of today's directory, and leaves the rest to
// the package, whose published version writes an older form.
function answerDocuments(db, app) {
  return async (req, res) => {
    const did = decodeURIComponent(new URL(req.url, 'http://plc.test').pathname.slice(1))
    if (req.method !== 'GET' || !/^did:plc:[^/]+$/.test(did)) return app(req, res)
    try {
      const op = await db.lastOpForDid(did)
      if (op?.type !== 'plc_operation') return app(req, res)
      res.writeHead(200, { 'content-type': 'application/did+ld+json; charset=utf-8' })
      res.end(JSON.stringify(documentOf(did, op)))
    } catch (err) {
      res.writeHead(500).end(String(err))
    }
  }
}

// Pds is a server that can be stopped and started again at the same address.
export class Pds {
  #cfg
  #secrets
  #pds
  // Of what it answers, see hold.mjs.
  hold

  // The DID documents of its accounts name the IP address, as the URL does.
  static async start(dir, plcUrl, backfillMs) {
    const port = await freePort()
    const self = new Pds()
    self.url = `http://${LOOPBACK}:${port}`
    self.did = `did:web:localhost%3A${port}`
    self.backfillMs = backfillMs
    mkdirSync(dir, { recursive: true })
    const env = {
      port,
      hostname: 'localhost',
      serviceDid: self.did,
      serviceHandleDomains: ['.test'],
      dataDirectory: dir,
      blobstoreDiskLocation: path.join(dir, 'blobs'),
      didPlcUrl: plcUrl,
      plcRotationKeyK256PrivateKeyHex: randomBytes(32).toString('hex'),
      jwtSecret: 'e2e-jwt-secret',
      adminPassword: ADMIN_PASSWORD,
      inviteRequired: false,
      devMode: true,
      disableSsrfProtection: true,
      repoBackfillLimitMs: backfillMs,
      crawlers: [],
    }
    self.#cfg = envToCfg(env)
    self.#cfg.service.publicUrl = self.url
    self.#secrets = envToSecrets(env)
    await self.start()
    return self
  }

  async start() {
    if (this.#pds) throw new Error(`${this.url} runs already`)
    const pds = await PDS.create(this.#cfg, this.#secrets)
    // The PDS listens on every interface by itself.
    const listen = pds.app.listen
    pds.app.listen = (at) => this.#guard(listen.call(pds.app, at, LOOPBACK))
    await listening(await pds.start())
    this.#pds = pds
  }

  // Requests go through the hold first.
  #guard(server) {
    const [answer] = server.listeners('request')
    server.removeAllListeners('request').on('request', async (req, res) => {
      try {
        if (await this.hold?.take(this.url, req, res)) return
        answer.call(server, req, res)
      } catch (err) {
        res.writeHead(500).end(String(err))
      }
    })
    return server
  }

  async stop() {
    const pds = this.#running()
    this.#pds = undefined
    pds.server?.closeAllConnections()
    await pds.destroy()
  }

  async close() {
    this.hold?.release()
    if (this.#pds) await this.stop()
  }

  #running() {
    if (!this.#pds) throw new Error(`${this.url} is stopped`)
    return this.#pds
  }

  updateDirectory(did, change) {
    const { ctx } = this.#running()
    return ctx.plcClient.updateData(did, ctx.plcRotationKey, (last) => ({ ...last, ...change }))
  }

  tombstone(did) {
    const { ctx } = this.#running()
    return ctx.plcClient.tombstone(did, ctx.plcRotationKey)
  }

  // Tells whether a reader with an old cursor would still be sent an event.
  async replays() {
    const begin = new Date(Date.now() - this.backfillMs).toISOString()
    return Boolean(await this.#running().ctx.sequencer.earliestAfterTime(begin))
  }
}
