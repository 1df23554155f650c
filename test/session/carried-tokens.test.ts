// Messages that carry a token of their own: who they are judged as, what waits for the verification, and that nothing
// of an earlier answer outlives its ground. Ids: identity-standards.md 13.3 (DEL), 13.6 (REV), 13.7 (JIT).
import { describe, expect, test } from 'vitest'
import type { Renewed } from '../../src/session/context.ts'
import { Barred, CARRIED_POLICY, CarriedRig, carry, humanOf, stamps } from '../support/carried.ts'
import { ack, PINGREQ, prop, publish } from '../support/frames.ts'
import { packetsIn } from '../support/packet-inbox.ts'

const of = (token: string, topic: string, more: Parameters<typeof publish>[0] = {}): Buffer =>
  publish({ topic, payload: 'hello', ...more, properties: [...(more.properties ?? []), carry(token)] })
const to = (human: string, topic: string, more: Parameters<typeof publish>[0] = {}): Buffer =>
  publish({ topic, payload: 'hello', ...more, properties: [...(more.properties ?? []), ...stamps(human)] })

const refused = (reason: string): Renewed => ({ ok: false, reason, detail: undefined })

describe('who a message is judged as', () => {
  test('DEL-09 agent ∩ the human of the message, not the one of the connection', async () => {
    const it = await new CarriedRig().connect()
    await it.send(of('ann.1.x', 'ok/ann/a'), of('bob.1.x', 'ok/ann/a'), of('bob.1.x', 'ok/bob/a'))
    await it.send(publish({ topic: 'ok/ann/b' }), publish({ topic: 'ok/u1/b' }))
    expect(it.toServer).toEqual(
      Buffer.concat([to('ann', 'ok/ann/a'), to('bob', 'ok/bob/a'), publish({ topic: 'ok/u1/b' })]),
    )
    expect(it.decisions).toEqual([
      'publish allow forwarded',
      'publish no_rule dropped',
      'publish allow forwarded',
      'publish no_rule dropped',
      'publish allow forwarded',
    ])
  })

  test('AUD-02 the record names the human of the message, its token and its transaction', async () => {
    const it = await new CarriedRig().connect()
    await it.send(of('ann.1.x', 'ok/ann/a'), of('ann.1.x', 'ok/bob/a'), publish({ topic: 'ok/u1/b' }))
    const told = it.audit.events.map(({ identity }) => [
      identity?.human?.sub,
      identity?.token?.jti,
      identity?.txn,
    ])
    expect(told).toEqual([
      ['ann', 'jti-ann.1.x', 'txn-ann'],
      ['ann', 'jti-ann.1.x', 'txn-ann'],
      ['u1', 't1', undefined],
    ])
  })

  test('the same for a payload that comes in pieces', async () => {
    const it = await new CarriedRig().connect()
    const message = of('ann.1.x', 'ok/ann/a', { payload: Buffer.alloc(5000, 'p') })
    await it.send(message.subarray(0, 300))
    const early = it.toServer.length
    await it.send(message.subarray(300))
    expect(early).toBeGreaterThan(150)
    expect(it.toServer).toEqual(to('ann', 'ok/ann/a', { payload: Buffer.alloc(5000, 'p') }))
    expect(it.event('payload')?.identity?.human?.sub).toBe('ann')
  })

  test('DEL-08 pair rules are of the human of the message', async () => {
    const policy = `${CARRIED_POLICY}
pairs:
  - { id: never, deny: { users: [bob], agents: [scout] } }
  - { id: else, allow: {} }
`
    const it = await new CarriedRig({ policy }).connect()
    await it.send(of('ann.1.x', 'ok/all'), of('bob.1.x', 'ok/all'))
    expect(it.decisions).toEqual(['publish allow forwarded', 'publish deny_rule dropped'])
  })

  test('a ceiling of its token limits it', async () => {
    const it = await new CarriedRig({}, (token, rig) => ({
      ok: true,
      principal: humanOf(token, rig, {
        ceilings: [
          {
            format: 'scope',
            firstMatch: false,
            rules: [{ effect: 'allow', publish: true, subscribe: false, filter: 'ok/ann/a' }],
          },
        ],
      }),
    })).connect()
    await it.send(of('ann.1.x', 'ok/ann/a'), of('ann.1.x', 'ok/ann/b'))
    expect(it.decisions).toEqual(['publish allow forwarded', 'publish no_rule dropped'])
  })
})

