// What kill -9 can lose, with the real command: under `write-ahead` nothing that the broker has, under `async` at most
// what is younger than the flush interval. The broker is a stub that remembers when it got what.
import { type ChildProcess, spawn } from 'node:child_process'
import { hash } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Packet } from 'mqtt-packet'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Models } from '../../src/audit/models.ts'
import { closedSegments } from '../../src/audit/segments.ts'
import { systemClock } from '../../src/clock.ts'
import { linesOf, looseRecord, withSegments } from '../../src/evidence/log-files.ts'
import { verifyLog } from '../../src/evidence/verify-log.ts'
import { connect, publish } from '../support/frames.ts'
import { RawClient } from '../support/raw-client.ts'
import { ScriptedBroker } from '../support/scripted-broker.ts'
import { TEST_AUDIENCE, TEST_ISSUER, TestIssuer } from '../support/tokens.ts'

const FLUSH_MS = 50
/** The promise is the interval and the time that disk and processor take: so much at least, or by what is measured. */
const DISK_MS = 1_000
const COMMAND = new URL('../../cmd/postern.ts', import.meta.url).pathname
const directory = mkdtempSync(join(tmpdir(), 'postern-kill-'))
let issuer: TestIssuer
let broker: ScriptedBroker

beforeAll(async () => {
  issuer = await TestIssuer.create(systemClock)
  broker = await ScriptedBroker.start()
  writeFileSync(join(directory, 'jwks.json'), JSON.stringify(issuer.dev.publicJwks()))
  writeFileSync(
    join(directory, 'policy.yaml'),
    'version: 1\nagents: [{ id: all, allow: publish, topic: "t/#" }]\nusers: [{ id: every, allow: publish, topic: "t/#" }]\n',
  )
})
afterAll(async () => {
  await broker.stop()
  rmSync(directory, { recursive: true, force: true })
})

