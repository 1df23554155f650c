// A token that Postern holds for an agent, against one session, step by step.
import { expect, test } from 'vitest'
import type { HeldToken, Renewed } from '../../src/session/context.ts'
import { connack, connect } from '../support/frames.ts'
import { SessionRig } from '../support/session-rig.ts'

/** One that can be replaced, whose verification is answered by hand. */
class Held implements HeldToken {
  digest: string | undefined
  readonly answers: ((renewed: Renewed) => void)[] = []
  renew(): Promise<Renewed> {
    return new Promise((resolve) => this.answers.push(resolve))
  }
}

async function answer(it: SessionRig, held: Held, tokenDigest: string, lifetimeMs = 900_000): Promise<void> {
  const endsAtMs = it.clock.now() + lifetimeMs
  const principal = { ...it.session.principal!, tokenDigest, endsAtMs, expiresAtMs: endsAtMs }
  held.answers.shift()!({ ok: true, principal })
  await it.settle()
}

test('DEL-14 a token that was replaced while CONNECT was under way is taken over after the CONNACK', async () => {
  const held = new Held()
  const it = new SessionRig({ heldToken: () => held })
  it.fromClient(connect({}))
  await it.settle()
  held.digest = 'second'
  it.session.renewal.takeHeld()
  expect(held.answers).toHaveLength(0)
  it.fromServer(connack())
  await it.settle()
  await answer(it, held, 'second')
  expect(it.decisions.at(-1)).toBe('renew ok taken')
  it.clock.advance(899_999)
  expect(it.ended).toBe(false)
  it.clock.advance(1)
  expect(it.event('disconnect')).toMatchObject({ reason: 'expired' })
})

test('DEL-14 of two that come one after the other the last one stays', async () => {
  const held = new Held()
  const it = await new SessionRig({ heldToken: () => held }).connect()
  held.digest = 'second'
  it.session.renewal.takeHeld()
  held.digest = 'third'
  it.session.renewal.takeHeld()
  expect(held.answers).toHaveLength(1)
  await answer(it, held, 'second')
  await answer(it, held, 'third')
  expect(it.session.principal!.tokenDigest).toBe('third')
  expect(held.answers).toHaveLength(0)
})

test('DEL-14 a token that is not accepted leaves the former in force, once', async () => {
  const held = new Held()
  const it = await new SessionRig({ heldToken: () => held }).connect()
  held.digest = 'second'
  it.session.renewal.takeHeld()
  held.answers.shift()!({ ok: false, reason: 'keys_unavailable', detail: undefined })
  await it.settle()
  expect(it.decisions).toEqual(['renew keys_unavailable not taken'])
  expect(held.answers).toHaveLength(0)
  it.clock.advance(600_000)
  expect(it.event('disconnect')).toMatchObject({ reason: 'expired' })
})

test('DEL-14 the same token again is no renewal', async () => {
  const held = new Held()
  const it = await new SessionRig({ heldToken: () => held }).connect()
  held.digest = it.session.principal!.tokenDigest
  it.session.renewal.takeHeld()
  held.digest = undefined
  it.session.renewal.takeHeld()
  expect(held.answers).toHaveLength(0)
})
