// Just-in-time grants through the whole path, with a real broker: handed in, used once over restarts, ended, revoked;
// and rights that come and go with a renewed token. Ids: identity-standards.md 13.6 (JIT).
import { type ChildProcess, spawn } from 'node:child_process'
import { hash } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { agentClaims } from '../../src/dev/issuer.ts'
import { auth, connect, prop, publish, subscribe } from '../support/frames.ts'
import type { TestPostern } from '../support/postern.ts'
import { RawClient } from '../support/raw-client.ts'
import { openStage, type Stage } from '../support/stage.ts'
import { TEST_AUDIENCE, TEST_ISSUER, TestIssuer } from '../support/tokens.ts'

const TOPIC = '$postern/grant'
const SECRET = 'a-secret-of-enough-characters'
const POLICY = `
version: 1
attributes: [approvals]
agents:
  - { id: pay, allow: publish+subscribe, topic: pay/+/+, requiresGrant: true }
  - { id: pay-approved, allow: publish+subscribe, topic: pay/+/+, when: { approvals: [payments] } }
users:
  - { id: own, allow: publish+subscribe, topic: "pay/{user_id}/+" }
`
const CONFIG = {
  grants: { file: 'grants.jsonl', issuers: [{ issuer: TEST_ISSUER, audience: TEST_AUDIENCE }] },
  revocation: { file: 'revocations.jsonl', secretFile: 'secret' },
}
const ISSUER = { claims: { attributes: { approvals: 'approvals' } } }

let stage: Stage

beforeAll(async () => {
  stage = await openStage({ policy: POLICY, config: CONFIG, issuer: ISSUER, files: { secret: SECRET } })
})
beforeEach(() => stage.observer.seen())
afterAll(() => stage?.stop())

const grantClaims = (more: Record<string, unknown> = {}): Record<string, unknown> => ({
  ...agentClaims({ agent: 'scout', user: 'u1', issuer: TEST_ISSUER }),
  action: 'publish',
  topic: 'pay/u1/+',
  approver: { iss: TEST_ISSUER, sub: 'boss' },
  ...more,
})
const grant = (more: Record<string, unknown> = {}, postern: TestPostern = stage.postern): Promise<string> =>
  postern.issuer.dev.mint(grantClaims(more), {
    lifetimeMs: 300_000,
    header: { typ: 'mqtt-jit-grant+jwt' },
  })
const pay = (packetId: number, payload = 'ten') =>
  publish({ topic: 'pay/u1/order', qos: 1, packetId, payload })

async function handIn(client: RawClient, token: string, packetId = 900): Promise<number | undefined> {
  client.send(publish({ topic: TOPIC, qos: 1, packetId, payload: token }))
  return (await client.next('puback')).reasonCode
}

async function tryToPay(client: RawClient, packetId: number): Promise<number | undefined> {
  client.send(pay(packetId))
  return (await client.next('puback')).reasonCode
}

