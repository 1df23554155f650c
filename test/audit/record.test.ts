import { createHash } from 'node:crypto'
import canonicalize from 'canonicalize'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import type { AuditEvent } from '../../src/audit/event.ts'
import { type AuditRecord, GENESIS } from '../../src/audit/record.ts'
import { encoder, PUBLISH } from './chain.ts'

const text = fc.string({
  unit: fc.oneof(fc.constantFrom('"', '\\', '\n', '\u0000', '\u2028', '\ud800'), fc.string()),
})
/**
 * Without backslashes: of two objects alike, the JSON.parse of V8 13.6 reads `{"":0,"\\n":0}` with the names of
 * `{"":0,"\\\\":0}` when it has read that one before, and these tests read with it.
 */
const name = text.map((some) => some.replaceAll('\\', '/'))
const optional = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: undefined })
/** Any record that the other layers could ask for, with the worst strings. */
const anyEvent = fc.record({
  action: fc.constantFrom('connect', 'will', 'publish', 'subscribe', 'deliver', 'disconnect'),
  decision: fc.constantFrom('allow', 'deny'),
  reason: text,
  effect: text,
  detail: optional(text),
  packet_id: optional(fc.nat(65535)),
  identity: optional(
    fc.record({
      tenant: optional(text),
      txn: optional(text),
      agent: fc.record({ iss: text, sub: text, id: text }),
      human: optional(fc.record({ iss: text, sub: text, id: text, via: fc.constant('owner') })),
      token: optional(fc.record({ iss: text, jti: text, sha256: text, kid: optional(text), exp: text })),
      actors: optional(fc.array(fc.record({ iss: text, sub: text }))),
    }),
  ),
  connection: optional(
    fc.record({ id: text, client_id: optional(text), peer: optional(text), listener: optional(text) }),
  ),
  resource: optional(
    fc.record({
      topic: optional(text),
      filter: optional(text),
      qos: optional(fc.nat(2)),
      retain: optional(fc.boolean()),
      response_topic: optional(text),
      correlation_sha256: optional(text),
    }),
  ),
  payload: optional(fc.record({ length: fc.nat(), sha256: optional(text) })),
  rules: optional(fc.dictionary(name, text)),
  gap: optional(fc.record({ lost: fc.nat() })),
}) as fc.Arbitrary<AuditEvent>

