// A small story in records: alice and bob, their agents, denials, a counted flood, a hostile topic.
import type { AuditEvent } from '../../src/audit/event.ts'
import { type AuditRecord, GENESIS, RecordEncoder } from '../../src/audit/record.ts'
import { FakeClock } from '../support/fake-clock.ts'

type Identity = NonNullable<AuditEvent['identity']>

export const HOSTILE = '<script>alert(1)</script>"\u001b[31m,=cmd'

function identity(agent: string, human: string, via: 'delegation' | 'owner' = 'delegation'): Identity {
  return {
    agent: { iss: 'https://id.example/agents', sub: `agent-${agent}`, id: agent },
    human: { iss: 'https://id.example', sub: `user-${human}`, id: human, via },
    tenant: 'org_a',
    token: {
      iss: 'https://id.example',
      jti: `jti-${agent}`,
      sha256: 'c'.repeat(64),
      kid: 'k1',
      exp: '2026-11-22T13:00:00.000Z',
    },
  }
}

const PEOPLE = new Map([
  ['scout', identity('scout', 'alice')],
  ['analyst', identity('analyst', 'alice')],
  ['pump', identity('pump', 'bob', 'owner')],
])

function by(agent: string, action: AuditEvent['action'], more: Partial<AuditEvent> = {}): AuditEvent {
  return {
    ...{ action, decision: 'allow', reason: 'allow', effect: 'forwarded', identity: PEOPLE.get(agent) },
    connection: { id: `c-${agent}`, client_id: agent, peer: '127.0.0.1:40000', listener: 'main' },
    ...more,
  }
}

const publish = (agent: string, topic: string, more: Partial<AuditEvent> = {}) =>
  by(agent, 'publish', {
    resource: { topic, qos: 1, retain: false },
    payload: { length: 12 },
    packet_id: 7,
    ...more,
  })
const denied = {
  decision: 'deny',
  reason: 'no_rule',
  effect: 'puback 0x87',
  rules: { agent: 'none' },
} as const

const EVENTS: AuditEvent[] = [
  { action: 'start', decision: 'allow', reason: 'ok', effect: 'listening' },
  by('scout', 'connect', { reason: 'ok' }),
  publish('scout', 'plant/a/valve', { rules: { agent: 'valves', user: 'may' } }),
  publish('scout', 'plant/b/valve', denied),
  by('analyst', 'subscribe', { resource: { filter: '$share/g/plant/+/valve', qos: 1 } }),
  by('analyst', 'subscribe', { resource: { filter: 'news/#', qos: 1 }, ...denied, effect: 'suback 0x87' }),
  publish('pump', 'plant/a/status', {
    payload: undefined,
    packet_id: undefined,
    repeated: {
      count: 500,
      first: '2026-11-22T12:00:07.000Z',
      last: '2026-11-22T12:00:17.000Z',
      bytes: 6000,
    },
  }),
  publish('pump', HOSTILE, {
    ...denied,
    traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
  }),
  {
    action: 'connect',
    decision: 'deny',
    reason: 'expired',
    effect: 'connack 0x87',
    connection: { id: 'c9', peer: '[::1]:5' },
  },
  by('scout', 'disconnect', { reason: 'client_disconnected', effect: 'closed' }),
  { action: 'gap', decision: 'deny', reason: 'records_lost', effect: 'counted', gap: { lost: 3 } },
]

/** One second apart. */
export function storyLines(): string[] {
  const clock = new FakeClock()
  const encoder = new RecordEncoder({ clock, instance: 'postern-1', policy: 'a1b2', head: GENESIS })
  return EVENTS.map((event) => {
    const line = encoder.encode(event)
    clock.advance(1000)
    return line
  })
}

export const story = (): AuditRecord[] => storyLines().map((line) => JSON.parse(line) as AuditRecord)