describe('what a token in a message is not', () => {
  test('in a property that is not configured it is data', async () => {
    const it = await new CarriedRig({ config: { delegation: {} } }).connect()
    const message = of('ann.1.x', 'ok/u1/a')
    await it.send(message)
    expect(it.toServer).toEqual(message)
    expect(it.verified).toEqual([])
  })

  test.each([
    ['two of them', [carry('ann.1.x'), carry('ann.1.x')], 'two_tokens'],
    ['an empty one', [carry('')], 'malformed_token'],
    ['a very long one', [carry('x'.repeat(9000))], 'token_too_large'],
  ])('%s is refused without a look at it', async (_, properties, detail) => {
    const it = await new CarriedRig().connect()
    await it.send(publish({ topic: 'ok/u1/a', qos: 1, properties }))
    expect(it.toServer).toHaveLength(0)
    expect(it.toClient).toEqual(ack('puback', 1, 0x87))
    expect(it.event('publish')).toMatchObject({ reason: 'token_refused', detail })
    expect(it.verified).toEqual([])
  })

  test.each([
    [0, '', 'dropped'],
    [1, ack('puback', 1, 0x87).toString('hex'), 'puback 0x87'],
    [2, ack('pubrec', 1, 0x87).toString('hex'), 'pubrec 0x87'],
  ])(
    'TOK-20 one that is not accepted is answered as every denial, at QoS %i',
    async (qos, answer, effect) => {
      const it = await new CarriedRig({}, () => refused('bad_signature')).connect()
      await it.send(of('ann.1.x', 'ok/u1/a', { qos }), PINGREQ)
      expect(it.toClient.toString('hex')).toBe(answer)
      expect(it.toServer).toEqual(PINGREQ)
      expect(it.event('publish')).toMatchObject({
        decision: 'deny',
        reason: 'token_refused',
        detail: 'bad_signature',
        effect,
        identity: { human: { sub: 'u1' } },
      })
    },
  )

  test('shadow mode does not let it through', async () => {
    const config = { listeners: [{ address: '127.0.0.1:0', mode: 'shadow' }] }
    const it = await new CarriedRig({ config }, () => refused('bad_signature')).connect()
    await it.send(of('ann.1.x', 'ok/u1/a'))
    expect(it.toServer).toHaveLength(0)
  })
})

describe('what waits', () => {
  /** A rig whose verification is answered by hand. */
  async function slow(): Promise<{ it: CarriedRig; answer(): Promise<void> }> {
    const waiting: (() => void)[] = []
    const it = new CarriedRig()
    const verify = it.context.verifyCarried
    Object.assign(it.context, {
      verifyCarried: async (...args: Parameters<typeof verify>) => {
        await new Promise<void>((resolve) => waiting.push(resolve))
        return verify(...args)
      },
    })
    await it.connect()
    return {
      it,
      answer: async () => {
        waiting.shift()!()
        await it.settle()
      },
    }
  }

  test('everything behind a token that is being verified, in order; what is before it does not', async () => {
    const { it, answer } = await slow()
    const [before, after] = ['1', '2'].map((payload) => publish({ topic: 'ok/u1/a', payload }))
    it.fromClient(before!, of('ann.1.x', 'ok/ann/a'), after!)
    await it.settle()
    it.fromClient(PINGREQ)
    expect(it.toServer).toEqual(before)
    expect(it.client.paused).toBe(true)
    expect(it.server!.paused).toBe(false)
    await answer()
    expect(it.toServer).toEqual(Buffer.concat([before!, to('ann', 'ok/ann/a'), after!, PINGREQ]))
    expect(it.client.paused).toBe(false)
  })

  test('deliveries go on meanwhile', async () => {
    const { it, answer } = await slow()
    it.fromClient(of('ann.1.x', 'ok/ann/a'))
    const delivery = publish({ topic: 'ok/u1/x' })
    it.fromServer(delivery)
    expect(it.toClient).toEqual(delivery)
    await answer()
  })

  test('a token is verified once; a second one makes a wait of its own', async () => {
    const { it, answer } = await slow()
    it.fromClient(of('ann.1.x', 'ok/ann/a'), of('ann.1.x', 'ok/ann/b'), of('bob.1.x', 'ok/bob/a'))
    await answer()
    expect(it.toServer).toEqual(Buffer.concat([to('ann', 'ok/ann/a'), to('ann', 'ok/ann/b')]))
    await answer()
    it.fromClient(of('ann.1.x', 'ok/ann/c'), of('bob.1.x', 'ok/bob/c'))
    expect(it.verified).toEqual(['ann.1.x', 'bob.1.x'])
    expect(it.toServer).toEqual(
      Buffer.concat([
        ...[to('ann', 'ok/ann/a'), to('ann', 'ok/ann/b'), to('bob', 'ok/bob/a')],
        ...[to('ann', 'ok/ann/c'), to('bob', 'ok/bob/c')],
      ]),
    )
  })

  test('EXP-01 the connection ends by expiry all the same, and nothing comes of the message', async () => {
    const { it, answer } = await slow()
    it.fromClient(of('ann.1.x', 'ok/ann/a'))
    it.clock.advance(600_000)
    expect(it.event('disconnect')).toMatchObject({ reason: 'expired' })
    await answer()
    expect(it.toServer).toHaveLength(0)
    expect(it.event('publish')).toBeUndefined()
  })

  test('REV-18 a human who is revoked while the token is verified is refused', async () => {
    const revocations = new Barred()
    const it = await new CarriedRig({ revocations }).connect()
    it.fromClient(of('ann.1.x', 'ok/ann/a'))
    revocations.bar('ann')
    await it.settle()
    expect(it.event('publish')).toMatchObject({ reason: 'token_refused', detail: 'revoked' })
    expect(it.toServer).toHaveLength(0)
  })

  test('the end of what the agent sends comes after it', async () => {
    const { it, answer } = await slow()
    it.fromClient(of('ann.1.x', 'ok/ann/a'))
    it.session.onFin()
    expect(it.server!.ended).toBe(false)
    await answer()
    expect(it.toServer).toEqual(to('ann', 'ok/ann/a'))
    expect(it.server!.ended).toBe(true)
  })

  test('AUD-09 a verification that is done while the log is behind waits for the log', async () => {
    const { it, answer } = await slow()
    it.fromClient(of('ann.1.x', 'ok/ann/a'))
    it.audit.congested = true
    await answer()
    expect(it.toServer).toHaveLength(0)
    it.audit.makeRoom()
    expect(it.toServer).toEqual(to('ann', 'ok/ann/a'))
  })
})

