// What the audit trail costs: making records, proving a million of them, a commit of write-ahead, and opening a log.
//
//   node bench/audit.ts [records]     default 1,000,000; needs about 1.2 GB in the directory for temporary files

import { closeSync, mkdtempSync, openSync, rmSync, statSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { AuditLog } from '../src/audit/audit-log.ts'
import { BatchWriter } from '../src/audit/batch-writer.ts'
import type { AuditEvent } from '../src/audit/event.ts'
import { MerkleTree } from '../src/audit/merkle.ts'
import { PendingRecords } from '../src/audit/pending-records.ts'
import { GENESIS, RecordEncoder } from '../src/audit/record.ts'
import {
  checkpointText,
  makeSigner,
  type OpenedCheckpoint,
  openCheckpoint,
  signNote,
} from '../src/audit/signed-note.ts'
import { systemClock } from '../src/clock.ts'
import { verifyLog } from '../src/evidence/verify-log.ts'

const COUNT = Number(process.argv[2] ?? 1_000_000)
const directory = mkdtempSync(join(tmpdir(), 'postern-bench-'))
const signer = makeSigner('bench.example/postern')
const event: AuditEvent = {
  ...{ action: 'publish', decision: 'allow', reason: 'allow', effect: 'forwarded', packet_id: 7 },
  identity: {
    agent: { iss: 'https://issuer.example/agents', sub: 'agent-1', id: 'scout' },
    human: { iss: 'https://issuer.example', sub: 'user-1', id: 'u1', via: 'delegation' },
    token: {
      iss: 'https://issuer.example',
      jti: 'token-1',
      sha256: 'c'.repeat(64),
      kid: 'k',
      exp: '2026-03-01T13:00:00.000Z',
    },
  },
  connection: { id: 'c1', client_id: 'scout', peer: '127.0.0.1:40000', listener: 'main' },
  payload: { length: 120, sha256: 'd'.repeat(64) },
  rules: { user: 'may-post', agent: 'inboxes' },
}
const resource = (i: number) => ({ topic: `a2a/v1/tasks/analyst/${i % 5000}`, qos: 1, retain: false })
const nth = (i: number): AuditEvent => ({ ...event, resource: resource(i) })

async function timed(name: string, count: number, work: () => unknown): Promise<void> {
  const cpu = process.cpuUsage()
  const started = performance.now()
  await work()
  const wall = (performance.now() - started) / 1000
  const { user, system } = process.cpuUsage(cpu)
  const used = (user + system) / 1e6
  const each = `${((used * 1e6) / count).toFixed(2)} µs CPU each`
  console.log(`${name.padEnd(48)} ${wall.toFixed(2)} s wall  ${used.toFixed(2)} s CPU  ${each}`)
}

function settings(durability: 'async' | 'write-ahead', checkpoints: boolean) {
  return {
    ...{ clock: systemClock, instance: 'bench', policy: 'a1b2', durability, onFailure: 'deny' as const },
    ...{ flushInterval: 100, maxPending: 1e12, signer: checkpoints ? signer.text : undefined },
    segments: { bytes: 1e12, ageMs: 1e12, keep: 0, keepForMs: 0 },
    observer: { written() {}, lost() {}, failed() {}, recovered() {}, segmentFailed() {} },
  }
}

const big = join(directory, 'big.jsonl')
const FIRST = {
  ...({ action: 'signer', decision: 'allow', reason: 'first_key', effect: 'in force' } as const),
  signer: signer.text,
}
const DIGEST = 'd'.repeat(64)

/** Half as many topics as entries of batches can refer to. */
const TOPICS = 2000
/** Of a batch, as of a chunk of 64 KiB. */
const ENTRIES = 200
const WRITE_BYTES = 1024 * 1024
for (const short of [false, true]) {
  const kind = short ? 'batched' : 'whole'
  const tree = new MerkleTree()
  let note = ''
  await timed(`make ${COUNT} ${kind} records, with tree`, COUNT, () => {
    const encoder = new RecordEncoder({ ...settings('async', true), head: GENESIS, short })
    const { payload: _, packet_id: __, ...common } = event
    const prepared = Array.from({ length: TOPICS }, (___, i) =>
      encoder.prepare({ ...common, resource: resource(i) }, 'sha256'),
    )
    const file = openSync(big, 'w')
    const pending = new PendingRecords()
    const batch = new BatchWriter(encoder, pending)
    pending.add(`${encoder.encode(FIRST)}\n`, 1, 1)
    tree.append(encoder.hash)
    for (let i = 1; i < COUNT; i++) {
      if (i % ENTRIES === 0) encoder.tick()
      const record = prepared[i % TOPICS]!
      if (encoder.hasModel(record)) batch.add(record, 120, DIGEST, 7)
      else {
        const target = pending.reserve(encoder.roomFor(record) + 1)
        const { end } = pending
        const lineEnd = encoder.encodePrepared(target, end, record, 120, DIGEST, 7)
        target[lineEnd] = 0x0a
        pending.added(lineEnd + 1 - end, 1, encoder.seq)
        tree.append(encoder.hash)
      }
      if (i % ENTRIES < ENTRIES - 1 && i < COUNT - 1) continue
      if (batch.end() > 0) tree.append(encoder.hash)
      if (pending.bytes < WRITE_BYTES && i < COUNT - 1) continue
      writeSync(file, pending.group().bytes)
      pending.done()
    }
    closeSync(file)
    note = signNote(checkpointText({ origin: signer.name, size: tree.size, root: tree.root() }), signer)
  })
  console.log(`${' '.repeat(48)} ${Math.round(statSync(big).size / COUNT)} bytes each`)
  await timed(`verify the ${kind} records`, COUNT, async () => {
    const { ok } = await verifyLog([big], { partial: false })
    if (!ok) throw new Error('the log is not good')
  })
  const checkpoints = [openCheckpoint(note, [signer]) as OpenedCheckpoint]
  await timed(`verify the ${kind} records against a checkpoint`, COUNT, async () => {
    const { ok, confirmed } = await verifyLog([big], { partial: false, checkpoints })
    if (!ok || confirmed !== 1) throw new Error('the checkpoint was not confirmed')
  })
  rmSync(big)
}

const small = join(directory, 'small.jsonl')
const ahead = await AuditLog.open(small, settings('write-ahead', false))
await timed('write-ahead: 1000 commits of 10 records', 1000, () => {
  for (let i = 0; i < 10_000; i++) {
    ahead.append(nth(i))
    if (i % 10 === 9) ahead.commit()
  }
})
for (let i = 0; statSync(small).size < 64 * 1024 * 1024; i++) {
  ahead.append(nth(i))
  if (i % 5000 === 0) ahead.commit()
}
await ahead.close()
await timed('open a log of 64 MiB, with tree', 1, async () =>
  (await AuditLog.open(small, settings('async', true))).close(),
)
rmSync(directory, { recursive: true })
