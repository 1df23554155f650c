// Builds chains of records for the audit tests.
import { createHash } from 'node:crypto'
import canonicalize from 'canonicalize'
import type { AuditEvent, PreparedRecord } from '../../src/audit/event.ts'
import { type ChainOptions, type ChainReport, ChainVerifier } from '../../src/audit/hash-chain.ts'
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

export function encoder(head: ChainHead = GENESIS): RecordEncoder {
  return new RecordEncoder({ ...OPTIONS, head })
}

/** Lines without newlines. */
export function chainOf(count: number, head: ChainHead = GENESIS): string[] {
  const records = encoder(head)
  return Array.from({ length: count }, (_, i) => records.encode({ ...PUBLISH, packet_id: i + 1 }))
}

/** The same by way of prepared records: the first is a model, the others are short. */
export function preparedChain(count: number, head: ChainHead = GENESIS): string[] {
  const { payload: _, packet_id: __, ...event } = PUBLISH
  const records = new RecordEncoder({ ...OPTIONS, head, short: true })
  const record = records.prepare(event)
  return Array.from({ length: count }, (___, i) => prepared(records, record, i + 1))
}

/** The next line that the prepared record gives, with 120 bytes of payload. */
export function prepared(records: RecordEncoder, record: PreparedRecord, packetId: number): string {
  records.tick()
  const target = Buffer.alloc(records.roomFor(record))
  const digest = { name: 'sha256', hex: 'd'.repeat(64) } as const
  return target.toString('utf8', 0, records.encodePrepared(target, 0, record, 120, digest, packetId))
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