describe('what an answer rests on', () => {
  test('REV-01 a revoked human’s next message is refused, the agent and other humans go on', async () => {
    const revocations = new Barred()
    const it = await new CarriedRig({ revocations }).connect()
    await it.send(of('ann.1.x', 'ok/ann/a'), of('bob.1.x', 'ok/bob/a'))
    it.forget()
    revocations.bar('ann')
    await it.send(of('ann.1.x', 'ok/ann/a'), of('bob.1.x', 'ok/bob/a'), publish({ topic: 'ok/u1/a' }))
    expect(it.toServer).toEqual(Buffer.concat([to('bob', 'ok/bob/a'), publish({ topic: 'ok/u1/a' })]))
    expect(it.audit.events[0]).toMatchObject({
      reason: 'token_refused',
      detail: 'revoked',
      identity: { human: { sub: 'ann' } },
    })
  })

  test('EXP-01 the end of the token, to the millisecond', async () => {
    const it = await new CarriedRig({}, (token, rig) => ({
      ok: true,
      principal: humanOf(token, rig, { endsAtMs: rig.clock.now() + 1000 }),
    })).connect()
    await it.send(of('ann.1.x', 'ok/ann/a'))
    it.clock.advance(999)
    await it.send(of('ann.1.x', 'ok/ann/a'))
    it.clock.advance(1)
    await it.send(of('ann.1.x', 'ok/ann/a'))
    expect(it.audit.events.map(({ detail }) => detail)).toEqual([undefined, undefined, 'expired'])
    expect(it.session.relaying).toBe(true)
  })

  test('DEL-08 a new policy', async () => {
    const it = await new CarriedRig().connect()
    await it.send(of('ann.1.x', 'ok/ann/a'))
    it.usePolicy(CARRIED_POLICY.replace('ok/{user_id}/#', 'ok/{user_id}/b'))
    await it.send(of('ann.1.x', 'ok/ann/a'), of('ann.1.x', 'ok/ann/b'))
    expect(it.decisions).toEqual([
      'publish allow forwarded',
      'publish no_rule dropped',
      'publish allow forwarded',
    ])
  })

  test('REV-16 while events may be missed no new token is taken; one that is known goes on', async () => {
    const revocations = new Barred()
    const it = await new CarriedRig({ revocations }).connect()
    await it.send(of('ann.1.x', 'ok/ann/a'))
    revocations.isBlind = true
    await it.send(of('bob.1.x', 'ok/bob/a'), of('ann.1.x', 'ok/ann/a'))
    expect(it.audit.events.map(({ detail }) => detail)).toEqual([undefined, 'events_silent', undefined])
  })

  test('a refusal is looked at again after a second', async () => {
    let isUp = false
    const it = await new CarriedRig({}, () => (isUp ? undefined : refused('keys_unavailable'))).connect()
    await it.send(of('ann.1.x', 'ok/ann/a'), of('ann.1.x', 'ok/ann/a'))
    isUp = true
    it.clock.advance(1000)
    await it.send(of('ann.1.x', 'ok/ann/a'))
    expect(it.verified).toHaveLength(2)
    expect(it.audit.events.map(({ decision }) => decision)).toEqual(['deny', 'deny', 'allow'])
  })

  test('every byte of a token: two that differ in one are two tokens', async () => {
    const it = await new CarriedRig().connect()
    const body = 'c'.repeat(640)
    const tokens = Array.from({ length: 30 }, (_, i) => `ann.${body.slice(i)}X${body.slice(0, i)}`)
    for (const token of tokens) await it.send(of(token, 'ok/ann/a'))
    expect(it.verified).toEqual(tokens)
  })

  test('more tokens than are kept in mind are verified again, and answered right', async () => {
    const it = await new CarriedRig({
      config: { delegation: { property: 'postern-token', tokens: 2 } },
    }).connect()
    for (const human of ['ann', 'bob', 'cy', 'ann', 'bob', 'cy']) {
      await it.send(of(`${human}.1.x`, `ok/${human}/a`), of(`${human}.1.x`, 'ok/nobody/a'))
    }
    expect(it.audit.events.map(({ decision }) => decision)).toEqual(
      Array.from({ length: 6 }, () => ['allow', 'deny']).flat(),
    )
    expect(it.verified.length).toBeGreaterThan(3)
  })
})

