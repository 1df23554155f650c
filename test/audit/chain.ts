// Builds chains of records for the audit tests.
import { createHash } from 'node:crypto'
import canonicalize from 'canonicalize'
import { BatchWriter } from '../../src/audit/batch-writer.ts'
import type { AuditEvent, PreparedRecord } from '../../src/audit/event.ts'
import { type ChainOptions, type ChainReport, ChainVerifier } from '../../src/audit/hash-chain.ts'
import { PendingRecords } from '../../src/audit/pending-records.ts'
import { type AuditRecord, type ChainHead, GENESIS, RecordEncoder } from '../../src/audit/record.ts'
import { FakeClock } from '../support/fake-clock.ts'

const IDENTITY: AuditEvent['identity'] = {
  agent: { iss: 'https://issuer.example/agents', sub: 'agent-1', id: 'scout' },
  human: { iss: 'https://issuer.example', sub: 'user-1', id: 'u1', via: 'delegation' },
  tenant: 'org_a',
  token: {
    iss: 'https://issuer.example',
    jti: 'token-1',
    sha256: 'c'.repeat(64),
    kid: 'key-1',
    exp: '2026-03-01T13:00:00.000Z',
  },
  actors: [{ iss: 'https://issuer.example/agents', sub: 'agent-1' }],
  txn: 'txn-1',
}

export const PUBLISH: AuditEvent = {
  action: 'publish',
  decision: 'allow',
  reason: 'allow',
  identity: IDENTITY,
  connection: { id: 'c1', client_id: 'scout', peer: '127.0.0.1:40000', listener: 'main' },
  resource: {
    topic: 'a2a/v1/tasks/analyst/inbox',
    qos: 1,
    retain: false,
    response_topic: 'a2a/v1/tasks/scout/inbox',
  },
  payload: { length: 120, sha256: 'd'.repeat(64) },
  rules: { user: 'may-post', agent: 'inboxes' },
  effect: 'forwarded',
  packet_id: 7,
}

const OPTIONS = { clock: new FakeClock(), instance: 'postern-1', policy: 'a1b2' }

export function encoder(head: ChainHead = GENESIS, short = false): RecordEncoder {
  return new RecordEncoder({ ...OPTIONS, head, short })
}

/** Lines without newlines. */
export function chainOf(count: number, head: ChainHead = GENESIS): string[] {
  const records = encoder(head)
  return Array.from({ length: count }, (_, i) => records.encode({ ...PUBLISH, packet_id: i + 1 }))
}

export const DIGEST = 'd'.repeat(64)

/** The same by way of prepared records, one at a time: the first is a model, each other one a batch of one. */
export function preparedChain(count: number, head: ChainHead = GENESIS): string[] {
  const { payload: _, packet_id: __, ...event } = PUBLISH
  const records = encoder(head, true)
  const record = records.prepare(event, 'sha256')
  return Array.from({ length: count }, (___, i) => prepared(records, [[record, i + 1]]))
}

/**
 * The next line: whole, or a batch when the chain has models for all. Each has 120 bytes of payload.
 *
 * @param entries with their Packet Identifiers
 */
export function prepared(
  records: RecordEncoder,
  entries: readonly (readonly [PreparedRecord, number])[],
): string {
  records.tick()
  const pending = new PendingRecords()
  if (entries.every(([record]) => records.hasModel(record))) {
    const batch = new BatchWriter(records, pending)
    for (const [record, packetId] of entries) batch.add(record, 120, DIGEST, packetId)
    batch.end()
    return pending.group().bytes.toString().slice(0, -1)
  }
  const [record, packetId] = entries[0]!
  const target = Buffer.alloc(1 + records.roomFor(record))
  return target.toString('utf8', 1, records.encodePrepared(target, 1, record, 120, DIGEST, packetId))
}

/** A model, and a batch of so many entries like it. */
export function batchOf(entries: number): [string, string] {
  const { payload: _, packet_id: __, ...event } = PUBLISH
  const records = encoder(GENESIS, true)
  const record = records.prepare(event, 'sha256')
  const model = prepared(records, [[record, 1]])
  return [
    model,
    prepared(
      records,
      Array.from({ length: entries }, (___, i) => [record, i + 2]),
    ),
  ]
}

/** Changed, with a hash that fits. */
export function forged(line: string, change: object): string {
  const { hash: _, ...rest } = { ...(JSON.parse(line) as AuditRecord), ...change }
  const hash = createHash('sha256')
    .update(`\0${canonicalize(rest)!}`)
    .digest('hex')
  return canonicalize({ ...rest, hash })!
}

export function headOf(line: string): ChainHead {
  const { seq, hash } = JSON.parse(line) as ChainHead
  return { seq, hash }
}

export function verify(bytes: Buffer | string, options: ChainOptions = {}): ChainReport {
  const verifier = new ChainVerifier(options)
  verifier.push(Buffer.from(bytes))
  return verifier.end()
}

export const file = (lines: readonly string[]): string => lines.map((line) => `${line}\n`).join('')

/** Settings of a log whose file never ends. */
export const ENDLESS = {
  bytes: Number.POSITIVE_INFINITY,
  ageMs: Number.POSITIVE_INFINITY,
  keep: 0,
  keepForMs: 0,
}
