// Just-in-time grants in one session, with time in hand: handed in on the control topic, used, ended. Ids:
// identity-standards.md 13.6 (JIT).
import { hash } from 'node:crypto'
import fc from 'fast-check'
import { beforeEach, describe, expect, test } from 'vitest'
import type { Take } from '../../src/grants/used-grants.ts'
import { ack, connect, prop, publish, suback, subscribe, unsuback, unsubscribe } from '../support/frames.ts'
import { Desk, GRANT_POLICY, sessionWith } from '../support/grant-desk.ts'
import { packetsIn } from '../support/packet-inbox.ts'
import { type RigOptions, SessionRig } from '../support/session-rig.ts'

const TOPIC = '$postern/grant'

let desk: Desk
beforeEach(() => {
  desk = new Desk()
})

const open = (options: RigOptions = {}): Promise<SessionRig> => sessionWith(desk, options)

const upload = (name: string, qos = 1, packetId = 900) =>
  publish({ topic: TOPIC, qos, packetId, payload: name })
const pay = (packetId = 1, payload = 'ten', topic = 'pay/u1/order') =>
  publish({ topic, qos: 1, packetId, payload })
const inMinutes = (it: SessionRig, minutes: number) => it.clock.now() + minutes * 60_000

/** Hands the grant in; the code of the answer. */
async function handIn(it: SessionRig, name: string, qos = 1): Promise<number | undefined> {
  const before = packetsIn(it.toClient).length
  it.fromClient(upload(name, qos))
  await it.settle()
  const answer = packetsIn(it.toClient).slice(before)[0]
  return answer === undefined ? undefined : 'reasonCode' in answer ? (answer.reasonCode ?? 0) : 0
}

const sent = (it: SessionRig) => packetsIn(it.toServer).map(({ cmd }) => cmd)
const codes = (it: SessionRig) =>
  packetsIn(it.toClient).map(
    (packet) => `${packet.cmd} ${'reasonCode' in packet ? (packet.reasonCode ?? 0) : 0}`,
  )

