// The control API: POST /<verb> with a JSON object, answered with JSON. Any
// failure is a 500 with the text of the error.

import { once } from 'node:events'
import http from 'node:http'
import { LOOPBACK } from './servers.mjs'

const VERBS = [
  'account',
  'record',
  'delete',
  'applyWrites',
  'deactivate',
  'activate',
  'takedown',
  'untakedown',
  'deleteAccount',
  'handle',
  'migrate',
  'tombstone',
  'stop',
  'start',
  'hold',
  'held',
  'release',
  'replays',
  'seed',
  'waitForSeed',
  'truth',
]

async function handle(network, req) {
  const verb = req.url.slice(1)
  if (verb === 'seeding') return network.seeding
  if (!VERBS.includes(verb)) throw new Error(`no such verb: ${verb}`)
  const chunks = []
  for await (const chunk of req) chunks.push(chunk)
  const text = Buffer.concat(chunks).toString('utf8')
  return network[verb](text ? JSON.parse(text) : {})
}

export async function startControl(network) {
  const server = http.createServer(async (req, res) => {
    let status = 200
    let body
    try {
      body = (await handle(network, req)) ?? {}
    } catch (err) {
      status = 500
      body = { error: String(err.message ?? err), cause: err.cause && String(err.cause) }
    }
    // Some procedures answer with no content.
    if (body instanceof Uint8Array) body = {}
    res.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
  })
  // The wait for a seeding is long.
  server.requestTimeout = 0
  // A test pauses for seconds, and its next request must not meet a connection that
  // is being closed for its idleness.
  server.keepAliveTimeout = 0
  server.listen(0, LOOPBACK)
  await once(server, 'listening')
  return {
    url: `http://${LOOPBACK}:${server.address().port}`,
    async close() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}