describe('the control topic', () => {
  test('JIT-01 JIT-07 JIT-09 denied without; once with a grant; the trail says who has approved', async () => {
    const client = await stage.agent('scout')
    expect(await tryToPay(client, 1)).toBe(0x87)
    const token = await grant({ jti: 'g-1' })
    expect(await handIn(client, token)).toBe(0)
    expect(await tryToPay(client, 2)).not.toBe(0x87)
    expect(await tryToPay(client, 3)).toBe(0x87)
    expect(await handIn(client, token)).toBe(0x87)
    expect(await handIn(client, 'no token')).toBe(0x99)
    expect(await stage.observer.messages()).toEqual(['pay/u1/order ten'])
    const records = await stage.postern.records()
    expect(records.filter((record) => record.grant?.jti === 'g-1')).toMatchObject([
      { action: 'grant', decision: 'allow', grant: { action: 'publish', topic: 'pay/u1/+' } },
      {
        action: 'publish',
        decision: 'allow',
        resource: { topic: 'pay/u1/order' },
        grant: { iss: TEST_ISSUER, jti: 'g-1', approver: { iss: TEST_ISSUER, sub: 'boss' } },
      },
      { action: 'grant', decision: 'deny', reason: 'grant_spent' },
    ])
    expect(JSON.stringify(records)).not.toContain(token)
    const metric = (labels: string) => stage.postern.metric(`postern_grants_total{${labels}}`)
    expect(await metric('decision="allow",reason="ok"')).toBe(1)
    expect(await metric('decision="deny",reason="grant_spent"')).toBe(1)
    expect(await metric('decision="deny",reason="malformed_token"')).toBe(1)
    expect(
      await stage.postern.metric('postern_publishes_total{decision="deny",reason="grant_required"}'),
    ).toBe(2)
  })

  test('JIT-03 two connections hand the same grant in at once: exactly one publish passes', async () => {
    const clients = await Promise.all([1, 2].map(() => stage.agent('scout', { clientId: 'scout' })))
    const other = await stage.anotherPostern({
      policy: POLICY,
      config: { ...CONFIG, clientId: { binding: 'prefix' } },
      issuer: ISSUER,
      files: { secret: SECRET },
    })
    for (const client of clients) client.destroy()
    const [a, b] = await Promise.all(
      ['scout-1', 'scout-2'].map((clientId) => stage.agent('scout', { clientId }, other)),
    )
    const token = await grant({}, other)
    const codes = await Promise.all([handIn(a!, token), handIn(b!, token)])
    expect(codes.toSorted()).toEqual([0, 0x87])
    const paid = await Promise.all([tryToPay(a!, 1), tryToPay(b!, 1)])
    expect(paid.filter((code) => code === 0x87).length).toBe(1)
    expect(await stage.observer.messages()).toEqual(['pay/u1/order ten'])
  })

  test('JIT-04 a grant for what the user lacks gives nothing', async () => {
    const client = await stage.agent('scout')
    await handIn(client, await grant({ topic: 'pay/#' }))
    client.send(publish({ topic: 'pay/u2/order', qos: 1, packetId: 4 }))
    expect(await client.next('puback')).toMatchObject({ reasonCode: 0x87 })
    expect((await stage.postern.records()).at(-1)).toMatchObject({ reason: 'no_rule', rules: { user: '-' } })
  })

  test('JIT-02 an access token is no grant, and a grant is no access token', async () => {
    const client = await stage.agent('scout')
    expect(await handIn(client, await stage.token('scout'))).toBe(0x87)
    expect((await stage.postern.records()).at(-1)).toMatchObject({
      reason: 'wrong_token_type',
      detail: 'access',
    })
    const other = await stage.socket()
    other.send(connect({ clientId: 'scout', password: await grant() }))
    expect(await other.next('connack')).toMatchObject({ reasonCode: 0x86 })
  })

  test('MQTT.js can do it', async () => {
    const client = await stage.mqttAgent('scout')
    await client.publishAsync(TOPIC, await grant(), { qos: 1 })
    await client.publishAsync('pay/u1/order', 'ten', { qos: 1 })
    await expect(client.publishAsync('pay/u1/order', 'ten', { qos: 1 })).rejects.toMatchObject({ code: 0x87 })
    await client.endAsync()
  })
})

describe('the User Property', () => {
  const carrying = async (packetId: number, token: string, payload = 'ten', around: Buffer[] = []) =>
    publish({
      topic: 'pay/u1/order',
      qos: 1,
      packetId,
      payload,
      properties: [...around.slice(0, 1), prop.userProperty('postern-grant', token), ...around.slice(1)],
    })

  test('JIT-06 JIT-09 the broker gets the message without it, other User Properties in their order', async () => {
    const client = await stage.agent('scout')
    const token = await grant({ jti: 'g-6' })
    const around = [prop.userProperty('b', '1'), prop.userProperty('a', '2'), prop.userProperty('b', '3')]
    client.send(await carrying(1, token, 'ten', around))
    expect((await client.next('puback')).reasonCode).not.toBe(0x87)
    const tap = stage.relay.sessions.at(-1)!
    const expected = publish({
      topic: 'pay/u1/order',
      qos: 1,
      packetId: 1,
      payload: 'ten',
      properties: around,
    })
    expect(tap.toBroker.bytes.subarray(-expected.length)).toEqual(expected)
    expect(tap.toBroker.bytes.includes(token)).toBe(false)
    const records = await stage.postern.records()
    expect(records.at(-1)).toMatchObject({
      action: 'publish',
      grant: { jti: 'g-6', approver: { sub: 'boss' } },
    })
    expect(JSON.stringify(records)).not.toContain(token)
    client.send(await carrying(2, token))
    expect(await client.next('puback')).toMatchObject({ reasonCode: 0x87 })
    expect((await stage.postern.records()).at(-1)).toMatchObject({
      reason: 'grant_required',
      detail: 'grant_spent',
    })
  })

  test('JIT-03 two connections, and each twice in a row, at once: as many pass as there are uses', async () => {
    const other = await stage.anotherPostern({
      policy: POLICY,
      config: { ...CONFIG, clientId: { binding: 'prefix' } },
      issuer: ISSUER,
      files: { secret: SECRET },
    })
    const clients = await Promise.all(
      ['scout-1', 'scout-2'].map((clientId) => stage.agent('scout', { clientId }, other)),
    )
    const token = await grant({ max_uses: 3 }, other)
    const codes = await Promise.all(
      clients.map(async (client) => {
        client.send(await carrying(1, token), await carrying(2, token))
        return [(await client.next('puback')).reasonCode, (await client.next('puback')).reasonCode]
      }),
    )
    expect(codes.flat().filter((code) => code === 0x87).length).toBe(1)
    expect((await stage.observer.messages()).length).toBe(3)
  })

  test('JIT-05 a payload of many segments is held until its digest is known', async () => {
    const client = await stage.agent('scout')
    const payload = 'x'.repeat(60_000)
    const token = await grant({ payload_sha256: hash('sha256', payload) })
    client.send(await carrying(1, token, `${payload.slice(1)}y`))
    expect(await client.next('puback')).toMatchObject({ reasonCode: 0x87 })
    expect((await stage.postern.records()).at(-1)).toMatchObject({ detail: 'other_payload' })
    const message = await carrying(2, token, payload)
    for (let at = 0; at < message.length; at += 9_000)
      await client.sendAlone(message.subarray(at, at + 9_000))
    expect((await client.next('puback')).reasonCode).not.toBe(0x87)
    expect(await stage.observer.messages()).toEqual([`pay/u1/order ${payload}`])
  })

  test('MQTT.js can do it', async () => {
    const client = await stage.mqttAgent('scout')
    const properties = { userProperties: { 'postern-grant': await grant(), trace: 'x' } }
    await client.publishAsync('pay/u1/order', 'ten', { qos: 1, properties })
    await expect(client.publishAsync('pay/u1/order', 'ten', { qos: 1, properties })).rejects.toMatchObject({
      code: 0x87,
    })
    const [message] = await stage.observer.packets()
    expect({ ...message?.properties?.userProperties }).toEqual({ trace: 'x' })
    await client.endAsync()
  })
})