describe('a PUBLISH', () => {
  test('JIT-01 without a grant it is denied with its own reason, in audit and metrics', async () => {
    const it = await open()
    it.fromClient(pay())
    expect(codes(it)).toEqual([`puback ${0x87}`])
    expect(it.event('publish')).toMatchObject({
      decision: 'deny',
      reason: 'grant_required',
      rules: { agent: 'pay' },
    })
    expect(it.toServer.length).toBe(0)
  })

  test('JIT-07 JIT-09 with one it goes on as it is, and its record names grant and approver', async () => {
    const it = await open()
    desk.put('g', { topic: 'pay/u1/+' }, inMinutes(it, 5))
    expect(await handIn(it, 'g')).toBe(0)
    expect(it.event('grant')).toMatchObject({
      decision: 'allow',
      reason: 'ok',
      effect: 'ack 0x00',
      grant: { jti: 'g' },
    })
    expect(it.toServer.length).toBe(0)
    it.fromClient(pay())
    expect(it.toServer).toEqual(pay())
    expect(it.event('publish')).toMatchObject({
      decision: 'allow',
      effect: 'forwarded',
      grant: { iss: 'https://idp.test', jti: 'g', approver: { iss: 'https://idp.test', sub: 'boss' } },
    })
  })

  test('JIT-03 it is used up by one: of two in one chunk the first passes, and the head is not remembered', async () => {
    const it = await open()
    desk.put('g', { topic: 'pay/u1/+' }, inMinutes(it, 5))
    await handIn(it, 'g')
    it.forget()
    it.fromClient(pay(1), pay(2), pay(3))
    expect(sent(it)).toEqual(['publish'])
    expect(codes(it)).toEqual([`puback ${0x87}`, `puback ${0x87}`])
    expect(await handIn(it, 'g')).toBe(0x87)
    expect(it.event('grant')).toMatchObject({ decision: 'deny', reason: 'grant_spent', grant: { jti: 'g' } })
  })

  test('JIT-03 each hand-in is one use, up to max_uses', async () => {
    const it = await open()
    desk.put('g', { topic: 'pay/u1/+', maxUses: 2 }, inMinutes(it, 5))
    expect([await handIn(it, 'g'), await handIn(it, 'g'), await handIn(it, 'g')]).toEqual([0, 0, 0x87])
    it.forget()
    it.fromClient(pay(1), pay(2), pay(3))
    expect(sent(it)).toEqual(['publish', 'publish'])
  })

  test('JIT-03 property: sessions that hand in one grant as often as they like publish as often as it has uses', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 4 }),
        fc.array(fc.tuple(fc.nat(2), fc.boolean()), { maxLength: 20 }),
        async (maxUses, steps) => {
          desk = new Desk()
          const rigs = await Promise.all([open(), open(), open()])
          desk.put('g', { topic: 'pay/#', maxUses }, inMinutes(rigs[0]!, 5))
          let packetId = 1
          for (const [who, isUpload] of steps) {
            rigs[who]!.fromClient(isUpload ? upload('g', 1, packetId++) : pay(packetId++))
          }
          for (const it of rigs) await it.settle()
          for (let i = 0; i < 8; i++) for (const it of rigs) it.fromClient(pay(packetId++))
          const forwarded = rigs.flatMap(sent).length
          expect(forwarded).toBeLessThanOrEqual(maxUses)
          expect(forwarded).toBe(Math.min(maxUses, steps.filter(([, isUpload]) => isUpload).length))
        },
      ),
      { numRuns: 30 },
    )
  })

  test('JIT-04 a topic that the user lacks stays denied, and the grant is not used up by the try', async () => {
    const it = await open()
    desk.put('g', { topic: 'pay/#' }, inMinutes(it, 5))
    await handIn(it, 'g')
    it.forget()
    it.fromClient(pay(1, 'ten', 'pay/u2/order'))
    expect(it.event('publish')).toMatchObject({ decision: 'deny', reason: 'no_rule' })
    it.fromClient(pay(2))
    expect(sent(it)).toEqual(['publish'])
  })

  test('a grant that is not needed is not used up', async () => {
    const it = await open()
    desk.put('g', { topic: '#' }, inMinutes(it, 5))
    await handIn(it, 'g')
    it.forget()
    it.fromClient(publish({ topic: 'free/a', qos: 1, packetId: 1 }), pay(2))
    expect(sent(it)).toEqual(['publish', 'publish'])
  })

  test('one that another limit stops leaves it in hand', async () => {
    const it = await open()
    desk.put('g', { topic: 'pay/#' }, inMinutes(it, 5))
    await handIn(it, 'g')
    it.audit.accepting = false
    it.fromClient(pay(1))
    expect(it.event('publish')).toMatchObject({ reason: 'audit_unavailable' })
    it.audit.accepting = true
    it.fromClient(pay(2))
    expect(sent(it)).toEqual(['publish'])
  })

  test('one for another topic or action does not help', async () => {
    const it = await open()
    desk.put('t', { topic: 'pay/u1/refund' }, inMinutes(it, 5))
    desk.put('s', { topic: 'pay/u1/+', action: 'subscribe' }, inMinutes(it, 5))
    await handIn(it, 't')
    await handIn(it, 's')
    it.forget()
    it.fromClient(pay())
    expect(it.event('publish')).toMatchObject({ reason: 'grant_required' })
  })

  test('JIT-05 a grant for one payload does not help another', async () => {
    const it = await open()
    desk.put('g', { topic: 'pay/u1/+', payloadSha256: hash('sha256', 'ten') }, inMinutes(it, 5))
    await handIn(it, 'g')
    it.forget()
    it.fromClient(pay(1, 'thousand'))
    expect(it.event('publish')).toMatchObject({ decision: 'deny', reason: 'grant_required' })
    it.fromClient(pay(2, 'ten'))
    expect(sent(it)).toEqual(['publish'])
  })

  test('an expired one does not help, though it was handed in in time', async () => {
    const it = await open()
    desk.put('g', { topic: 'pay/#' }, inMinutes(it, 1))
    await handIn(it, 'g')
    it.clock.advance(60_000)
    it.forget()
    it.fromClient(pay())
    expect(it.event('publish')).toMatchObject({ reason: 'grant_required' })
  })

  test('QoS 2 by a grant is released after the rights have changed', async () => {
    const it = await open()
    desk.put('g', { topic: 'pay/#' }, inMinutes(it, 5))
    await handIn(it, 'g')
    it.fromClient(publish({ topic: 'pay/u1/order', qos: 2, packetId: 5 }))
    it.fromServer(ack('pubrec', 5))
    it.usePolicy(`${GRANT_POLICY}\n# anew`)
    it.forget()
    it.fromClient(ack('pubrel', 5))
    expect(sent(it)).toEqual(['pubrel'])
  })

  test('what shadow mode lets through uses no grant up; with one it is no denial', async () => {
    const it = await open({ policy: `mode: shadow\n${GRANT_POLICY.trim()}` })
    it.fromClient(pay(1))
    expect(it.event('publish')).toMatchObject({
      decision: 'deny',
      reason: 'grant_required',
      effect: 'shadowed',
    })
    desk.put('g', { topic: 'pay/u1/+' }, inMinutes(it, 5))
    await handIn(it, 'g')
    it.fromClient(pay(2, 'ten', 'pay/u2/order'))
    expect(it.event('publish')).toMatchObject({ decision: 'deny', effect: 'shadowed' })
    it.fromClient(pay(3))
    expect(it.event('publish')).toMatchObject({ decision: 'allow', grant: { jti: 'g' } })
  })
})

