// Just-in-time grants in a User Property of the PUBLISH that they are for: taken out, verified while the message waits,
// used up by it. Ids: identity-standards.md 13.6 (JIT).
import { hash } from 'node:crypto'
import fc from 'fast-check'
import { beforeEach, describe, expect, test } from 'vitest'
import type { Grant } from '../../src/identity/grant-token.ts'
import { humanOf } from '../support/carried.ts'
import { ack, bytes, disconnect, prop, publish } from '../support/frames.ts'
import { Desk, GRANT_POLICY, sessionWith } from '../support/grant-desk.ts'
import { packetsIn } from '../support/packet-inbox.ts'
import type { RigOptions, SessionRig } from '../support/session-rig.ts'

let desk: Desk
beforeEach(() => {
  desk = new Desk()
})

const open = (options: RigOptions = {}): Promise<SessionRig> => sessionWith(desk, options)
const inMinutes = (it: SessionRig, minutes: number) => it.clock.now() + minutes * 60_000
const own = (name: string, value: string) => prop.userProperty(name, value)
const carry = (name: string) => own('postern-grant', name)

interface Message {
  packetId?: number
  payload?: string
  topic?: string
  qos?: number
}
const pay = (
  properties: Buffer[],
  { packetId = 1, payload = 'ten', topic = 'pay/u1/o', qos = 1 }: Message = {},
) => publish({ topic, qos, packetId, payload, properties })

/** Verifying and counting are two turns. */
async function settle(it: SessionRig): Promise<void> {
  for (let i = 0; i < 3; i++) await it.settle()
}

const payloads = (it: SessionRig) =>
  packetsIn(it.toServer).flatMap((packet) => (packet.cmd === 'publish' ? [packet.payload.toString()] : []))
const answers = (it: SessionRig) =>
  packetsIn(it.toClient).map(
    (packet) => `${packet.cmd} ${'reasonCode' in packet ? (packet.reasonCode ?? 0) : 0}`,
  )
const DENIED = `puback ${0x87}`

