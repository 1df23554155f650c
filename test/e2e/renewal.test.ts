// A fresh token for a live connection, through the whole path: AUTH 0x19, and the token topic for password clients.
// Ids: identity-standards.md 13.5 (EXP).
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { ack, auth, connect, prop, publish, subscribe } from '../support/frames.ts'
import type { RawClient } from '../support/raw-client.ts'
import { openStage, type Stage } from '../support/stage.ts'
import { TEST_ISSUER } from '../support/tokens.ts'

let stage: Stage

/** Ceilings of the token narrow and widen rights without a change of policy. */
const WITH_SCOPE = { issuer: { ceilings: ['scope'], claims: { agentId: 'agent_id', tenant: 'org_id' } } }

beforeAll(async () => {
  stage = await openStage(WITH_SCOPE)
})
beforeEach(() => stage.observer.seen())
afterAll(() => stage?.stop())

const METHOD = 'OAUTH2-JWT'
const TOPIC = '$postern/token'
const note = 'a2a/v1/notes/scout/a'
const own = 'a2a/v1/tasks/scout/inbox'
const scope = (...entries: [string, string[]][]): { scope: unknown } => ({ scope: entries })
const NOTES = scope(['a2a/v1/notes/#', ['pub', 'sub']])
const NOTES_AND_TASKS = scope(['a2a/v1/notes/#', ['pub', 'sub']], ['a2a/v1/tasks/#', ['sub']])

const withToken = (token: string, method = METHOD): Buffer[] => [
  prop.authenticationMethod(method),
  prop.authenticationData(token),
]

/** Connects by enhanced authentication. */
async function enhanced(claims: Record<string, unknown> = NOTES_AND_TASKS): Promise<RawClient> {
  const client = await stage.socket()
  client.send(connect({ properties: withToken(await stage.token('scout', { claims })) }))
  expect(await client.next('connack')).toMatchObject({ reasonCode: 0 })
  return client
}

async function renew(client: RawClient, claims: Record<string, unknown> = NOTES_AND_TASKS): Promise<void> {
  client.send(auth(0x19, withToken(await stage.token('scout', { claims }))))
  expect(await client.next('auth')).toMatchObject({
    reasonCode: 0,
    properties: { authenticationMethod: METHOD },
  })
}

async function ended(client: RawClient): Promise<number | undefined> {
  const { reasonCode } = await client.next('disconnect')
  await client.closed()
  return reasonCode
}

const lastReason = async (action: string): Promise<string | undefined> =>
  (await stage.postern.records()).findLast((record) => record.action === action)?.reason