describe('the control topic', () => {
  test.each([
    [1, 'puback'],
    [2, 'pubrec'],
  ])(
    'JIT-07 QoS %i: good 0x00, not accepted 0x87, no token at all 0x99; never forwarded',
    async (qos, cmd) => {
      const it = await open()
      desk.put('g', { topic: 'pay/#' }, inMinutes(it, 5))
      desk.known.set('bad', { ok: false, reason: 'bad_signature' })
      for (const name of ['g', 'bad', 'hello']) await handIn(it, name, qos)
      expect(codes(it)).toEqual([`${cmd} 0`, `${cmd} ${0x87}`, `${cmd} ${0x99}`])
      expect(it.toServer.length).toBe(0)
      if (qos === 2) {
        it.fromClient(ack('pubrel', 900))
        expect(packetsIn(it.toClient).at(-1)).toMatchObject({ cmd: 'pubcomp', reasonCode: 0 })
        expect(it.toServer.length).toBe(0)
      }
    },
  )

  test('QoS 0 has no answer: a bad one is dropped, or ends the session where a denied PUBLISH does', async () => {
    const it = await open()
    await handIn(it, 'hello', 0)
    expect(it.event('grant')).toMatchObject({
      decision: 'deny',
      reason: 'malformed_token',
      effect: 'dropped',
    })
    expect(it.ended).toBe(false)
    const strict = await open({ config: { denial: { publishQos0: 'disconnect' } } })
    await handIn(strict, 'hello', 0)
    expect(packetsIn(strict.toClient)).toMatchObject([{ cmd: 'disconnect', reasonCode: 0x87 }])
  })

  test('a grant that comes in pieces is one grant', async () => {
    const it = await open()
    desk.put('a-long-name', { topic: 'pay/#' }, inMinutes(it, 5))
    const bytes = upload('a-long-name')
    for (let i = 0; i < bytes.length; i += 3) it.fromClient(bytes.subarray(i, i + 3))
    await it.settle()
    expect(codes(it)).toEqual(['puback 0'])
  })

  test('it may not be the topic of a Will', async () => {
    const it = new SessionRig({ policy: GRANT_POLICY, grants: desk })
    it.fromClient(connect({ password: 'a.b.c', will: { topic: TOPIC, payload: 'x' } }))
    await it.settle()
    expect(packetsIn(it.toClient)).toMatchObject([{ cmd: 'connack', reasonCode: 0x87 }])
    expect(it.event('will')).toMatchObject({ decision: 'deny', reason: 'reserved_topic' })
  })

  test('without `grants` the name is left to the policy', async () => {
    const it = await new SessionRig({ policy: GRANT_POLICY }).connect()
    it.fromClient(upload('g'))
    expect(it.event('publish')).toMatchObject({ decision: 'deny', reason: 'reserved_topic' })
  })

  test.each<[Take, string]>([
    ['unavailable', 'grants_unavailable'],
    ['spent', 'grant_spent'],
  ])('JIT-03 a use that is %s gives nothing', async (answer, reason) => {
    const it = await open()
    desk.put('g', { topic: 'pay/#' }, inMinutes(it, 5))
    desk.next = answer
    expect(await handIn(it, 'g')).toBe(0x87)
    expect(it.event('grant')).toMatchObject({ reason })
    it.forget()
    it.fromClient(pay())
    expect(it.toServer.length).toBe(0)
  })

  test('a connection holds sixteen, and more when some are used or expired', async () => {
    const it = await open()
    desk.put('g', { topic: 'pay/#', maxUses: 100 }, inMinutes(it, 1))
    for (let i = 0; i < 16; i++) expect(await handIn(it, 'g')).toBe(0)
    expect(await handIn(it, 'g')).toBe(0x87)
    expect(it.event('grant')).toMatchObject({ reason: 'too_many_grants' })
    it.fromClient(pay())
    expect(await handIn(it, 'g')).toBe(0)
    it.clock.advance(60_000)
    desk.put('h', { topic: 'pay/#' }, inMinutes(it, 1))
    expect(await handIn(it, 'h')).toBe(0)
  })

  test('while no record can be written none is taken', async () => {
    const it = await open()
    desk.put('g', { topic: 'pay/#' }, inMinutes(it, 5))
    it.audit.accepting = false
    expect(await handIn(it, 'g')).toBe(0x87)
    expect(desk.uses.size).toBe(0)
  })
})