describe('a PUBLISH that carries its grant', () => {
  test('JIT-06 goes on without it; the other User Properties keep their order', async () => {
    const it = await open()
    desk.put('g', { topic: 'pay/u1/+' }, inMinutes(it, 5))
    const around = [own('z', '1'), own('a', '2'), prop.contentType('t'), own('z', '3')]
    it.fromClient(pay([around[0]!, carry('g'), around[1]!, around[2]!, around[3]!]))
    await settle(it)
    expect(it.toServer).toEqual(pay(around))
  })

  test('JIT-09 its record names grant and approver; the grant itself is nowhere', async () => {
    const it = await open()
    desk.put('g-secret', { topic: 'pay/u1/+', tokenId: 'jti-1' }, inMinutes(it, 5))
    it.fromClient(pay([carry('g-secret')]))
    await settle(it)
    expect(it.decisions).toEqual(['grant ok taken', 'publish allow forwarded'])
    expect(it.event('publish')).toMatchObject({
      grant: { jti: 'jti-1', approver: { sub: 'boss' } },
      rules: { agent: 'pay', user: 'own' },
    })
    expect(JSON.stringify(it.audit.events)).not.toContain('g-secret')
  })

  test('what comes behind it waits, and goes on in order', async () => {
    const it = await open()
    desk.put('g', { topic: 'pay/u1/+' }, inMinutes(it, 5))
    const free = (payload: string) => publish({ topic: 'free/a', payload })
    it.fromClient(free('1'), pay([carry('g')], { payload: '2' }), free('3'))
    it.fromClient(free('4'))
    expect(payloads(it)).toEqual(['1'])
    await settle(it)
    expect(payloads(it)).toEqual(['1', '2', '3', '4'])
    const counted = it.context.tally.get(it.context.slots.packets + 2)
    expect(counted).toBe(4)
  })

  test('JIT-03 the same grant twice in one chunk: one passes, and neither head is remembered', async () => {
    const it = await open()
    desk.put('g', { topic: 'pay/u1/+' }, inMinutes(it, 5))
    it.fromClient(pay([carry('g')], { packetId: 1 }), pay([carry('g')], { packetId: 2 }))
    await settle(it)
    await settle(it)
    expect(payloads(it)).toEqual(['ten'])
    expect(answers(it)).toEqual([DENIED])
    expect(it.event('publish')).toMatchObject({ reason: 'grant_required', detail: 'grant_spent' })
    expect(desk.checks).toBe(2)
  })

  test('JIT-03 property: sessions that carry one grant as often as they like publish as often as it has uses', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 4 }),
        fc.array(fc.nat(2), { maxLength: 12 }),
        fc.integer({ min: 1, max: 200 }),
        async (maxUses, tries, cut) => {
          desk = new Desk()
          const rigs = await Promise.all([open(), open(), open()])
          desk.put('g', { topic: 'pay/#', maxUses }, inMinutes(rigs[0]!, 5))
          for (const [i, it] of rigs.entries()) {
            const mine = tries.flatMap((who, n) =>
              who === i ? [pay([carry('g')], { packetId: n + 1 })] : [],
            )
            const stream = Buffer.concat(mine)
            for (let at = 0; at < stream.length; at += cut) it.fromClient(stream.subarray(at, at + cut))
          }
          for (let i = 0; i < 16; i++) for (const it of rigs) await it.settle()
          expect(rigs.flatMap(payloads).length).toBe(Math.min(maxUses, tries.length))
          const denied = rigs.flatMap(answers).length
          expect(denied).toBe(Math.max(0, tries.length - maxUses))
        },
      ),
      { numRuns: 25 },
    )
  })

  test('one that is not needed is taken out, neither verified nor used up', async () => {
    const it = await open()
    desk.put('g', { topic: '#' }, inMinutes(it, 5))
    it.fromClient(pay([carry('g')], { topic: 'free/a' }))
    expect(it.toServer).toEqual(pay([], { topic: 'free/a' }))
    expect(desk.checks).toBe(0)
  })

  test('JIT-04 what the user lacks is denied without a look at the grant', async () => {
    const it = await open()
    desk.put('g', { topic: '#' }, inMinutes(it, 5))
    it.fromClient(pay([carry('g')], { topic: 'pay/u2/o' }))
    expect(answers(it)).toEqual([DENIED])
    expect(it.event('publish')).toMatchObject({ reason: 'no_rule' })
    expect(desk.checks).toBe(0)
  })

  test.each<[string, Partial<Grant> & { topic?: string }, string]>([
    ['for another topic', { topic: 'pay/u1/refund' }, 'other_action'],
    ['for a subscription', { action: 'subscribe' }, 'other_action'],
    ['for another payload', { payloadSha256: hash('sha256', 'one') }, 'other_payload'],
  ])('JIT-05 one %s is refused, and no use is taken', async (_, grant, reason) => {
    const it = await open()
    desk.put('g', { topic: 'pay/u1/+', ...grant }, inMinutes(it, 5))
    it.fromClient(pay([carry('g')]))
    await settle(it)
    expect(answers(it)).toEqual([DENIED])
    expect(it.event('grant')).toMatchObject({ decision: 'deny', reason, grant: { jti: 'g' } })
    expect(it.event('publish')).toMatchObject({ reason: 'grant_required', detail: reason })
    expect(desk.uses.size).toBe(0)
  })

  test.each<[string, Buffer[], string]>([
    ['no token at all', [carry('?')], 'malformed_token'],
    ['empty', [carry('')], 'malformed_token'],
    ['two', [carry('g'), carry('g')], 'two_grants'],
  ])(
    '%s: denied, with the cause in audit and metrics, and 0x87 for the peer',
    async (_, properties, reason) => {
      const it = await open()
      desk.put('g', { topic: 'pay/u1/+' }, inMinutes(it, 5))
      it.fromClient(pay(properties))
      await settle(it)
      expect(answers(it)).toEqual([DENIED])
      expect(it.event('grant')).toMatchObject({ decision: 'deny', reason })
      expect(it.context.tally.get(it.context.slots.grant(reason))).toBe(1)
      expect(it.toServer.length).toBe(0)
    },
  )

  test('it is the one that counts, also when another is in hand', async () => {
    const it = await open()
    desk.put('hand', { topic: 'pay/u1/+' }, inMinutes(it, 5))
    desk.put('g', { topic: 'pay/u1/+' }, inMinutes(it, 5))
    it.fromClient(publish({ topic: '$postern/grant', qos: 1, packetId: 9, payload: 'hand' }))
    await settle(it)
    it.fromClient(pay([carry('g')], { packetId: 1 }))
    await settle(it)
    it.fromClient(pay([], { packetId: 2 }))
    const used = it.audit.events.filter(({ action }) => action === 'publish').map(({ grant }) => grant?.jti)
    expect(used).toEqual(['g', 'hand'])
  })

  test('a policy that comes in force while it is verified is the one that counts', async () => {
    const it = await open()
    desk.put('g', { topic: 'pay/u1/+' }, inMinutes(it, 5))
    it.fromClient(pay([carry('g')]))
    it.usePolicy('version: 1')
    await settle(it)
    expect(it.event('publish')).toMatchObject({ decision: 'deny', reason: 'no_rule' })
    expect(desk.uses.size).toBe(0)
    it.fromClient(pay([], { packetId: 2 }))
    expect(it.toServer.length).toBe(0)
  })

  test('what was found of a grant is of its own message only', async () => {
    const it = await open()
    desk.put('g', { topic: 'pay/u1/+' }, inMinutes(it, 5))
    it.fromClient(pay([carry('g')], { packetId: 1 }))
    it.usePolicy(GRANT_POLICY.replaceAll(', requiresGrant: true', ''))
    await settle(it)
    expect(payloads(it)).toEqual(['ten'])
    it.usePolicy(GRANT_POLICY)
    it.fromClient(pay([carry('bad')], { packetId: 2 }))
    await settle(it)
    expect(answers(it)).toEqual([DENIED])
  })

  test('a session that ends meanwhile stays ended', async () => {
    const it = await open()
    desk.put('g', { topic: 'pay/u1/+' }, inMinutes(it, 5))
    it.fromClient(pay([carry('g')]))
    it.session.onClose()
    const before = it.server!.writes.length
    await settle(it)
    expect(it.server!.writes.length).toBe(before)
  })

  test('QoS 2 with a Topic Alias, and a DISCONNECT behind it', async () => {
    const it = await sessionWith(desk, {})
    desk.put('g', { topic: 'pay/u1/+', maxUses: 2 }, inMinutes(it, 5))
    it.fromClient(pay([carry('g')], { qos: 2 }), disconnect(0))
    await settle(it)
    expect(packetsIn(it.toServer).map(({ cmd }) => cmd)).toEqual(['publish', 'disconnect'])
  })

  test('revoked while it is counted, it does not help', async () => {
    let revoke = (): void => {}
    const it = await open({
      revocations: {
        version: 0,
        barOf: () => undefined,
        enter: () => undefined,
        enterGrant: (who) => {
          revoke = () => who.revoke()
          return undefined
        },
        leave: () => {},
      },
    })
    desk.put('g', { topic: 'pay/u1/+' }, inMinutes(it, 5))
    desk.take = async () => {
      revoke()
      return 'taken'
    }
    it.fromClient(pay([carry('g')]))
    await settle(it)
    expect(it.event('grant')).toMatchObject({ decision: 'deny', reason: 'revoked' })
    expect(it.toServer.length).toBe(0)
  })

  test('JIT-02 a use that was taken in time is none after the end of the grant', async () => {
    const it = await open()
    desk.put('g', { topic: 'pay/u1/+' }, inMinutes(it, 5))
    desk.take = async () => {
      it.audit.congested = true
      return 'taken'
    }
    it.fromClient(pay([carry('g')]))
    await settle(it)
    it.clock.advance(5 * 60_000)
    it.audit.makeRoom()
    await settle(it)
    expect(it.toServer.length).toBe(0)
    expect(it.event('publish')).toMatchObject({ reason: 'grant_required', detail: 'expired' })
  })

  test('JIT-05 QoS 2: the one approved payload does not release another that the broker holds', async () => {
    const it = await open({ policy: GRANT_POLICY.replaceAll(', requiresGrant: true', '') })
    desk.put('g', { topic: 'pay/u1/+', payloadSha256: hash('sha256', 'ten') }, inMinutes(it, 5))
    it.fromClient(pay([], { qos: 2, packetId: 5, payload: '999' }))
    it.fromServer(ack('pubrec', 5))
    it.forget()
    it.usePolicy(GRANT_POLICY)
    it.fromClient(pay([carry('g')], { qos: 2, packetId: 5, payload: 'ten' }))
    await settle(it)
    it.fromClient(ack('pubrel', 5))
    expect(packetsIn(it.toServer).map(({ cmd }) => cmd)).not.toContain('pubrel')
    expect(it.event('release')).toMatchObject({ decision: 'deny', reason: 'grant_required' })
  })

  test('the property off: it is a User Property like any other', async () => {
    const it = await open({ config: { grants: { property: 'off' } } })
    const message = pay([carry('g')], { topic: 'free/a' })
    it.fromClient(message)
    expect(it.toServer).toEqual(message)
  })
})

