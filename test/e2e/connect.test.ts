// CONNECT through the whole path: who gets in, what refuses, and that a refusal opens nothing at the broker.
// Ids: agent-specs.md 6.9 (C), identity-standards.md 13 (TOK), peers.md 2 (`peers.`).
import { afterAll, beforeAll, beforeEach, describe, expect, it, test } from 'vitest'
import { auth, connect, connectV3, PINGREQ, prop, publish, subscribe } from '../support/frames.ts'
import { RawClient } from '../support/raw-client.ts'
import { openStage, type Stage } from '../support/stage.ts'
import { TEST_ISSUER, TestIssuer } from '../support/tokens.ts'

let stage: Stage

beforeAll(async () => {
  stage = await openStage()
})
beforeEach(() => stage.observer.seen())
afterAll(() => stage?.stop())

/** Sends bytes on a new connection; returns what came back until the close. */
async function refusal(
  ...bytes: Buffer[]
): Promise<{ reasonCode: number | undefined; reasonString: string | undefined }> {
  const before = stage.relay.sessions.length
  const client = await stage.socket()
  client.send(...bytes)
  const connack = await client.next('connack')
  expect(await client.closed()).toEqual([])
  expect(stage.relay.sessions.length).toBe(before)
  return { reasonCode: connack.reasonCode, reasonString: connack.properties?.reasonString }
}

/** The CONNACK Reason Code for a CONNECT with this token. */
async function codeFor(token: string, clientId = 'scout'): Promise<number | undefined> {
  return (await refusal(connect({ clientId, password: token }))).reasonCode
}

async function lastRefusal(): Promise<string | undefined> {
  return (await stage.postern.records()).findLast((record) => record.action === 'connect')?.reason
}

describe('a good token', () => {
  test('C1 gets CONNACK 0x00, and the broker sees nothing of the token', async () => {
    const token = await stage.token('scout')
    const client = await stage.socket()
    client.send(connect({ userName: 'scout', password: token }))
    expect(await client.next('connack')).toMatchObject({ reasonCode: 0, sessionPresent: false })
    const sent = stage.relay.sessions.at(-1)!.toBroker.bytes
    for (const part of [token, ...token.split('.')]) expect(sent.includes(part)).toBe(false)
  })

  test('C15, TOK-17 with an empty Client Identifier gets the bound one as Assigned Client Identifier', async () => {
    const { connack } = await stage.tryConnect('scout', { clientId: '' })
    expect(connack).toMatchObject({ reasonCode: 0, properties: { assignedClientIdentifier: 'scout' } })
    expect(stage.relay.sent[0]).toMatchObject({ cmd: 'connect', clientId: 'scout' })
  })

  test('TOK-17, peers.F1 under `prefix` the assigned identifier is the agent’s name and something nobody can guess', async () => {
    const postern = await stage.anotherPostern({ config: { clientId: { binding: 'prefix' } } })
    const ids: string[] = []
    for (let i = 0; i < 2; i++) {
      const { connack } = await stage.tryConnect('scout', { clientId: '' }, postern)
      ids.push(connack.properties!.assignedClientIdentifier!)
    }
    for (const id of ids) expect(id).toMatch(/^scout-[\w-]{16,}$/)
    expect(ids[0]).not.toBe(ids[1])
  })

  test('TOK-13 may come as Password, or as Authentication Data of a bearer method, which CONNACK repeats', async () => {
    const token = await stage.token('scout')
    const client = await stage.socket()
    const properties = [prop.authenticationMethod('OAUTH2-JWT'), prop.authenticationData(token)]
    client.send(connect({ properties }))
    expect(await client.next('connack')).toMatchObject({
      reasonCode: 0,
      properties: { authenticationMethod: 'OAUTH2-JWT' },
    })
  })

  test('TOK-13 in the User Name is accepted only by option', async () => {
    const byName = async (postern = stage.postern): Promise<number | undefined> => {
      const client = await stage.socket(postern)
      client.send(connect({ userName: await stage.token('scout', {}, postern) }))
      return (await client.next('connack')).reasonCode
    }
    expect(await byName()).toBe(0x86)
    expect(await byName(await stage.anotherPostern({ config: { token: { fromUsername: true } } }))).toBe(0)
  })

  test('TOK-13 in two places at once is refused', async () => {
    const token = await stage.token('scout')
    const properties = [prop.authenticationMethod('OAUTH2-JWT'), prop.authenticationData(token)]
    expect((await refusal(connect({ properties, password: token }))).reasonCode).toBe(0x86)
    expect(await lastRefusal()).toBe('two_tokens')
  })

  test('TOK-15 is all that counts: the User Name says nothing about who it is', async () => {
    const scout = await stage.agent('scout', { userName: 'analyst' })
    scout.send(publish({ topic: 'a2a/v1/agents/analyst/card', qos: 1, retain: true }))
    expect(await scout.next('puback')).toMatchObject({ reasonCode: 0x87 })
    scout.send(publish({ topic: 'a2a/v1/notes/scout/a', qos: 1 }))
    expect((await scout.next('puback')).reasonCode).toBeLessThan(0x80)
    expect((await stage.postern.records()).at(-1)?.identity?.agent).toMatchObject({ id: 'scout' })
  })
})

