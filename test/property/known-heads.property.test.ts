// Heads that are known by their bytes get the answer that they would get if they were read: under the rights now in
// force, never under those of yesterday, whatever came before.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { AuditEvent } from '../../src/audit/event.ts'
import { repeatsOf } from '../../src/session/known-heads.ts'
import { prop, publish } from '../support/frames.ts'
import { policyFrom, SessionRig } from '../support/session-rig.ts'

const rule = (text: string): string => `
version: 1
agents: [${text}]
users: [{ id: u, allow: publish+subscribe, topic: '#', retain: allowed, responseTopic: allowed }]
`

const POLICIES = [
  rule(`{ id: all, allow: publish+subscribe, topic: 'ok/#', retain: allowed, responseTopic: allowed }`),
  rule(`{ id: a-only, allow: publish+subscribe, topic: ok/a }`),
  rule(
    `{ id: short, allow: publish, topic: 'ok/#', maxPayload: 10 }, { id: long, allow: publish, topic: ok/a }`,
  ),
  rule(`{ id: no-qos-1, allow: publish+subscribe, topic: 'ok/#', maxQos: 0 }`),
  rule(
    `{ id: all, allow: publish+subscribe, topic: 'ok/#' }, { id: not-b, deny: publish+subscribe, topic: ok/b }`,
  ),
  rule(`{ id: none, allow: publish+subscribe, topic: elsewhere }`),
  `mode: { agents: shadow }${rule(`{ id: none, allow: publish+subscribe, topic: elsewhere }`)}`,
]

const message = fc
  .record({
    topic: fc.constantFrom('ok/a', 'ok/b', 'ok/a/b', 'no/a', 'ok/', 'ok/é'),
    qos: fc.constantFrom(0, 0, 1),
    retain: fc.boolean(),
    dup: fc.boolean(),
    length: fc.constantFrom(0, 1, 10, 11, 127, 200, 17_000),
    response: fc.constantFrom(undefined, undefined, 'ok/a', 'ok/b', 'no/a'),
    id: fc.integer({ min: 1, max: 3 }),
  })
  .map(({ topic, qos, retain, dup, length, response, id }) =>
    publish({
      topic,
      retain,
      payload: Buffer.alloc(length, 'x'),
      ...(qos === 0 ? {} : { qos, packetId: id, dup }),
      ...(response === undefined ? {} : { properties: [prop.responseTopic(response)] }),
    }),
  )
const change = fc.nat(POLICIES.length - 1)
/** What was sent is sent again, mostly: that is what the cache is for. */
const steps = fc
  .tuple(
    fc.array(message, { minLength: 1, maxLength: 5 }),
    fc.array(
      fc.oneof(
        fc.nat(),
        fc.nat(),
        fc.nat(),
        fc.nat(),
        change.map((to) => ({ to })),
      ),
      { maxLength: 25 },
    ),
  )
  .map(([messages, picks]) =>
    picks.map((pick) => (typeof pick === 'number' ? messages[pick % messages.length]! : pick)),
  )

const policies = POLICIES.map(policyFrom)

function usePolicy(rig: SessionRig, index: number): void {
  rig.context.policyInForce = { policy: policies[index]!, epoch: rig.context.policyInForce.epoch + 1 }
}

function told(events: readonly AuditEvent[]): unknown[] {
  return events.map(({ action, decision, reason, effect, resource, packet_id, rules, payload }) => {
    return { action, decision, reason, effect, resource, packet_id: packet_id ?? 0, rules, payload }
  })
}

test.each(['all', 'denied'])(
  'a session with a past answers as one without, after any change of rights (records of %s)',
  async (publishes) => {
    const config = { audit: { file: 'audit.jsonl', publishes } }
    await fc.assert(
      fc.asyncProperty(
        steps,
        fc.constantFrom(0, 1, 5, 40),
        fc.constantFrom(1, 1, 3),
        async (all, cutAt, times) => {
          const old = await new SessionRig({ policy: POLICIES[0]!, config }).connect()
          let inForce = 0
          for (const step of all) {
            if (!Buffer.isBuffer(step)) {
              inForce = step.to
              usePolicy(old, inForce)
              continue
            }
            const fresh = await new SessionRig({ policy: POLICIES[inForce]!, config }).connect()
            old.forget()
            old.audit.events.length = 0
            fresh.audit.events.length = 0
            const run = Buffer.concat(Array.from({ length: times }, () => step))
            const cut = Math.min(run.length, Math.max(1, run.length - cutAt))
            for (const rig of [old, fresh]) {
              rig.fromClient(run.subarray(0, cut))
              if (cut < run.length) rig.fromClient(run.subarray(cut))
            }
            expect(old.toServer).toEqual(fresh.toServer)
            expect(old.toClient).toEqual(fresh.toClient)
            expect(told(old.audit.events)).toEqual(told(fresh.audit.events))
          }
        },
      ),
      { numRuns: 60 },
    )
  },
)

test('deliveries too: a known topic is not delivered after the right to it is gone', async () => {
  const it = await new SessionRig({ policy: POLICIES[0]! }).connect()
  const delivery = publish({ topic: 'ok/b', payload: 'x' })
  it.fromServer(delivery, delivery, delivery)
  expect(it.toClient).toEqual(Buffer.concat([delivery, delivery, delivery]))
  it.forget()
  usePolicy(it, 4)
  it.fromServer(delivery)
  expect(it.toClient).toHaveLength(0)
})

test('a run of frames ends where a head differs in any byte, or is not all there', () => {
  const pad = Buffer.alloc(7, 0x55)
  fc.assert(
    fc.property(
      fc.constantFrom('a', 'ok/a', 'ok/some/longer/topic'),
      fc.constantFrom(0, 1, 100, 300),
      fc.nat(6),
      fc.nat(20),
      fc.nat(),
      fc.nat(),
      (topic, length, offset, frames, place, cut) => {
        const frame = publish({ topic, payload: Buffer.alloc(length, 'x') })
        const head = frame.length - length
        const all = Buffer.concat([
          pad.subarray(0, offset),
          ...Array.from({ length: frames + 1 }, () => frame),
        ])
        expect(repeatsOf(all, offset, head, frame.length)).toBe(frames)
        if (frames === 0) return
        // Another byte in the head of one of them.
        const which = 1 + (place % frames)
        const changed = Buffer.from(all)
        changed[offset + which * frame.length + (cut % head)]! ^= 1 << (place % 8)
        expect(repeatsOf(changed, offset, head, frame.length)).toBe(which - 1)
        // In the body of one of them.
        const other = Buffer.from(all)
        if (length > 0) other[offset + which * frame.length + head + (cut % length)]! ^= 0xff
        expect(repeatsOf(other, offset, head, frame.length)).toBe(frames)
        const bytes = cut % (frames * frame.length)
        const whole = Math.floor(bytes / frame.length) + (bytes % frame.length >= head ? 1 : 0)
        const short = all.subarray(0, offset + frame.length + bytes)
        expect(repeatsOf(short, offset, head, frame.length)).toBe(whole)
      },
    ),
    { numRuns: 300 },
  )
})