describe('JIT-05 a grant that is bound to the payload', () => {
  const long = 'x'.repeat(3000)
  const bound = (it: SessionRig, payload: string): void => {
    desk.put('g', { topic: 'pay/u1/+', payloadSha256: hash('sha256', payload) }, inMinutes(it, 5))
  }

  test.each([1, 7, 100, 2999])('is compared when all has come, in chunks of %i bytes', async (size) => {
    const it = await open()
    bound(it, long)
    const stream = bytes(pay([carry('g')], { payload: long }), publish({ topic: 'free/a', payload: 'after' }))
    for (let at = 0; at < stream.length; at += size) {
      it.fromClient(stream.subarray(at, at + size))
      if (at < 400) await settle(it)
    }
    await settle(it)
    expect(payloads(it)).toEqual([long, 'after'])
    expect(it.event('publish')).toMatchObject({ decision: 'allow' })
  })

  test('nothing of it leaves before that, and the agent is read meanwhile', async () => {
    const it = await open()
    bound(it, long)
    const message = pay([carry('g')], { payload: long })
    it.fromClient(message.subarray(0, 200))
    await settle(it)
    expect(it.toServer.length).toBe(0)
    expect(it.client.paused).toBe(false)
    it.fromClient(message.subarray(200, message.length - 1))
    await settle(it)
    expect(it.toServer.length).toBe(0)
    it.fromClient(message.subarray(message.length - 1))
    await settle(it)
    expect(payloads(it)).toEqual([long])
  })

  test('the same in hand, handed in before', async () => {
    const it = await open()
    bound(it, long)
    it.fromClient(publish({ topic: '$postern/grant', qos: 1, packetId: 9, payload: 'g' }))
    await settle(it)
    const message = pay([], { payload: long })
    it.fromClient(message.subarray(0, 100))
    expect(it.toServer.length).toBe(0)
    it.fromClient(message.subarray(100))
    expect(it.toServer).toEqual(message)
  })

  test.each([10_000, 2000, 1500, 300])(
    'a frame longer than what is judged at a time is compared as a whole, in chunks of %i',
    async (size) => {
      const it = await open({ config: { audit: { file: 'a', maxPending: '1MiB' } } })
      bound(it, long)
      const message = pay([carry('g')], { payload: long })
      for (let at = 0; at < message.length; at += size) {
        it.fromClient(message.subarray(at, at + size))
        await settle(it)
      }
      expect(payloads(it)).toEqual([long])
    },
  )

  test('one that is longer than `maxPayload` is refused at its head', async () => {
    const it = await open({ config: { grants: { maxPayload: '2KiB' } } })
    bound(it, long)
    const message = pay([carry('g')], { payload: long })
    it.fromClient(message.subarray(0, 200))
    await settle(it)
    expect(it.event('grant')).toMatchObject({ reason: 'payload_too_long' })
    expect(answers(it)).toEqual([DENIED])
    it.fromClient(message.subarray(200), publish({ topic: 'free/a', payload: 'after' }))
    expect(payloads(it)).toEqual(['after'])
  })

  test('an agent that leaves in the middle of it is gone', async () => {
    const it = await open()
    bound(it, long)
    it.fromClient(pay([carry('g')], { payload: long }).subarray(0, 200))
    await settle(it)
    it.session.onFin()
    it.clock.advance(2_000)
    expect(it.ended).toBe(true)
    expect(desk.uses.size).toBe(0)
  })
})