describe('a subscription', () => {
  const inbox = 'pay/u1/inbox'
  const open5 = async (it: SessionRig, filter = inbox) => {
    desk.put('s', { topic: 'pay/u1/#', action: 'subscribe' }, inMinutes(it, 5))
    await handIn(it, 's')
    it.fromClient(subscribe({ packetId: 7, filters: [[filter, 1]] }))
    it.fromServer(suback([1], 7))
  }
  const delivery = publish({ topic: inbox, payload: 'secret' })

  test('JIT-08 JIT-09 lives as long as its grant: then it is taken away upstream, and nothing more is delivered', async () => {
    const it = await open()
    await open5(it)
    expect(it.event('subscribe')).toMatchObject({
      decision: 'allow',
      grant: { jti: 's', approver: { sub: 'boss' } },
    })
    it.forget()
    it.fromServer(delivery, delivery)
    expect(packetsIn(it.toClient).length).toBe(2)
    it.clock.advance(5 * 60_000 - 1)
    it.fromServer(delivery)
    expect(packetsIn(it.toClient).length).toBe(3)
    it.clock.advance(1)
    expect(packetsIn(it.toServer)).toMatchObject([{ cmd: 'unsubscribe', unsubscriptions: [inbox] }])
    expect(it.event('unsubscribe')).toMatchObject({ reason: 'grant_ended' })
    it.fromServer(delivery)
    expect(packetsIn(it.toClient).length).toBe(3)
    expect(it.event('deliver')).toMatchObject({ decision: 'deny', reason: 'grant_required' })
    expect(it.ended).toBe(false)
  })

  test('JIT-08 a shared one too', async () => {
    const it = await open()
    await open5(it, `$share/g/${inbox}`)
    it.forget()
    it.fromServer(delivery)
    expect(packetsIn(it.toClient).length).toBe(1)
    it.clock.advance(5 * 60_000)
    expect(packetsIn(it.toServer)).toMatchObject([{ unsubscriptions: [`$share/g/${inbox}`] }])
  })

  test('a filter that is wider than the grant is refused', async () => {
    const it = await open()
    desk.put('s', { topic: 'pay/u1/+', action: 'subscribe' }, inMinutes(it, 5))
    await handIn(it, 's')
    it.fromClient(subscribe({ packetId: 7, filters: [['pay/u1/#', 1]] }))
    expect(packetsIn(it.toClient).at(-1)).toMatchObject({ cmd: 'suback', granted: [0x87] })
    expect(it.event('subscribe')).toMatchObject({ reason: 'grant_required' })
  })

  test('of two filters in one packet the one grant opens one', async () => {
    const it = await open()
    desk.put('s', { topic: 'pay/u1/#', action: 'subscribe' }, inMinutes(it, 5))
    await handIn(it, 's')
    it.forget()
    it.fromClient(
      subscribe({
        packetId: 7,
        filters: [
          ['pay/u1/a', 1],
          ['pay/u1/b', 1],
        ],
      }),
    )
    expect(packetsIn(it.toServer)).toMatchObject([{ subscriptions: [{ topic: 'pay/u1/a' }] }])
  })

  test('it stays through a new policy that still requires a grant, and needs no second one to be asked again', async () => {
    const it = await open()
    await open5(it)
    it.forget()
    it.usePolicy(`${GRANT_POLICY}\n# anew`)
    expect(it.toServer.length).toBe(0)
    it.fromServer(delivery)
    expect(packetsIn(it.toClient).length).toBe(1)
    it.fromClient(subscribe({ packetId: 8, filters: [[inbox, 0]] }))
    expect(sent(it)).toEqual(['subscribe'])
  })

  test('JIT-08 once unsubscribed, it is over', async () => {
    const it = await open()
    await open5(it)
    it.fromClient(unsubscribe([inbox], 9))
    it.fromServer(unsuback([0], 9))
    it.forget()
    it.fromServer(delivery)
    expect(it.toClient.length).toBe(0)
    it.fromClient(subscribe({ packetId: 10, filters: [[inbox, 1]] }))
    expect(it.event('subscribe')).toMatchObject({ reason: 'grant_required' })
  })

  test('its timer does not outlive the session', async () => {
    const it = await open()
    await open5(it)
    it.session.onClose()
    it.forget()
    it.clock.advance(5 * 60_000)
    expect(it.toServer.length).toBe(0)
  })
})