describe('AUTH 0x19', () => {
  test('EXP-02 twice: AUTH 0x00 back, the broker sees nothing, session and subscriptions stay', async () => {
    const client = await enhanced()
    client.send(subscribe({ filters: [[own, 1]] }))
    await client.next('suback')
    const tap = stage.relay.sessions.at(-1)!
    const before = tap.toBroker.bytes.length
    await renew(client)
    await renew(client)
    expect(tap.toBroker.bytes.length).toBe(before)
    await stage.observer.publish(own, 'still here')
    expect(await client.next('publish')).toMatchObject({ topic: own })
    expect(
      await stage.postern.metric('postern_renewals_total{decision="allow",reason="ok"}'),
    ).toBeGreaterThanOrEqual(2)
  })

  test('EXP-02 the end moves with the token, and records name the new one', async () => {
    const postern = await stage.anotherPostern()
    const client = await stage.socket(postern)
    const token = (lifetimeMs: number): Promise<string> => stage.token('scout', { lifetimeMs }, postern)
    client.send(connect({ properties: withToken(await token(60_000)) }))
    await client.next('connack')
    client.send(auth(0x19, withToken(await token(600_000))))
    await client.next('auth')
    postern.clock.advance(300_000)
    client.send(publish({ topic: note, qos: 1 }))
    await client.next('puback')
    const records = await postern.records()
    const [renewal, used] = [records.findLast((r) => r.action === 'renew')!, records.at(-1)!]
    expect(used.identity?.token?.jti).toBe(renewal.identity?.token?.jti)
    expect(used.identity?.token?.jti).not.toBe(
      records.find((r) => r.action === 'connect')?.identity?.token?.jti,
    )
    postern.clock.advance(330_000)
    expect(await ended(client)).toBe(0x87)
  })

  test('EXP-02 a wider token gives more, at once', async () => {
    const client = await enhanced(NOTES)
    client.send(subscribe({ filters: [[own, 1]] }))
    expect(await client.next('suback')).toMatchObject({ granted: [0x87] })
    await renew(client)
    client.send(subscribe({ filters: [[own, 1]] }))
    expect(await client.next('suback')).toMatchObject({ granted: [1] })
  })

  test('EXP-02 packets behind the AUTH go on in order under the old rights until it is decided', async () => {
    const client = await enhanced(NOTES)
    const token = await stage.token('scout', { claims: NOTES })
    const messages = ['1', '2', '3'].map((payload) => publish({ topic: note, payload }))
    client.send(messages[0]!, auth(0x19, withToken(token)), messages[1]!, messages[2]!)
    await client.next('auth')
    await client.ping()
    expect(await stage.observer.messages()).toEqual([`${note} 1`, `${note} 2`, `${note} 3`])
  })

  test('EXP-04 subscriptions that a narrower token does not cover are taken away at the broker', async () => {
    const client = await enhanced()
    client.send(
      subscribe({
        filters: [
          [own, 1],
          [note, 1],
        ],
      }),
    )
    await client.next('suback')
    await renew(client, NOTES)
    await client.ping()
    expect(stage.relay.sent).toContainEqual(
      expect.objectContaining({ cmd: 'unsubscribe', unsubscriptions: [own] }),
    )
    await stage.observer.publish(own, 'no')
    await stage.observer.publish(note, 'yes')
    expect(await client.next('publish')).toMatchObject({ topic: note })
  })

  test('EXP-04 a queued QoS 2 message is judged again when it is released', async () => {
    const client = await enhanced()
    client.send(publish({ topic: note, qos: 2, packetId: 9, payload: 'held' }))
    await client.next('pubrec')
    await renew(client, scope(['a2a/v1/tasks/#', ['sub']]))
    client.send(ack('pubrel', 9))
    expect(await client.next('pubcomp')).toMatchObject({ reasonCode: 0x92 })
    expect(await stage.observer.messages()).toEqual([])
  })

  test('EXP-04 a Will that the new token does not allow ends the session, and is not sent', async () => {
    const client = await stage.socket()
    const token = await stage.token('scout', { claims: NOTES })
    client.send(connect({ properties: withToken(token), will: { topic: note, payload: 'will' } }))
    await client.next('connack')
    const narrow = await stage.token('scout', { claims: scope(['a2a/v1/tasks/#', ['sub']]) })
    client.send(auth(0x19, withToken(narrow)))
    expect(await ended(client)).toBe(0x87)
    expect(await stage.observer.messages()).toEqual([])
  })

  test.each([
    ['human', { sub: 'u2' }],
    ['agent', { act: { iss: TEST_ISSUER, sub: 'analyst' } }],
    ['name of the agent', { agent_id: 'analyst' }],
    ['tenant', { org_id: 'org_b' }],
  ])('EXP-03 a token of another %s ends the session with DISCONNECT 0x87', async (_, claims) => {
    const client = await enhanced()
    client.send(auth(0x19, withToken(await stage.token('scout', { claims: { ...NOTES, ...claims } }))))
    expect(await ended(client)).toBe(0x87)
    expect(await lastReason('renew')).toBe('identity_changed')
  })

  test.each([
    ['expired', { claims: { exp: 1_000, iat: 900 } }],
    ['wrong_audience', { claims: { aud: 'x' } }],
  ])('EXP-03 a bad token (%s) ends the session with DISCONNECT 0x87', async (reason, who) => {
    const client = await enhanced()
    client.send(auth(0x19, withToken(await stage.token('scout', who))))
    expect(await ended(client)).toBe(0x87)
    expect(await lastReason('renew')).toBe(reason)
    expect(
      await stage.postern.metric(`postern_renewals_total{decision="deny",reason="${reason}"}`),
    ).toBeGreaterThan(0)
  })

  test('EXP-05 another method, or any on a password connection, is DISCONNECT 0x82', async () => {
    const token = await stage.token('scout', { claims: NOTES })
    const client = await enhanced()
    client.send(auth(0x19, withToken(token, 'CUSTOM-JWT')))
    expect(await ended(client)).toBe(0x82)
    const byPassword = await stage.agent('scout', { claims: NOTES })
    byPassword.send(auth(0x19, withToken(token)))
    expect(await ended(byPassword)).toBe(0x82)
  })

  test('EXP-05 a second AUTH while the first is decided is DISCONNECT 0x82', async () => {
    const client = await enhanced()
    const again = auth(0x19, withToken(await stage.token('scout', { claims: NOTES })))
    client.send(again, again)
    expect(await ended(client)).toBe(0x82)
  })
})