describe('with a token of its own', () => {
  const forBob = (it: SessionRig) => humanOf('bob.x.y', it)
  const token = prop.userProperty('postern-token', 'bob.x.y')
  const withTokens = (options: RigOptions = {}): Promise<SessionRig> =>
    open({
      policy: GRANT_POLICY.replace('pay/u1/#', '"pay/{user_id}/#"'),
      config: { delegation: { property: 'postern-token' } },
      verifyCarried: (_, it) => ({ ok: true, principal: forBob(it) }),
      ...options,
    })
  const bob = { human: { iss: 'https://idp.test', sub: 'bob' } }

  test('JIT-02 the grant must be for that human; one in hand for the human of the connection does not help', async () => {
    const it = await withTokens()
    desk.put('mine', { topic: 'pay/#' }, inMinutes(it, 5))
    desk.put('bobs', { topic: 'pay/#', ...bob }, inMinutes(it, 5))
    it.fromClient(publish({ topic: '$postern/grant', qos: 1, packetId: 9, payload: 'mine' }))
    await settle(it)
    it.fromClient(pay([token], { topic: 'pay/bob/o', packetId: 1 }))
    await settle(it)
    expect(it.event('publish')).toMatchObject({ reason: 'grant_required' })
    it.fromClient(pay([token, carry('bobs')], { topic: 'pay/bob/o', packetId: 2 }))
    await settle(it)
    expect(it.event('publish')).toMatchObject({ decision: 'allow', identity: { human: { id: 'bob' } } })
    expect(payloads(it)).toEqual(['ten'])
    expect(desk.bearers).toEqual(['u1', 'bob'])
  })

  test('a grant that is handed in with a token is for its human', async () => {
    const it = await withTokens()
    desk.put('bobs', { topic: 'pay/#', ...bob }, inMinutes(it, 5))
    const upload = publish({
      topic: '$postern/grant',
      qos: 1,
      packetId: 9,
      payload: 'bobs',
      properties: [token],
    })
    it.fromClient(upload)
    await settle(it)
    it.fromClient(pay([token], { topic: 'pay/bob/o', packetId: 1 }))
    await settle(it)
    expect(payloads(it)).toEqual(['ten'])
  })

  test('with a token that is refused no grant is taken', async () => {
    const it = await withTokens({
      verifyCarried: () => ({ ok: false, reason: 'expired', detail: undefined }),
    })
    desk.put('g', { topic: 'pay/#' }, inMinutes(it, 5))
    it.fromClient(
      publish({ topic: '$postern/grant', qos: 1, packetId: 9, payload: 'g', properties: [token] }),
      pay([token, carry('g')], { packetId: 1 }),
    )
    await settle(it)
    expect(answers(it)).toEqual([DENIED, DENIED])
    expect(it.event('grant')).toMatchObject({ reason: 'token_refused', detail: 'expired' })
    expect(desk.checks).toBe(0)
  })
})

test('an acknowledgement of what was sent before does not wait with it', async () => {
  const it = await open()
  desk.put('g', { topic: 'pay/u1/+' }, inMinutes(it, 5))
  it.fromClient(pay([carry('g')]))
  it.fromServer(ack('puback', 77))
  expect(packetsIn(it.toClient)).toMatchObject([{ cmd: 'puback', messageId: 77 }])
  await settle(it)
  expect(payloads(it)).toEqual(['ten'])
})
