// What a record costs, from an event, from a prepared record and in batches of several, and what a payload digest does.

import { hash } from 'node:crypto'
import { BatchWriter } from '../../../src/audit/batch-writer.ts'
import type { AuditEvent } from '../../../src/audit/event.ts'
import { MerkleTree } from '../../../src/audit/merkle.ts'
import { PendingRecords } from '../../../src/audit/pending-records.ts'
import { GENESIS, RecordEncoder } from '../../../src/audit/record.ts'
import { systemClock } from '../../../src/clock.ts'
import { about, time } from '../timing.ts'

about('audit: a record')

const party = (id: string) => ({ iss: 'https://issuer.example', sub: id, id })
const event: AuditEvent = {
  ...{ action: 'publish', decision: 'allow', reason: 'allow', effect: 'forwarded' },
  identity: {
    agent: party('bench'),
    human: { ...party('alice'), via: 'delegation' },
    token: {
      iss: 'https://issuer.example',
      jti: '0b4bafd2-12b5-4ad1-a3d2-2f3c8a5f6a10',
      sha256: 'b'.repeat(64),
      kid: 'c'.repeat(43),
      exp: '2026-03-01T13:00:00.000Z',
    },
  },
  connection: { id: '0123456789abcdef', peer: '127.0.0.1:53422', listener: 'agents', client_id: 'bench' },
  resource: { topic: 'agents/bench/data/temperature', qos: 0, retain: false },
  rules: { agent: 'own', user: 'all' },
}
const options = { clock: systemClock, instance: 'host', policy: 'a'.repeat(64), head: GENESIS }
const encoder = new RecordEncoder(options)
const GROUP_BYTES = 256 * 1024
const record = encoder.prepare(event, 'sha256')
const DIGEST = 'd'.repeat(64)
const target = Buffer.alloc(1 + encoder.roomFor(record))
encoder.tick()
time('audit record from an event', () =>
  encoder.encode({ ...event, payload: { length: 64, sha256: DIGEST } }),
)
time('audit record, prepared', () => encoder.encodePrepared(target, 1, record, 64, DIGEST, 0))
for (const size of [1, 10, 100]) {
  const batching = new RecordEncoder({ ...options, short: true })
  const model = batching.prepare(event, 'sha256')
  batching.encodePrepared(target, 1, model, 64, DIGEST, 0)
  const pending = new PendingRecords()
  const batch = new BatchWriter(batching, pending)
  let records = 0
  time(`audit record, in batches of ${size}`, () => {
    batch.add(model, 64, DIGEST, 0)
    records += 1
    if (records % size > 0) return
    batch.end()
    if (pending.bytes < GROUP_BYTES) return
    pending.group()
    pending.done()
  })
}
const tree = new MerkleTree()
time('its place in the Merkle tree', () => tree.append(GENESIS.hash))
for (const bytes of [64, 256, 1024, 16_384]) {
  const payload = Buffer.alloc(bytes)
  time(`payload digest, ${bytes} bytes`, () => hash('sha256', payload))
}