describe('the token topic', () => {
  const upload = (token: string, qos = 1): Buffer =>
    publish({ topic: TOPIC, qos, packetId: 7, payload: token })
  const agent = (claims: Record<string, unknown> = NOTES): Promise<RawClient> =>
    stage.agent('scout', { claims })

  test.each([1, 2])(
    'EXP-02 QoS %i: acknowledged 0x00, the new rights hold, nothing is forwarded',
    async (qos) => {
      const client = await agent()
      const tap = stage.relay.sessions.at(-1)!
      const before = tap.toBroker.bytes.length
      client.send(upload(await stage.token('scout', { claims: NOTES_AND_TASKS }), qos))
      if (qos === 1) expect(await client.next('puback')).toMatchObject({ messageId: 7, reasonCode: 0 })
      else {
        expect(await client.next('pubrec')).toMatchObject({ messageId: 7, reasonCode: 0 })
        client.send(ack('pubrel', 7))
        expect(await client.next('pubcomp')).toMatchObject({ messageId: 7, reasonCode: 0 })
      }
      expect(tap.toBroker.bytes.length).toBe(before)
      client.send(subscribe({ filters: [[own, 1]] }))
      expect(await client.next('suback')).toMatchObject({ granted: [1] })
    },
  )

  test('EXP-02 QoS 0 is taken in silence; a bad one ends the session with DISCONNECT 0x87', async () => {
    const client = await agent()
    client.send(upload(await stage.token('scout', { claims: NOTES_AND_TASKS }), 0))
    await expect.poll(() => lastReason('renew')).toBe('ok')
    client.send(upload('a.b.c', 0))
    expect(await ended(client)).toBe(0x87)
  })

  test('EXP-02 in parts, and by an alias: the payload may arrive in many parts', async () => {
    const client = await agent()
    const token = await stage.token('scout', { claims: NOTES_AND_TASKS })
    const bytes = upload(token)
    for (let i = 0; i < bytes.length; i += 50) {
      client.send(bytes.subarray(i, i + 50))
      await new Promise((resolve) => setImmediate(resolve))
    }
    expect(await client.next('puback')).toMatchObject({ reasonCode: 0 })
    const alias = [prop.topicAlias(1)]
    client.send(publish({ topic: TOPIC, properties: alias, qos: 1, packetId: 8, payload: token }))
    client.send(publish({ topic: note, qos: 1, packetId: 9, payload: 'between' }))
    const answered = [(await client.next('puback')).messageId, (await client.next('puback')).messageId]
    expect(answered.sort()).toEqual([8, 9])
    client.send(publish({ topic: '', properties: alias, qos: 1, packetId: 10, payload: token }))
    expect(await client.next('puback')).toMatchObject({ messageId: 10, reasonCode: 0 })
    expect(await stage.observer.messages()).toEqual([`${note} between`])
  })

  test.each([
    ['not a token', 'hello', 0x99, 'malformed_token'],
    ['nothing', '', 0x99, 'malformed_token'],
    ['too long', 'a'.repeat(9000), 0x99, 'token_too_large'],
    ['no base64url', 'a b.c.d', 0x99, 'malformed_token'],
    [
      'unsigned',
      `${Buffer.from('{"alg":"none","typ":"at+jwt"}').toString('base64url')}.e30.AA`,
      0x87,
      'unknown_issuer',
    ],
  ])('EXP-03 %s: the answer says so, and the connection goes on', async (_, payload, code, reason) => {
    const client = await agent()
    client.send(upload(payload))
    expect(await client.next('puback')).toMatchObject({ reasonCode: code })
    expect(await lastReason('renew')).toBe(reason)
    await client.ping()
  })

  test('EXP-03 another human’s token is PUBACK 0x87, and the session ends', async () => {
    const client = await agent()
    client.send(upload(await stage.token('scout', { user: 'u2' })))
    expect(await client.next('puback')).toMatchObject({ reasonCode: 0x87 })
    expect(await ended(client)).toBe(0x87)
  })

  test('no Will may be on it, whatever the policy allows', async () => {
    const postern = await stage.anotherPostern({
      policy:
        'version: 1\nagents: [{ id: a, allow: publish, topic: $postern/token }]\nusers: [{ id: u, allow: publish, topic: $postern/token }]\n',
    })
    const will = { topic: TOPIC, payload: 'x' }
    expect((await stage.tryConnect('scout', { will }, postern)).connack.reasonCode).toBe(0x87)
  })

  test('`topic: off` leaves the name to the policy', async () => {
    const postern = await stage.anotherPostern({ config: { token: { topic: 'off' } } })
    const client = await stage.agent('scout', {}, postern)
    client.send(upload(await stage.token('scout', {}, postern)))
    expect(await client.next('puback')).toMatchObject({ reasonCode: 0x87 })
    expect((await postern.records()).at(-1)).toMatchObject({ action: 'publish', decision: 'deny' })
  })

  test('MQTT.js can do it', async () => {
    const client = await stage.mqttAgent('scout')
    await client.publishAsync(TOPIC, await stage.token('scout'), { qos: 1 })
    await expect(client.publishAsync(TOPIC, 'hello', { qos: 1 })).rejects.toMatchObject({ code: 0x99 })
    await client.endAsync()
  })
})
