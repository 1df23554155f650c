// What a fresh token does to one session, with time in hand. Ids: identity-standards.md 13.5 (EXP).
import { expect, test } from 'vitest'
import type { Principal } from '../../src/identity/principal.ts'
import { auth, prop, publish } from '../support/frames.ts'
import { packetsIn } from '../support/packet-inbox.ts'
import { type RigOptions, SessionRig } from '../support/session-rig.ts'

const METHOD = 'OAUTH2-JWT'
const RENEW = auth(0x19, [prop.authenticationMethod(METHOD), prop.authenticationData('a.b.c')])

/** The same bearer, for so much longer from now on. */
const extended = (it: SessionRig, lifetimeMs: number): Principal => {
  const endsAtMs = it.clock.now() + lifetimeMs
  return { ...it.session.principal!, endsAtMs, expiresAtMs: endsAtMs }
}

const renewing = (lifetimeMs: number): RigOptions => ({
  authenticationMethod: METHOD,
  renew: (_, it) => ({ ok: true, principal: extended(it, lifetimeMs) }),
})

test('EXP-06 the new end may be more than 2^31 ms away; the former timer is gone', async () => {
  const days = 40 * 24 * 3_600_000
  const it = await new SessionRig(renewing(days)).connect()
  it.fromClient(RENEW)
  await it.settle()
  it.forget()
  it.clock.advance(days - 1)
  expect(it.ended).toBe(false)
  it.clock.advance(1)
  expect(packetsIn(it.toClient)).toMatchObject([{ cmd: 'disconnect', reasonCode: 0x87 }])
})

test('EXP-06 a shorter token ends the session earlier', async () => {
  const it = await new SessionRig(renewing(1_000)).connect()
  it.fromClient(RENEW)
  await it.settle()
  it.clock.advance(1_000)
  expect(it.event('disconnect')).toMatchObject({ reason: 'expired' })
})

test('EXP-02 a token that expires while its successor is verified ends the session all the same', async () => {
  let answer = (_: never): void => {}
  const it = await new SessionRig({
    authenticationMethod: METHOD,
    renew: () =>
      new Promise((resolve) => {
        answer = resolve
      }),
  }).connect()
  it.fromClient(RENEW)
  it.clock.advance(600_000)
  expect(it.event('disconnect')).toMatchObject({ reason: 'expired' })
  const before = it.client.writes.length
  answer({ ok: true, principal: extended(it, 1_000) } as never)
  await it.settle()
  expect(it.client.writes.length).toBe(before)
})

test('EXP-02 while no record can be written nobody’s rights are renewed', async () => {
  const it = await new SessionRig(renewing(1_000)).connect()
  it.audit.accepting = false
  it.fromClient(RENEW)
  await it.settle()
  expect(it.event('renew')).toMatchObject({ decision: 'deny', reason: 'audit_unavailable' })
  expect(it.event('disconnect')).toMatchObject({ reason: 'renewal_refused' })
})

test('an upload while another is decided is PUBACK 0x87, and the first goes on', async () => {
  const it = await new SessionRig({
    renew: (_, rig) => ({ ok: true, principal: extended(rig, 1_000) }),
  }).connect()
  const upload = (packetId: number): Buffer =>
    publish({ topic: '$postern/token', qos: 1, packetId, payload: 'a.b.c' })
  it.fromClient(upload(1), upload(2))
  await it.settle()
  expect(packetsIn(it.toClient)).toMatchObject([
    { cmd: 'puback', messageId: 2, reasonCode: 0x87 },
    { cmd: 'puback', messageId: 1, reasonCode: 0 },
  ])
  expect(it.toServer.length).toBe(0)
})

test('POP-05 POP-07 a challenge of a fresh token that is not answered in time ends the session', async () => {
  const it = await new SessionRig({
    authenticationMethod: METHOD,
    renew: () => ({ ok: 'challenge', data: Buffer.from('nonce'), answer: async () => expect.unreachable() }),
  }).connect()
  it.fromClient(RENEW)
  await it.settle()
  expect(packetsIn(it.toClient)).toMatchObject([{ cmd: 'auth', reasonCode: 0x18 }])
  it.forget()
  it.clock.advance(4_999)
  expect(it.ended).toBe(false)
  it.clock.advance(1)
  expect(packetsIn(it.toClient)).toMatchObject([{ cmd: 'disconnect', reasonCode: 0x87 }])
  expect(it.event('renew')).toMatchObject({ reason: 'proof_failed', detail: 'auth: no answer in time' })
})

test('POP-05 a challenge outlives no session, and its answer brings none back', async () => {
  let answer = (_: never): void => {}
  const it = await new SessionRig({
    authenticationMethod: METHOD,
    renew: () => ({
      ok: 'challenge',
      data: Buffer.from('nonce'),
      answer: () =>
        new Promise((resolve) => {
          answer = resolve
        }),
    }),
  }).connect()
  it.fromClient(RENEW)
  await it.settle()
  it.fromClient(auth(0x18, [prop.authenticationMethod(METHOD), prop.authenticationData('proof')]))
  it.clock.advance(600_000)
  expect(it.event('disconnect')).toMatchObject({ reason: 'expired' })
  const before = it.client.writes.length
  answer({ ok: true, principal: extended(it, 1_000) } as never)
  await it.settle()
  expect(it.client.writes.length).toBe(before)
})
