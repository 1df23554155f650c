// Builds chains of records for the audit tests.
import type { AuditEvent } from '../../src/audit/event.ts'
import { type ChainOptions, type ChainReport, ChainVerifier } from '../../src/audit/hash-chain.ts'
import { type ChainHead, GENESIS, RecordEncoder } from '../../src/audit/record.ts'
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

export function encoder(head: ChainHead = GENESIS): RecordEncoder {
  return new RecordEncoder({ clock: new FakeClock(), instance: 'postern-1', policy: 'a1b2', head })
}

/** Lines without newlines. */
export function chainOf(count: number, head: ChainHead = GENESIS): string[] {
  const records = encoder(head)
  return Array.from({ length: count }, (_, i) => records.encode({ ...PUBLISH, packet_id: i + 1 }))
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
