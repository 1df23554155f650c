// The target formats as schemas of ours, made from the published ones: OCSF 1.5.0 class 6003 with its required
// attributes, draft-sharif-agent-audit-trail-06 with its twelve members and its rule for the chain.
import { createHash } from 'node:crypto'
import canonicalize from 'canonicalize'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { Models } from '../../src/audit/models.ts'
import type { AuditRecord, WrittenRecord } from '../../src/audit/record.ts'
import { AgentAuditTrail } from '../../src/evidence/agent-audit-trail.ts'
import { ecsDocument } from '../../src/evidence/ecs.ts'
import { ocsfEvent } from '../../src/evidence/ocsf.ts'
import { batchOf, DIGEST } from '../audit/chain.ts'
import { story } from './records.ts'

const text = z.string().min(1)
const oneOf = (...ids: number[]) => z.literal(ids)
const OCSF = z.strictObject({
  category_uid: z.literal(6),
  class_uid: z.literal(6003),
  activity_id: oneOf(0, 1, 2, 3, 4, 99),
  activity_name: text,
  type_uid: z.int(),
  time: z.int().positive(),
  severity_id: oneOf(0, 1, 2, 3, 4, 5, 6, 99),
  status_id: oneOf(0, 1, 2, 99),
  status: z.enum(['Success', 'Failure']),
  status_code: text,
  status_detail: text,
  count: z.int().positive().optional(),
  start_time: z.int().optional(),
  end_time: z.int().optional(),
  action_id: oneOf(1, 2),
  action: z.enum(['Allowed', 'Denied']),
  disposition_id: oneOf(1, 2),
  disposition: z.enum(['Allowed', 'Blocked']),
  metadata: z.object({
    version: z.literal('1.5.0'),
    product: z.object({ name: text, vendor_name: text }),
    profiles: z.array(z.literal('security_control')),
    uid: z.string().length(64),
    sequence: z.int(),
    correlation_uid: text,
    tenant_uid: text.optional(),
  }),
  actor: z.strictObject({
    app_name: text,
    app_uid: text.optional(),
    user: z
      .strictObject({ name: text, uid: text, domain: text, type: text, type_id: z.literal(99) })
      .optional(),
    session: z.strictObject({ uid: text, issuer: text, expiration_time: z.int() }).optional(),
    authorizations: z.array(
      z.strictObject({
        decision: text,
        policy: z.strictObject({ name: text, group: z.strictObject({ name: text }) }),
      }),
    ),
  }),
  api: z.strictObject({ operation: text, service: z.strictObject({ name: text }), version: text }),
  src_endpoint: z.strictObject({
    name: text,
    uid: text.optional(),
    ip: z.union([z.ipv4(), z.ipv6()]).optional(),
    port: z.int().max(65_535).optional(),
    interface_name: text.optional(),
  }),
  resources: z.array(z.strictObject({ name: text, type: text })).optional(),
  policy: z.strictObject({ name: text, uid: text }),
  unmapped: z.record(z.string(), z.unknown()),
})

describe('AUD-12 OCSF API Activity', () => {
  it.each(story().map((record) => [record.seq, record.action, record] as const))(
    'record %i (%s) fits the class',
    (_, __, record) => {
      const event = OCSF.parse(ocsfEvent(record))
      expect(event.type_uid).toBe(event.class_uid * 100 + event.activity_id)
      expect(event.action_id).toBe(record.decision === 'allow' ? 1 : 2)
      expect(event.time).toBe(Date.parse(record.time))
    },
  )

  it('says who for whom, on what, by which rule, how often, in which trace', () => {
    const events = story().map((record) => ocsfEvent(record))
    expect(events[2]).toMatchObject({
      activity_id: 1,
      actor: {
        app_name: 'scout',
        user: { name: 'alice', uid: 'user-alice', type: 'delegation' },
        authorizations: [
          { policy: { name: 'valves', group: { name: 'agent' } } },
          { policy: { name: 'may' } },
        ],
      },
      resources: [{ name: 'plant/a/valve' }],
      src_endpoint: { ip: '127.0.0.1', port: 40000, uid: 'scout' },
    })
    expect(events[6]).toMatchObject({ count: 500 })
    expect(events[7]).toMatchObject({ metadata: { correlation_uid: '0af7651916cd43dd8448eb211c80319c' } })
    expect(events[8]).toMatchObject({ src_endpoint: { ip: '::1', port: 5 } })
  })
})