const party = { iss: z.string(), sub: z.string(), id: z.string() }
const digest = z.string().regex(/^[0-9a-f]{64}$/)
/** AUD-02: a record of a delegated action, with nothing that is not listed. */
const DELEGATED = z.strictObject({
  v: z.literal(1),
  seq: z.int().positive(),
  time: z.string().regex(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
  mono: z.int(),
  instance: z.string(),
  policy: z.string().min(1),
  prev: digest,
  hash: digest,
  action: z.string(),
  decision: z.enum(['allow', 'deny']),
  reason: z.string().min(1),
  effect: z.string().min(1),
  identity: z.strictObject({
    agent: z.strictObject(party),
    human: z.strictObject({ ...party, via: z.enum(['delegation', 'owner']) }),
    tenant: z.string(),
    token: z.strictObject({
      iss: z.string(),
      jti: z.string(),
      sha256: digest,
      kid: z.string(),
      exp: z.string(),
    }),
    actors: z.array(z.strictObject({ iss: z.string(), sub: z.string() })),
    txn: z.string(),
  }),
  connection: z.strictObject({
    id: z.string(),
    client_id: z.string(),
    peer: z.string(),
    listener: z.string(),
  }),
  resource: z.strictObject({
    topic: z.string(),
    qos: z.int(),
    retain: z.boolean(),
    response_topic: z.string(),
  }),
  payload: z.strictObject({ length: z.int(), sha256: digest }),
  rules: z.record(z.string(), z.string()),
  packet_id: z.int(),
})

it('a prepared record is, byte for byte, the line that the whole event gives', () => {
  fc.assert(
    fc.property(
      anyEvent,
      fc.nat(2 ** 31),
      optional(fc.constantFrom('sha256', 'hmac_sha256')),
      fc.nat(65535),
      fc.integer({ min: 1, max: 100 }),
      (any, length, name, id, at) => {
        const event: AuditEvent = {
          ...any,
          detail: undefined,
          gap: undefined,
          payload: undefined,
          packet_id: undefined,
        }
        const digest = 'ab'.repeat(32)
        const payload = name === undefined ? { length } : { length, [name]: digest }
        const whole = encoder()
        const lines = [1, 2].map(() =>
          whole.encode({ ...event, payload, packet_id: id > 0 ? id : undefined }),
        )
        const short = encoder()
        const record = short.prepare(event, name)
        for (const line of lines) {
          const target = Buffer.alloc(at + short.roomFor(record), 'x')
          short.tick()
          const end = short.encodePrepared(target, at, record, length, digest, id)
          expect(target.toString('utf8', at, end)).toBe(line)
          expect(target.toString('utf8', 0, at)).toBe('x'.repeat(at))
        }
        expect(short.head).toEqual(whole.head)
      },
    ),
  )
})

describe('a record', () => {
  it('AUD-02 names agent, human, token, resource, decision, rules, policy, time and effect', () => {
    expect(() => DELEGATED.parse(JSON.parse(encoder().encode(PUBLISH)))).not.toThrow()
  })

  it.each(['connect', 'will', 'publish', 'subscribe', 'deliver', 'disconnect'] as const)(
    'AUD-01 of %s, allowed or denied, moves the chain by one',
    (action) => {
      const records = encoder()
      for (const decision of ['allow', 'deny'] as const) {
        const { seq } = records.head
        const record = JSON.parse(records.encode({ ...PUBLISH, action, decision })) as AuditRecord
        expect(record).toMatchObject({ action, decision, seq: seq + 1 })
      }
    },
  )

  it('AUD-04 is canonical JSON whose hash an independent reader gets too, whatever the strings hold', () => {
    fc.assert(
      fc.property(fc.array(anyEvent, { minLength: 1, maxLength: 4 }), (events) => {
        const records = encoder()
        let prev = GENESIS.hash
        for (const event of events) {
          const line = records.encode(event)
          expect(line).not.toMatch(/[\n\r]/)
          const { hash, ...rest } = JSON.parse(line) as AuditRecord
          expect(line).toBe(canonicalize({ ...rest, hash }))
          expect(hash).toBe(
            createHash('sha256')
              .update(`\0${canonicalize(rest)!}`)
              .digest('hex'),
          )
          expect(rest.prev).toBe(prev)
          prev = hash
        }
      }),
    )
  })

  it.each([
    { '\ud800': 'a', '\ue000': 'b' },
    { '\ud800': 'a', '\ud801': 'b' },
  ])('AUD-04 is canonical also where names had to be mended: %j', (rules) => {
    const line = encoder().encode({ ...PUBLISH, rules })
    expect(line).toBe(canonicalize(JSON.parse(line)))
  })

  it('begins a chain with seq 1 and 64 zeros', () => {
    expect(JSON.parse(encoder().encode(PUBLISH))).toMatchObject({ seq: 1, prev: '0'.repeat(64) })
  })

  it('leaves out what is undefined', () => {
    const line = encoder().encode({
      action: 'start',
      decision: 'allow',
      reason: 'ok',
      effect: 'started',
      resource: undefined,
      connection: { id: 'c1' },
      payload: { length: 3 },
    })
    expect(Object.keys(JSON.parse(line))).toEqual(
      'action connection decision effect hash instance mono payload policy prev reason seq time v'.split(' '),
    )
  })

  it('keeps names of the prototype chain as plain data', () => {
    const rules = JSON.parse('{"__proto__":"r1","constructor":"r2"}') as Record<string, string>
    expect(encoder().encode({ ...PUBLISH, rules })).toContain('"rules":{"__proto__":"r1","constructor":"r2"}')
  })

  it('cannot be forged by a topic that holds a newline and a record', () => {
    const forged = `x"}\n{"action":"publish","decision":"allow"`
    const line = encoder().encode({ ...PUBLISH, resource: { topic: forged } })
    expect(line.split('\n')).toHaveLength(1)
    expect((JSON.parse(line) as AuditRecord).resource?.topic).toBe(forged)
  })

  it('carries the policy version that is in force when it is made', () => {
    const records = encoder()
    records.encode(PUBLISH)
    records.policy = 'c3d4'
    expect(JSON.parse(records.encode(PUBLISH))).toMatchObject({ policy: 'c3d4' })
  })

  it('serialises one identity object once', () => {
    let read = 0
    const counted = {
      get tenant() {
        read += 1
        return 'org_a'
      },
    }
    const records = encoder()
    const first = JSON.parse(records.encode({ ...PUBLISH, identity: counted })) as AuditRecord
    const after = read
    const second = JSON.parse(records.encode({ ...PUBLISH, identity: counted })) as AuditRecord
    expect(second.identity).toEqual(first.identity)
    expect(first.identity).toEqual({ tenant: 'org_a' })
    expect(read).toBe(after)
  })
})