function startCommand(audit: object): Promise<{ child: ChildProcess; port: number }> {
  const config = join(directory, 'postern.json')
  writeFileSync(
    config,
    JSON.stringify({
      listeners: [{ address: '127.0.0.1:0' }],
      upstream: { address: `127.0.0.1:${broker.port}` },
      issuers: [{ issuer: TEST_ISSUER, audience: TEST_AUDIENCE, jwks: { file: 'jwks.json' }, ceilings: [] }],
      policy: { file: 'policy.yaml' },
      audit,
      admin: 'off',
    }),
  )
  const child = spawn(process.execPath, [COMMAND, 'run', '--config', config], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let log = ''
  return new Promise((resolve, reject) => {
    child.stderr!.on('data', (chunk) => {
      log += chunk
      const found = /"address":"127\.0\.0\.1:(\d+)"[^\n]*"listening"/.exec(log)
      if (found !== null) resolve({ child, port: Number(found[1]) })
    })
    child.once('exit', () => reject(new Error(`postern did not start: ${log}`)))
  })
}

/** Floods, kills, and says what the broker got: digest of the payload to the time before the kill, milliseconds. */
async function floodAndKill(
  audit: object,
  messages: number,
): Promise<{ got: Map<string, number>; slowestMs: number }> {
  const { child, port } = await startCommand(audit)
  const client = await RawClient.open({ port })
  client.send(connect({ clientId: 'scout', password: await issuer.mint() }))
  const side = await broker.connection()
  await side.accept()
  await client.next('connack')
  const arrived = new Map<string, number>()
  const exited = once(child, 'exit')
  let flooding = true
  const flood = async (): Promise<void> => {
    for (let i = 0; flooding; i += 20) {
      client.send(...Array.from({ length: 20 }, (_, j) => message(i + j)))
      while (client.backlog > 100_000 && flooding) await nextTurn()
      await nextTurn()
    }
  }
  const flooded = flood()
  const disk = probe()
  while (arrived.size < messages) {
    const { payload } = await side.next('publish')
    arrived.set(hash('sha256', payload as Buffer), performance.now())
  }
  const killed = performance.now()
  child.kill('SIGKILL')
  flooding = false
  const slowestMs = disk.slowest()
  await Promise.all([exited, flooded])
  // What was on its way: it left before the kill.
  for (const packet of (await side.inbox.closed()) as Packet[]) {
    if (packet.cmd === 'publish') arrived.set(hash('sha256', packet.payload as Buffer), killed)
  }
  client.destroy()
  return { got: new Map([...arrived].map(([digest, at]) => [digest, killed - at])), slowestMs }
}

/** Each has a payload of its own; most have one of a few topics, so that their records are entries of batches. */
function message(i: number): Buffer {
  return publish({ topic: i % 7 === 0 ? `t/${i}` : `t/common/${i % 3}`, payload: `message ${i}` })
}

/** Writes and syncs beside Postern, and measures how long that takes on this machine just now. */
function probe(): { slowest(): number } {
  let slowest = 0
  let begun = performance.now()
  let probing = true
  const run = async (): Promise<void> => {
    const file = await open(join(directory, 'probe'), 'w')
    while (probing) {
      begun = performance.now()
      await file.write('x')
      await file.datasync()
      await nextTurn()
      slowest = Math.max(slowest, performance.now() - begun)
    }
    await file.close()
  }
  void run()
  return {
    slowest: () => {
      probing = false
      return Math.max(slowest, performance.now() - begun)
    },
  }
}

/** Digests of the payloads that have a record, and how many batches have a second entry. */
async function recordedPayloads(file: string): Promise<{ digests: Set<string>; batches: number }> {
  const digests = new Set<string>()
  let batches = 0
  for (const path of withSegments([file])) {
    const models = new Models()
    for await (const line of linesOf(path)) {
      const written = looseRecord(line)
      if (written === undefined) continue
      for (const record of models.records(written)) {
        if (record.action === 'publish') digests.add(record.payload!.sha256!)
        if (record.entry === 2) batches += 1
      }
    }
  }
  return { digests, batches }
}

describe('AUD-08 kill -9 in a loop', () => {
  it('write-ahead: everything that the broker has is on record', async () => {
    const audit = { file: 'ahead.jsonl', durability: 'write-ahead', segments: { maxBytes: '64KiB' } }
    const arrived = new Set<string>()
    const lost: string[] = []
    for (const messages of [150, 400, 700]) {
      const { got } = await floodAndKill(audit, messages)
      const { digests, batches } = await recordedPayloads(join(directory, audit.file))
      expect(batches).toBeGreaterThan(0)
      for (const digest of got.keys()) {
        arrived.add(digest)
        if (!digests.has(digest)) lost.push(digest)
      }
    }
    expect(arrived.size).toBeGreaterThan(600)
    expect(lost).toEqual([])
    expect(closedSegments(join(directory, audit.file)).length).toBeGreaterThan(0)
    await sealAndVerify(audit)
  }, 60_000)

  it('async: only what is younger than the flush interval can be missing', async () => {
    const audit = { file: 'async.jsonl', flushInterval: `${FLUSH_MS}ms` }
    for (const messages of [300, 2000]) {
      const { got, slowestMs } = await floodAndKill(audit, messages)
      const { digests } = await recordedPayloads(join(directory, audit.file))
      const lost = [...got].filter(([digest]) => !digests.has(digest))
      // A group may wait for the one before it.
      const disk = Math.max(DISK_MS, 4 * slowestMs)
      expect(lost.filter(([, age]) => age > FLUSH_MS + disk)).toEqual([])
    }
    await sealAndVerify(audit)
  }, 60_000)
})

/** The next start seals what was torn, and the chain is whole. */
async function sealAndVerify(audit: { file: string }): Promise<void> {
  const { child } = await startCommand(audit)
  child.kill('SIGTERM')
  await once(child, 'exit')
  const files = withSegments([join(directory, audit.file)])
  expect(await verifyLog(files, { partial: false })).toMatchObject({ ok: true })
}