const uuid = z.string().regex(/^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
const AAT = z.strictObject({
  record_id: uuid,
  timestamp: z.iso.datetime(),
  agent_id: z.url(),
  agent_version: z.string().regex(/^\d+\.\d+\.\d+$/),
  session_id: uuid,
  action_type: z.enum([
    'tool_call',
    'tool_response',
    'decision',
    'delegation',
    'escalation',
    'error',
    'lifecycle',
  ]),
  action_detail: z.record(z.string(), z.unknown()),
  outcome: z.enum(['success', 'failure', 'timeout', 'denied', 'escalated']),
  trust_level: z.enum(['L0', 'L1', 'L2', 'L3', 'L4']),
  parent_record_id: uuid.nullable(),
  prev_hash: z
    .string()
    .regex(/^[0-9a-f]{64}$/)
    .nullable(),
  record_phase: z.enum(['pre_execution', 'post_execution', 'concurrent']),
})

describe('AUD-12 draft-sharif-agent-audit-trail', () => {
  const trail = new AgentAuditTrail()
  const lines = story().flatMap((record) => trail.line(record) ?? [])

  it('each line has the twelve members, in canonical form', () => {
    expect(lines).toHaveLength(9)
    for (const line of lines) expect(canonicalize(AAT.parse(JSON.parse(line)))).toBe(line)
  })

  it('each session is a chain from a record without parent', () => {
    const last = new Map<string, string>()
    for (const line of lines) {
      const record = AAT.parse(JSON.parse(line))
      const before = last.get(record.session_id)
      expect(record.prev_hash).toBe(
        before === undefined ? null : createHash('sha256').update(before).digest('hex'),
      )
      expect(record.parent_record_id).toBe(
        before === undefined ? null : AAT.parse(JSON.parse(before)).record_id,
      )
      last.set(record.session_id, line)
    }
    expect(last.size).toBe(4)
  })

  it('is the same when it is made again', () => {
    const again = new AgentAuditTrail()
    expect(story().flatMap((record) => again.line(record) ?? [])).toEqual(lines)
  })
})

describe('AUD-12 entries of a batch', () => {
  const models = new Models()
  const records = batchOf(3).flatMap((line) => models.records(JSON.parse(line) as WrittenRecord))
  const trail = new AgentAuditTrail()

  it.each<[string, (record: AuditRecord) => string]>([
    ['OCSF', (record) => (ocsfEvent(record) as { metadata: { uid: string } }).metadata.uid],
    ['ECS', (record) => (ecsDocument(record) as { event: { id: string } }).event.id],
    ['agent-audit-trail', (record) => AAT.parse(JSON.parse(trail.line(record)!)).record_id],
  ])('are an event each, with an id of its own: %s', (_format, idOf) => {
    expect(records.map(({ packet_id: id }) => id)).toEqual([1, 2, 3, 4])
    expect(new Set(records.map(idOf)).size).toBe(4)
  })

  it.each<[string, (record: AuditRecord) => unknown]>([
    ['OCSF', (record) => (ocsfEvent(record) as { unmapped: unknown }).unmapped],
    ['ECS', (record) => (ecsDocument(record) as { postern: unknown }).postern],
  ])('say where they stand, and what is theirs alone: %s', (_format, own) => {
    const payload = { length: 120, sha256: DIGEST }
    expect(own(records[2]!)).toMatchObject({ as: 1, entry: 2, packet_id: 3, payload })
  })
})