describe('without a good token', () => {
  test('C2, TOK-01 no credential: CONNACK 0x87, and nothing is opened at the broker', async () => {
    expect((await refusal(connect())).reasonCode).toBe(0x87)
  })

  test.each([
    ['User Name only', connect({ userName: 'scout' })],
    ['an empty Password', connect({ userName: 'scout', password: '' })],
    ['an empty Password and no User Name', connect({ password: '' })],
  ])('C2 %s: CONNACK 0x86', async (_, bytes) => {
    expect((await refusal(bytes)).reasonCode).toBe(0x86)
  })

  test.each([
    ['expired', { exp: -60, iat: -120 }, 'expired'],
    ['not yet valid', { nbf: 600 }, 'not_yet_valid'],
    ['for another audience', { aud: 'somebody-else' }, 'wrong_audience'],
    ['of another issuer', { iss: 'https://other.test' }, 'unknown_issuer'],
  ])('C3 a token %s: CONNACK 0x86, as Authentication Data 0x87', async (_, changes, reason) => {
    const now = Math.floor(stage.postern.clock.now() / 1000)
    const claims = Object.fromEntries(
      Object.entries(changes).map(([name, value]) => [name, typeof value === 'number' ? now + value : value]),
    )
    const token = await stage.token('scout', { claims })
    expect(await codeFor(token)).toBe(0x86)
    expect(await lastRefusal()).toBe(reason)
    const properties = [prop.authenticationMethod('OAUTH2-JWT'), prop.authenticationData(token)]
    expect((await refusal(connect({ properties }))).reasonCode).toBe(0x87)
  })

  test('C4 `alg: none`, a stranger’s key under our `kid`, an unknown `kid`: CONNACK 0x86', async () => {
    const { issuer } = stage.postern
    const good = await stage.token('scout')
    const encode = (part: object): string => Buffer.from(JSON.stringify(part)).toString('base64url')
    const none = `${encode({ alg: 'none', typ: 'at+jwt', kid: issuer.publicKey.kid })}.${good.split('.')[1]}.AAAA`
    expect(await codeFor(none)).toBe(0x86)
    expect(await lastRefusal()).toBe('algorithm_not_allowed')
    const stranger = await TestIssuer.create(stage.postern.clock)
    expect(await codeFor(await stranger.mint({}, { header: { kid: issuer.publicKey.kid } }))).toBe(0x86)
    expect(await lastRefusal()).toBe('bad_signature')
    expect(await codeFor(await stranger.mint())).toBe(0x86)
    expect(await lastRefusal()).toBe('unknown_key')
  })

  test('C6, TOK-16, peers.F1, peers.F2 a copied Client Identifier: CONNACK 0x85, and its owner stays connected', async () => {
    const analyst = await stage.agent('analyst')
    expect(await codeFor(await stage.token('scout'), 'analyst')).toBe(0x85)
    const clean = connect({ clientId: 'analyst', password: await stage.token('scout'), cleanStart: true })
    expect((await refusal(clean)).reasonCode).toBe(0x85)
    await analyst.ping()
  })

  test.each([
    ['a/b'],
    ['+'],
    ['#'],
    ['a/+'],
    ['a/#'],
    ['/'],
    ['x\u0000'],
    ['x\r\ny'],
    [''],
    ['$SYS'],
    [['scout']],
    [{}],
    [7],
  ])('C7, ACL-02, peers.A1, peers.A3, peers.A6 `act.sub` %j: CONNACK 0x87', async (id) => {
    const token = await stage.token('scout', { claims: { act: { iss: TEST_ISSUER, sub: id } } })
    const isText = typeof id === 'string' && !/[\0\r\n]/.test(id)
    expect(await codeFor(token, isText ? id : 'scout')).toBe(0x87)
    expect(await lastRefusal()).toMatch(/^(bad_identifier|actor_malformed)$/)
  })

  test('C7 an `act.sub` that is no topic level needs a short name', async () => {
    const act = { iss: TEST_ISSUER, sub: 'spiffe://org/scout' }
    expect(await codeFor(await stage.token('scout', { claims: { act, agent_id: undefined } }))).toBe(0x87)
    const issuer = { claims: { agentId: 'agent_id' } }
    await stage.agent('scout', { claims: { act } }, await stage.anotherPostern({ issuer }))
  })

  test('C14 an unknown Authentication Method: CONNACK 0x8C', async () => {
    const properties = [prop.authenticationMethod('ace'), prop.authenticationData('x')]
    expect((await refusal(connect({ properties }))).reasonCode).toBe(0x8c)
  })

  test('TOK-02 what follows a refused CONNECT in the same write reaches nobody', async () => {
    const bytes = [
      connect({ password: 'a.b.c' }),
      publish({ topic: 'a2a/v1/notes/scout/a' }),
      subscribe(),
      PINGREQ,
    ]
    expect((await refusal(...bytes)).reasonCode).toBe(0x86)
    expect(await stage.observer.seen()).toEqual([])
  })

  test('TOK-02 what follows an accepted CONNECT in the same write is dealt with after it, in order', async () => {
    const client = await stage.socket()
    const topic = 'a2a/v1/notes/scout/early'
    client.send(
      connect({ password: await stage.token('scout') }),
      publish({ topic: 'a2a/v1/agents/analyst/card', qos: 1, packetId: 1 }),
      publish({ topic, qos: 1, packetId: 2, payload: 'x' }),
    )
    await client.next('connack')
    expect(await client.next('puback')).toMatchObject({ messageId: 1, reasonCode: 0x87 })
    expect(await client.next('puback')).toMatchObject({ messageId: 2 })
    expect(await stage.observer.messages()).toEqual([`${topic} x`])
  })

  test('TOK-18 after too many failed tries the address gets 0x9F, for good tokens too, until the window has passed', async () => {
    const postern = await stage.anotherPostern({
      config: { limits: { failedTries: 3, failedTriesWindow: '60s', failedTriesFrom: 'any' } },
    })
    const attempt = async (password: string): Promise<number | undefined> => {
      const client = await stage.socket(postern)
      client.send(connect({ password }))
      return (await client.next('connack')).reasonCode
    }
    const codes: (number | undefined)[] = []
    for (let i = 0; i < 4; i++) codes.push(await attempt('a.b.c'))
    expect(codes).toEqual([0x86, 0x86, 0x86, 0x9f])
    expect(await attempt(await stage.token('scout', {}, postern))).toBe(0x9f)
    postern.clock.advance(61_000)
    expect(await attempt(await stage.token('scout', {}, postern))).toBe(0)
  })

  test('TOK-20 the Reason String is coarse: it is the same for every way in which a token is bad', async () => {
    const stranger = await TestIssuer.create(stage.postern.clock)
    const bad = [
      'a.b.c',
      'not-a-token',
      `${'a'.repeat(9000)}.b.c`,
      await stranger.mint(),
      await stage.token('scout', { claims: { exp: 1 } }),
      await stage.token('scout', { claims: { aud: 'x' } }),
      await stage.token('scout', { claims: { iss: 'https://x.test' } }),
      await stage.token('scout', { claims: { jti: undefined } }),
      await stage.token('scout', { lifetimeMs: 3_600_000 }),
    ]
    for (const token of bad) {
      expect(await refusal(connect({ password: token }))).toEqual({
        reasonCode: 0x86,
        reasonString: 'token not accepted',
      })
    }
    const reasons = (await stage.postern.records()).filter((r) => r.action === 'connect').map((r) => r.reason)
    expect(new Set(reasons.slice(-bad.length)).size).toBeGreaterThan(6)
  })
})