describe('QoS 2', () => {
  const message = (token: string, more = {}): Buffer => of(token, 'ok/all', { qos: 2, packetId: 7, ...more })

  async function holding(revocations = new Barred()): Promise<CarriedRig> {
    const it = await new CarriedRig({ revocations }).connect()
    await it.send(message('ann.1.x'))
    it.fromServer(ack('pubrec', 7))
    it.forget()
    return it
  }

  test('peers.G1 the PUBREL is judged by the rights of its message', async () => {
    const it = await holding()
    it.usePolicy(CARRIED_POLICY.replace("'ok/{user_id}/#'", "'ok/{user_id}/other'"))
    await it.send(ack('pubrel', 7))
    expect(it.toServer).toEqual(ack('pubrel', 7))
    const other = await holding()
    other.usePolicy(CARRIED_POLICY.replace('topic: ok/all', 'topic: ok/none'))
    await other.send(ack('pubrel', 7))
    expect(packetsIn(other.toClient)).toMatchObject([
      { cmd: 'pubcomp', reasonCode: 0x92 },
      { cmd: 'disconnect' },
    ])
    expect(other.event('release')).toMatchObject({ reason: 'no_rule', identity: { human: { sub: 'ann' } } })
  })

  test('REV-01 the PUBREL of a revoked human is not forwarded', async () => {
    const revocations = new Barred()
    const it = await holding(revocations)
    revocations.bar('ann')
    await it.send(ack('pubrel', 7))
    expect(packetsIn(it.toServer).map(({ cmd }) => cmd)).toEqual(['disconnect'])
    expect(packetsIn(it.toClient)).toMatchObject([
      { cmd: 'pubcomp', reasonCode: 0x92 },
      { cmd: 'disconnect' },
    ])
    expect(it.event('release')).toMatchObject({ reason: 'token_refused', detail: 'revoked' })
  })

  test('peers.G1 a second message under the identifier with another token is no repetition', async () => {
    const it = await holding()
    await it.send(message('bob.1.x', { dup: true }))
    expect(it.toClient).toEqual(ack('pubrec', 7, 0x91))
    await it.send(message('ann.1.x', { dup: true }))
    expect(it.toServer).toEqual(to('ann', 'ok/all', { qos: 2, packetId: 7, dup: true }))
  })
})

test('ACL-14 a retained message lives no longer than the token of its human', async () => {
  const it = await new CarriedRig(
    { config: { delegation: { property: 'postern-token' }, sessions: { retainedExpiry: 'token' } } },
    (token, rig) => ({ ok: true, principal: humanOf(token, rig, { endsAtMs: rig.clock.now() + 60_000 }) }),
  ).connect()
  await it.send(of('ann.1.x', 'ok/ann/a', { retain: true }))
  const properties = [prop.messageExpiryInterval(60), ...stamps('ann')]
  expect(it.toServer).toEqual(publish({ topic: 'ok/ann/a', payload: 'hello', retain: true, properties }))
})