test('revoked in the hands of a connection: unused it helps no more, and its subscription ends at once', async () => {
  const held: { revoke(): void }[] = []
  const it = await open({
    revocations: {
      version: 0,
      barOf: () => undefined,
      enter: () => undefined,
      enterGrant: (who) => {
        held.push(who)
        return undefined
      },
      leave: () => {},
    },
  })
  desk.put('p', { topic: 'pay/#' }, inMinutes(it, 5))
  desk.put('s', { topic: 'pay/#', action: 'subscribe' }, inMinutes(it, 5))
  await handIn(it, 'p')
  await handIn(it, 's')
  it.fromClient(subscribe({ packetId: 7, filters: [['pay/u1/a', 1]] }))
  it.fromServer(suback([1], 7))
  it.forget()
  for (const who of held) who.revoke()
  expect(packetsIn(it.toServer)).toMatchObject([{ cmd: 'unsubscribe' }])
  it.fromClient(pay())
  expect(it.event('publish')).toMatchObject({ reason: 'grant_required' })
  it.fromServer(publish({ topic: 'pay/u1/a' }))
  expect(it.event('deliver')).toMatchObject({ decision: 'deny' })
})

test('the User Properties of what a grant allowed stay as they are', async () => {
  const it = await open()
  desk.put('g', { topic: 'pay/#' }, inMinutes(it, 5))
  await handIn(it, 'g')
  it.forget()
  const message = publish({
    topic: 'pay/u1/o',
    qos: 1,
    properties: [prop.userProperty('a', '1'), prop.userProperty('b', '2')],
  })
  it.fromClient(message)
  expect(it.toServer).toEqual(message)
})
