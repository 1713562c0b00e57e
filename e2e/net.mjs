// A PLC directory and two or more Bluesky PDSes on loopback, with a control API
// over HTTP for the end-to-end test. Prints one JSON line when all of it
// listens. Ends on SIGTERM and SIGINT, and when its standard input closes: a
// test that dies, however it dies, takes its network along.
//
// --pds N is the number of PDSes, --backfill-ms N how far back a firehose replays.

import { mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { parseArgs } from 'node:util'

const { values } = parseArgs({
  options: { pds: { type: 'string', default: '2' }, 'backfill-ms': { type: 'string', default: '86400000' } },
})
const count = Number(values.pds)
if (!Number.isInteger(count) || count < 1 || count > 8) {
  console.error('--pds must be a whole number from 1 to 8')
  process.exit(2)
}
const backfillMs = Number(values['backfill-ms'])
if (!Number.isInteger(backfillMs) || backfillMs < 1) {
  console.error('--backfill-ms must be a whole number from 1')
  process.exit(2)
}

// The servers read this when they are first imported.
process.env.LOG_ENABLED = 'false'

const dir = mkdtempSync(path.join(os.tmpdir(), 'railyard-e2e-'))
let network
let control
let ending = false

async function end(why, code = 0) {
  if (ending) return
  ending = true
  console.error(`ending: ${why}`)
  // A server that does not close in time must not keep the folder.
  setTimeout(() => finish(1), 10_000).unref()
  try {
    await control?.close()
    await network?.close()
  } catch (err) {
    console.error(`while stopping: ${err.stack ?? err}`)
    code = 1
  }
  finish(code)
}

function finish(code) {
  rmSync(dir, { recursive: true, force: true })
  process.exit(code)
}

for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP']) process.on(signal, () => end(signal))
process.stdin
  .on('end', () => end('standard input is closed'))
  .on('error', (err) => end(`standard input: ${err}`))
  .resume()
// A firehose reader that is killed in the middle of a frame rejects a promise
// inside the PDS that nobody waits for.
process.on('unhandledRejection', (err) => console.error(`unhandled: ${err?.stack ?? err}`))

try {
  const { Network } = await import('./net/network.mjs')
  const { startControl } = await import('./net/control.mjs')
  network = await Network.start(dir, count, backfillMs)
  control = await startControl(network)
  console.log(JSON.stringify({ control: control.url, plc: network.plc.url, pds: network.hosts.map((h) => h.url), dir }))
} catch (err) {
  await end(`could not start: ${err.stack ?? err}`, 1)
}
