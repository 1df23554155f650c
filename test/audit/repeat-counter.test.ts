import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { AuditEvent } from '../../src/audit/event.ts'
import { RepeatCounter } from '../../src/audit/repeat-counter.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { RecordingAudit } from '../support/recording-audit.ts'
import { PUBLISH } from './chain.ts'

const FIRST = { id: 'c1', client_id: 'scout', peer: '127.0.0.1:1', listener: 'main' }
const SECOND = { ...FIRST, id: 'c2' }
const on = (topic: string, more: Partial<AuditEvent> = {}): AuditEvent => ({
  ...PUBLISH,
  connection: FIRST,
  resource: { topic, qos: 1, retain: false, correlation_sha256: 'a' },
  payload: { length: 10 },
  ...more,
})

function setUp({ rate = 3, flushOnCommit = false } = {}) {
  const clock = new FakeClock()
  const audit = new RecordingAudit()
  const counter = new RepeatCounter(audit, { clock, rate, interval: 10_000, flushOnCommit })
  const repeat = (times: number, event = on('t')) => {
    for (let i = 0; i < times; i++) counter.append(event)
  }
  return { clock, audit, counter, repeat, events: audit.events }
}

/** What the records stand for. */
const total = (events: readonly AuditEvent[]) =>
  events.reduce((sum, event) => sum + (event.repeated?.count ?? 1), 0)

describe('AUD-01 counted records', () => {
  it('the first ones of a second have a record each; the others are one record with sum, times and bytes', () => {
    const { clock, repeat, events } = setUp()
    repeat(5)
    clock.advance(500)
    repeat(2)
    expect(events).toHaveLength(3)
    clock.advance(9_500)
    expect(events).toHaveLength(4)
    expect(events[3]).toEqual({
      action: 'publish',
      decision: 'allow',
      reason: 'allow',
      effect: 'forwarded',
      identity: PUBLISH.identity,
      connection: FIRST,
      rules: PUBLISH.rules,
      resource: { topic: 't', qos: 1, retain: false },
      repeated: { count: 4, first: '2026-11-22T12:00:00.000Z', last: '2026-11-22T12:00:00.500Z', bytes: 40 },
    })
  })

  it('prepared ones are counted with the others of their kind, also after they were forgotten', () => {
    const { clock, counter, audit, events } = setUp()
    const record = counter.prepare({ ...on('t'), payload: undefined }, undefined)
    const repeat = (times: number) => {
      counter.tick()
      for (let i = 0; i < times; i++)
        if (!counter.count(record, 10, 1)) counter.appendPrepared(record, 10, '', 0)
    }
    repeat(2)
    counter.append(on('t'))
    counter.append(on('t'))
    repeat(3)
    expect(events).toHaveLength(3)
    clock.advance(20_000)
    expect(events[3]).toMatchObject({ repeated: { count: 4, bytes: 40 } })
    repeat(5)
    counter.append({ ...on('t'), action: 'disconnect' })
    expect(total(audit.events.filter(({ action }) => action === 'publish'))).toBe(12)
    repeat(4)
    counter.flush()
    expect(total(audit.events.filter(({ action }) => action === 'publish'))).toBe(16)
  })

  it('a new second starts anew', () => {
    const { clock, repeat, events } = setUp()
    repeat(3)
    clock.advance(1_000)
    repeat(3)
    expect(events).toHaveLength(6)
  })

  it.each<[string, Partial<AuditEvent>]>([
    ['another topic', { resource: { topic: 'u', qos: 1, retain: false } }],
    ['another QoS', { resource: { topic: 't', qos: 0, retain: false } }],
    ['another verdict', { decision: 'deny', reason: 'no_rule' }],
    ['another effect', { effect: 'dropped' }],
    ['another rule', { rules: { agent: 'other' } }],
    ['another connection', { connection: SECOND }],
    ['another action', { action: 'deliver' }],
  ])('%s is another action', (_, change) => {
    const { repeat, events } = setUp()
    repeat(3)
    repeat(3, on('t', change))
    expect(events).toHaveLength(6)
  })

  it('sums are written before the record of the connection’s end', () => {
    const { counter, repeat, events } = setUp()
    repeat(5)
    repeat(5, on('t', { connection: SECOND }))
    counter.append({
      action: 'disconnect',
      decision: 'allow',
      reason: 'x',
      effect: 'closed',
      connection: FIRST,
    })
    expect(
      events.slice(6).map((event) => [event.action, event.connection?.id, event.repeated?.count]),
    ).toEqual([
      ['publish', 'c1', 2],
      ['disconnect', 'c1', undefined],
    ])
  })

  it('with write-ahead sums are written before what they count leaves', () => {
    const { counter, repeat, events } = setUp({ flushOnCommit: true })
    repeat(5)
    expect(counter.commit()).toBe(true)
    expect(events.at(-1)?.repeated?.count).toBe(2)
  })

  it('what is not an agent’s packet is passed on', () => {
    const { repeat, events } = setUp()
    repeat(5, { action: 'policy', decision: 'allow', reason: 'ok', effect: 'in force' })
    repeat(5, { action: 'connect', decision: 'deny', reason: 'x', effect: 'closed', connection: FIRST })
    expect(events).toHaveLength(10)
  })

  it('asks the log whether it accepts, and what it says to a commit', () => {
    const { audit, counter } = setUp()
    audit.accepting = false
    audit.commits = false
    expect([counter.accepting, counter.commit()]).toEqual([false, false])
  })

  it('keeps no timer and no memory of a connection that is silent', () => {
    const { clock, repeat } = setUp()
    repeat(5)
    expect(clock.pendingCount).toBe(1)
    clock.advance(20_000)
    expect(clock.pendingCount).toBe(0)
  })

  it('no action is lost, however many kinds there are and whenever they come', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(2000), fc.nat(30), fc.nat(3000)), { maxLength: 60 }),
        fc.integer({ min: 1, max: 5 }),
        (steps, rate) => {
          const { clock, counter, repeat, events } = setUp({ rate })
          let sent = 0
          for (const [kind, times, wait] of steps) {
            repeat(times, on(`t/${kind % 7}`))
            sent += times
            clock.advance(wait)
          }
          counter.flush()
          expect(total(events)).toBe(sent)
        },
      ),
    )
  })

  it('more kinds than are kept in mind lose nothing either', () => {
    const { counter, repeat, events } = setUp({ rate: 1 })
    for (let i = 0; i < 2500; i++) repeat(2, on(`t/${i}`))
    counter.flush()
    expect(total(events)).toBe(5000)
  })
})