test('JIT-08 a subscription opened by a grant: deliveries until the grant ends, then none, and UNSUBSCRIBE upstream', async () => {
  const postern = await stage.anotherPostern({
    policy: POLICY,
    config: CONFIG,
    issuer: ISSUER,
    files: { secret: SECRET },
  })
  const client = await stage.agent('scout', {}, postern)
  const inbox = 'pay/u1/inbox'
  const ask = async (): Promise<unknown> => {
    client.send(subscribe({ packetId: 3, filters: [[inbox, 1]] }))
    return (await client.next('suback')).granted
  }
  expect(await ask()).toEqual([0x87])
  await handIn(client, await grant({ action: 'subscribe', topic: inbox }, postern))
  expect(await ask()).toEqual([1])
  await stage.observer.publish(inbox, 'one')
  expect((await client.next('publish')).payload.toString()).toBe('one')
  postern.clock.advance(300_000)
  await client.ping()
  expect(stage.relay.sent).toContainEqual(
    expect.objectContaining({ cmd: 'unsubscribe', unsubscriptions: [inbox] }),
  )
  await stage.observer.publish(inbox, 'two')
  await client.ping()
  expect(client.inbox.waiting.map(({ cmd }) => cmd)).not.toContain('publish')
})

describe('revocation', () => {
  const revoke = async (subject: object, postern: TestPostern): Promise<void> => {
    const answer = await fetch(`${postern.app.adminUrl}/revocations`, {
      method: 'POST',
      headers: { authorization: `Bearer ${SECRET}`, 'content-type': 'application/json' },
      body: JSON.stringify({ sub_id: subject }),
    })
    expect(answer.status).toBe(204)
  }

  test.each<[string, (jti: string) => object]>([
    ['by its jti', (jti) => ({ format: 'jwt_id', iss: TEST_ISSUER, jti })],
    ['by its approver', () => ({ format: 'iss_sub', iss: TEST_ISSUER, sub: 'boss' })],
  ])('a grant that is revoked %s is refused, and one that is held helps no more', async (_, subject) => {
    const postern = await stage.anotherPostern({
      policy: POLICY,
      config: CONFIG,
      issuer: ISSUER,
      files: { secret: SECRET },
    })
    const client = await stage.agent('scout', {}, postern)
    const token = await grant({ jti: 'g-9', max_uses: 2 }, postern)
    expect(await handIn(client, token)).toBe(0)
    await revoke(subject('g-9'), postern)
    expect(await tryToPay(client, 1)).toBe(0x87)
    expect(await handIn(client, token)).toBe(0x87)
    expect((await postern.records()).at(-1)).toMatchObject({ action: 'grant', reason: 'revoked' })
  })
})