describe('Will', () => {
  const status = 'a2a/v1/agents/scout/status'

  test('C8 on its own status topic is accepted, and published when the connection breaks', async () => {
    const scout = await stage.agent('scout', {
      will: { topic: status, payload: 'gone', qos: 1, retain: true },
    })
    await stage.observer.seen()
    scout.reset()
    await stage.relay.sessions.at(-1)!.toPostern.closed()
    expect(await stage.observer.messages()).toEqual([`${status} gone`])
    await stage.observer.publish(status, '', { retain: true })
  })

  test.each([
    [
      'C9, ACL-11, peers.D1',
      'somebody else’s status',
      { topic: 'a2a/v1/agents/analyst/status', qos: 1, retain: true },
    ],
    ['C10', 'an inbox, retained', { topic: 'a2a/v1/tasks/analyst/inbox', qos: 1, retain: true }],
    ['peers.D1', 'its own status at a QoS that the rule forbids', { topic: status, qos: 2, retain: true }],
    ['peers.D1', 'its own status without retain', { topic: status, qos: 1 }],
    ['peers.C5', 'the control plane', { topic: '$CONTROL/dynamic-security/v1', qos: 1 }],
    [
      'peers.I1',
      'an own topic, with a foreign Response Topic',
      { topic: 'a2a/v1/notes/scout/w', properties: [prop.responseTopic('a2a/v1/tasks/analyst/inbox')] },
    ],
  ])('%s on %s: CONNACK 0x87', async (_id, _what, will) => {
    const token = await stage.token('scout')
    expect((await refusal(connect({ password: token, will }))).reasonCode).toBe(0x87)
    expect(await stage.observer.seen()).toEqual([])
  })

  test.each([
    ['peers.D4', 'a property that a Will cannot have', [prop.topicAlias(1)], 0x81],
    ['peers.D4', 'the same property twice', [prop.contentType('a'), prop.contentType('b')], 0x82],
    ['peers.I2', 'a wildcard in the Response Topic', [prop.responseTopic('a2a/v1/+')], 0x82],
  ])('%s with %s: refused as malformed', async (_id, _what, properties, code) => {
    const will = { topic: status, qos: 1, retain: true, properties }
    expect((await refusal(connect({ password: await stage.token('scout'), will }))).reasonCode).toBe(code)
  })

  test('peers.D5 the payload limit of the rule counts for a Will, and the size limit of a CONNECT', async () => {
    const withWill = async (payload: Buffer): Promise<number | undefined> => {
      const will = { topic: status, qos: 1, retain: true, payload }
      return (await stage.tryConnect('scout', { will })).connack.reasonCode
    }
    expect(await withWill(Buffer.alloc(8 * 1024, 'x'))).toBe(0)
    expect(await withWill(Buffer.alloc(8 * 1024 + 1, 'x'))).toBe(0x87)
    const records = await stage.postern.records()
    expect(records.findLast((record) => record.action === 'will')?.reason).toBe('payload_too_large')
    expect(await withWill(Buffer.alloc(16 * 1024, 'x'))).toBe(0x95)
  })
})