test('JIT-01 the third way: a renewed token with the claim satisfies the demand, and the next without it takes it away', async () => {
  const method = 'OAUTH2-JWT'
  const withToken = async (claims: Record<string, unknown>): Promise<Buffer[]> => [
    prop.authenticationMethod(method),
    prop.authenticationData(await stage.token('scout', { claims })),
  ]
  const client = await stage.socket()
  client.send(connect({ properties: await withToken({}) }))
  await client.next('connack')
  expect(await tryToPay(client, 1)).toBe(0x87)
  client.send(auth(0x19, await withToken({ approvals: 'payments' })))
  expect(await client.next('auth')).toMatchObject({ reasonCode: 0 })
  expect(await tryToPay(client, 2)).not.toBe(0x87)
  client.send(subscribe({ packetId: 3, filters: [['pay/u1/inbox', 1]] }))
  expect(await client.next('suback')).toMatchObject({ granted: [1] })
  client.send(auth(0x19, await withToken({})))
  await client.next('auth')
  expect(await tryToPay(client, 4)).toBe(0x87)
  await client.ping()
  expect(stage.relay.sent).toContainEqual(
    expect.objectContaining({ cmd: 'unsubscribe', unsubscriptions: ['pay/u1/inbox'] }),
  )
})

describe.each([1, 2])('kill -9, with %i workers', (workers) => {
  let directory: string
  let issuer: TestIssuer
  let child: ChildProcess | undefined
  const clients: RawClient[] = []

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'postern-grants-kill-'))
    issuer = await TestIssuer.create(systemClock)
    await writeFile(join(directory, 'jwks.json'), JSON.stringify(issuer.dev.publicJwks()))
    await writeFile(join(directory, 'policy.yaml'), POLICY)
    const file = {
      listeners: [{ address: '127.0.0.1:0' }],
      upstream: { address: `${stage.relay.host}:${stage.relay.port}` },
      issuers: [{ issuer: TEST_ISSUER, audience: TEST_AUDIENCE, jwks: { file: 'jwks.json' }, ...ISSUER }],
      policy: { file: 'policy.yaml' },
      audit: { file: 'audit.jsonl' },
      admin: 'off',
      grants: CONFIG.grants,
      workers,
    }
    await writeFile(join(directory, 'postern.json'), JSON.stringify(file))
  })
  afterAll(async () => {
    for (const client of clients) client.destroy()
    child?.kill('SIGKILL')
    await rm(directory, { recursive: true, force: true })
  })

  async function started(): Promise<RawClient> {
    child = spawn(
      process.execPath,
      [
        new URL('../../cmd/postern.ts', import.meta.url).pathname,
        'run',
        '-c',
        join(directory, 'postern.json'),
      ],
      { stdio: ['ignore', 'ignore', 'pipe'] },
    )
    let log = ''
    const port = await new Promise<number>((resolve, reject) => {
      child!.stderr!.on('data', (chunk) => {
        log += chunk
        const found = /"address":"127\.0\.0\.1:(\d+)"[^\n]*"listening"/.exec(log)
        if (found !== null) resolve(Number(found[1]))
      })
      child!.once('exit', () => reject(new Error(log)))
    })
    const client = await RawClient.open({ port })
    clients.push(client)
    client.send(connect({ clientId: 'scout', password: await issuer.mint({ sub: 'u1' }) }))
    expect(await client.next('connack')).toMatchObject({ reasonCode: 0 })
    return client
  }

  test('JIT-03 what was used before is spent afterwards; what has uses left has exactly those', async () => {
    const mint = (more: object): Promise<string> =>
      issuer.dev.mint(grantClaims({ ...more }), {
        lifetimeMs: 300_000,
        header: { typ: 'mqtt-jit-grant+jwt' },
      })
    const [once1, twice, carried] = await Promise.all([
      mint({ jti: 'once' }),
      mint({ jti: 'twice', max_uses: 2 }),
      mint({ jti: 'carried' }),
    ])
    const before = await started()
    expect(await handIn(before, once1)).toBe(0)
    expect(await tryToPay(before, 1)).not.toBe(0x87)
    expect(await handIn(before, twice)).toBe(0)
    const property = (token: string, packetId: number): Buffer =>
      publish({
        topic: 'pay/u1/order',
        qos: 1,
        packetId,
        properties: [prop.userProperty('postern-grant', token)],
      })
    before.send(property(carried, 3))
    expect((await before.next('puback')).reasonCode).not.toBe(0x87)
    child!.kill('SIGKILL')
    await once(child!, 'exit')
    expect((await readFile(join(directory, 'grants.jsonl'), 'utf8')).split('\n').length).toBe(4)

    const after = await started()
    expect(await handIn(after, once1)).toBe(0x87)
    after.send(property(carried, 9))
    expect(await after.next('puback')).toMatchObject({ reasonCode: 0x87 })
    expect(await tryToPay(after, 1)).toBe(0x87)
    expect(await handIn(after, twice)).toBe(0)
    expect(await tryToPay(after, 2)).not.toBe(0x87)
    expect(await handIn(after, twice)).toBe(0x87)
  })
})