describe('the first packet', () => {
  test('C11 of MQTT 3.1.1 gets the 3.1.1 CONNACK with return code 1', async () => {
    const client = await RawClient.open({ port: stage.postern.port, protocolVersion: 4 })
    client.send(connectV3())
    await client.closed()
    expect(client.inbox.bytes).toEqual(Buffer.of(0x20, 2, 0, 1))
  })

  test.each([
    ['PUBLISH', publish()],
    ['SUBSCRIBE', subscribe()],
    ['PINGREQ', PINGREQ],
    ['AUTH', auth(0x18, [prop.authenticationMethod('OAUTH2-JWT')])],
    ['CONNACK', Buffer.of(0x20, 3, 0, 0, 0)],
    ['bytes that are no packet', Buffer.of(0, 0, 0)],
    ['an HTTP request', Buffer.from('GET / HTTP/1.1\r\n\r\n')],
  ])(
    'C12, TOK-02, peers.J10 is %s: the connection is closed, and nothing is opened at the broker',
    async (_, bytes) => {
      const before = stage.relay.sessions.length
      const client = await stage.socket()
      client.send(bytes, connect({ password: await stage.token('scout') }))
      expect(await client.closed()).toEqual([])
      expect(client.inbox.bytes.length).toBe(0)
      expect(stage.relay.sessions.length).toBe(before)
    },
  )

  test('C12, peers.J10 CONNECT, and CONNECT again: DISCONNECT 0x82, and the broker sees one', async () => {
    const scout = await stage.agent('scout')
    scout.send(connect({ password: await stage.token('scout') }))
    expect(await scout.next('disconnect')).toMatchObject({ reasonCode: 0x82 })
    await scout.closed()
    const tap = stage.relay.sessions.at(-1)!
    expect((await tap.toBroker.closed()).map((packet) => packet.cmd)).toEqual(['connect'])
  })
})

describe('names that mean something to JavaScript', () => {
  it.each(['__proto__', 'constructor', 'toString', 'hasOwnProperty'])(
    'peers.A9 %s is a name like any other',
    async (name) => {
      const client = await stage.agent(name, { claims: { [name]: 'x' } })
      const own = `a2a/v1/notes/${name}/${name}`
      client.send(
        subscribe({
          packetId: 1,
          filters: [
            [own, 1],
            [name, 1],
          ],
        }),
      )
      expect(await client.next('suback')).toMatchObject({ granted: [1, 0x87] })
      client.send(publish({ topic: own, qos: 1, packetId: 2, properties: [prop.userProperty(name, name)] }))
      const first = await client.nextAny()
      const second = await client.nextAny()
      expect([first.cmd, second.cmd].sort()).toEqual(['puback', 'publish'])
      client.send(publish({ topic: `a2a/v1/notes/scout/${name}`, qos: 1, packetId: 3 }))
      expect(await client.next('puback')).toMatchObject({ reasonCode: 0x87 })
    },
  )
})
