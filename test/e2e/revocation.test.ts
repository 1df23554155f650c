// Cutting live connections through the whole path, by every way in that needs no other server. Ids:
// identity-standards.md 13.7 (REV).
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { auth, connect, PINGREQ, prop, publish, subscribe } from '../support/frames.ts'
import type { TestPostern } from '../support/postern.ts'
import type { RawClient } from '../support/raw-client.ts'
import { openStage, type Stage, type StageOptions } from '../support/stage.ts'
import { TEST_ISSUER } from '../support/tokens.ts'

const SECRET = 'a-secret-of-the-operator'
let stage: Stage
let directory: string

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'postern-revocation-'))
  stage = await openStage(revoking())
})
beforeEach(() => stage.observer.seen())
afterAll(async () => {
  await stage?.stop()
  await rm(directory, { recursive: true, force: true })
})

function revoking(revocation: Record<string, unknown> = {}, more: StageOptions = {}): StageOptions {
  return {
    ...more,
    files: { secret: `${SECRET}\n`, list: '[]' },
    config: {
      clientId: { binding: 'prefix', separator: '~' },
      revocation: { file: 'revocations.jsonl', secretFile: 'secret', ...revocation },
      ...more.config,
    },
  }
}

const note = (agent: string): string => `a2a/v1/notes/${agent}/a`
const issSub = (sub: string): object => ({ format: 'iss_sub', iss: TEST_ISSUER, sub })
const pair = (user: string, agent: string): object => ({
  format: 'complex',
  user: issSub(user),
  application: issSub(agent),
})

async function order(
  sub_id: object,
  action = 'revoke',
  postern: TestPostern = stage.postern,
): Promise<number> {
  const response = await fetch(`${postern.app.adminUrl}/revocations`, {
    method: 'POST',
    headers: { authorization: `Bearer ${SECRET}`, 'content-type': 'application/json' },
    body: JSON.stringify({ sub_id, action }),
  })
  return response.status
}

async function ended(client: RawClient): Promise<number | undefined> {
  const { reasonCode } = await client.next('disconnect')
  await client.closed()
  return reasonCode
}

/** Tokens carry whole seconds: those after this call are newer than a mark made before it. */
function nextSecond(postern: TestPostern): void {
  postern.clock.advance(1_000)
}

describe('REV-03 three users, three agents', () => {
  const USERS = ['u1', 'u2', 'u3']
  const AGENTS = ['scout', 'analyst', 'operator']

  test.each<[string, object, (user: string, agent: string) => boolean]>([
    ['a human ends every agent that acts for them', issSub('u2'), (user) => user === 'u2'],
    ['an agent ends for every human', issSub('analyst'), (_, agent) => agent === 'analyst'],
    [
      'a pair spares its neighbours',
      pair('u1', 'scout'),
      (user, agent) => user === 'u1' && agent === 'scout',
    ],
  ])('%s', async (_, subject, isMet) => {
    const postern = await stage.anotherPostern(revoking())
    const clients: { client: RawClient; met: boolean }[] = []
    for (const user of USERS) {
      for (const agent of AGENTS) {
        const client = await stage.agent(agent, { user, clientId: `${agent}~${user}` }, postern)
        clients.push({ client, met: isMet(user, agent) })
      }
    }
    expect(await order(subject, 'revoke', postern)).toBe(204)
    for (const { client, met } of clients) {
      if (met) expect(await ended(client)).toBe(0x98)
      else await client.ping()
    }
    expect(postern.app.connections).toBe(clients.filter(({ met }) => !met).length)
  })
})

test('REV-01 100 connections of one human under traffic: after the answer nothing of them passes, either way', async () => {
  const postern = await stage.anotherPostern(revoking())
  const clients: RawClient[] = []
  for (let i = 0; i < 100; i++) {
    const client = await stage.agent('scout', { user: 'u1', clientId: `scout~${i}` }, postern)
    client.send(subscribe({ filters: [['a2a/v1/notes/scout/#', 0]] }))
    await client.next('suback')
    clients.push(client)
  }
  const taps = stage.relay.sessions.slice(-100)
  let sending = true
  const traffic = (async () => {
    while (sending) {
      for (const client of clients) client.send(publish({ topic: note('scout'), payload: 'x' }))
      await new Promise((resolve) => setImmediate(resolve))
    }
  })()
  await expect.poll(() => taps.every((tap) => tap.toBroker.chunks.length > 5)).toBe(true)
  const ordered = performance.now()
  expect(await order(issSub('u1'), 'revoke', postern)).toBe(204)
  const tookS = (performance.now() - ordered) / 1000
  await Promise.all(taps.map((tap) => tap.toBroker.closed()))
  sending = false
  await traffic
  await Promise.all(clients.map((client) => client.closed()))
  await stage.observer.seen()
  await stage.observer.publish(note('scout'), 'late')
  const records = await postern.records()
  const cutAt = records.findIndex((record) => record.action === 'revoke')
  expect(records[cutAt]).toMatchObject({ reason: 'revoke', effect: '100 cut', cause: { source: 'admin' } })
  expect(records.slice(cutAt).filter((record) => record.action === 'publish')).toEqual([])
  expect(await postern.metric('postern_sessions_ended_total{cause="revoked"}')).toBe(100)
  expect(await postern.metric('postern_revocation_seconds_count')).toBe(1)
  // The last is cut before the order is answered; `npm run bench:revocation` says how soon.
  expect(await postern.metric('postern_revocation_seconds_sum')).toBeLessThan(tookS)
})

describe('REV-04 coming back', () => {
  test('with a token from before is CONNACK 0x87; with a newer one it is let in', async () => {
    const before = await stage.token('scout', { user: 'u4' })
    expect(await order(issSub('u4'))).toBe(204)
    const client = await stage.socket()
    client.send(connect({ password: before }))
    expect(await client.next('connack')).toMatchObject({
      reasonCode: 0x87,
      properties: { reasonString: 'not authorized' },
    })
    expect((await stage.postern.records()).at(-1)).toMatchObject({
      action: 'connect',
      reason: 'revoked',
      identity: { human: { sub: 'u4' } },
    })
    nextSecond(stage.postern)
    await stage.agent('scout', { user: 'u4' })
  })

  test('of a disabled identity is refused with any token until it is enabled', async () => {
    expect(await order(issSub('u5'), 'disable')).toBe(204)
    nextSecond(stage.postern)
    expect((await stage.tryConnect('scout', { user: 'u5' })).connack.reasonCode).toBe(0x87)
    expect(await order(issSub('u5'), 'enable')).toBe(204)
    await stage.agent('scout', { user: 'u5' })
  })

  test('REV-04 `margin` refuses tokens of an issuer whose clock is ahead', async () => {
    const postern = await stage.anotherPostern(revoking({ margin: '10s' }))
    const iat = Math.floor(postern.clock.now() / 1000) + 9
    const ahead = await stage.token('scout', { user: 'u1', claims: { iat, exp: iat + 60 } }, postern)
    expect(await order(issSub('u1'), 'revoke', postern)).toBe(204)
    const client = await stage.socket(postern)
    client.send(connect({ password: ahead }))
    expect(await client.next('connack')).toMatchObject({ reasonCode: 0x87 })
  })

  test('REV-02 one token: the same bearer goes on with another', async () => {
    const client = await stage.agent('scout', { user: 'u6', claims: { jti: 'j6' } })
    expect(await order({ format: 'jwt_id', iss: TEST_ISSUER, jti: 'j6' })).toBe(204)
    expect(await ended(client)).toBe(0x98)
    await stage.agent('scout', { user: 'u6', claims: { jti: 'j7' } })
  })

  test('a renewal with a revoked token ends the session, one with a fresh token moves it', async () => {
    const client = await stage.socket()
    const method = prop.authenticationMethod('OAUTH2-JWT')
    const token = (jti: string): Promise<string> => stage.token('scout', { user: 'u7', claims: { jti } })
    const withToken = async (jti: string): Promise<Buffer[]> => [
      method,
      prop.authenticationData(await token(jti)),
    ]
    client.send(connect({ properties: await withToken('a') }))
    await client.next('connack')
    client.send(auth(0x19, await withToken('b')))
    await client.next('auth')
    // No longer the token of this connection.
    expect(await order({ format: 'jwt_id', iss: TEST_ISSUER, jti: 'a' })).toBe(204)
    await client.ping()
    client.send(auth(0x19, await withToken('a')))
    expect(await ended(client)).toBe(0x87)
    expect((await stage.postern.records()).findLast((r) => r.action === 'renew')?.reason).toBe('revoked')
  })
})

test('REV-05 marks and disabled identities hold after a restart', async () => {
  const file = join(directory, 'kept.jsonl')
  const { issuer: idp, clock } = stage.postern
  const first = await stage.anotherPostern(revoking({ file }, { idp, clock }))
  const before = await stage.token('scout', { user: 'u1' }, first)
  expect(await order(issSub('u1'), 'revoke', first)).toBe(204)
  expect(await order({ format: 'urn:postern:tenant', tenant: 'org_z' }, 'disable', first)).toBe(204)
  await first.app.stop({ withinMs: 0 })
  const second = await stage.anotherPostern(revoking({ file }, { idp, clock }))
  const client = await stage.socket(second)
  client.send(connect({ password: before }))
  expect(await client.next('connack')).toMatchObject({ reasonCode: 0x87 })
  const fromZ = await stage.tryConnect('scout', { user: 'u8', claims: { org_id: 'org_z' } }, second)
  expect(fromZ.connack.reasonCode).toBe(0x87)
  await stage.agent('scout', { user: 'u8' }, second)
})

test('REV-06 a client that does not read is cut as well', async () => {
  const postern = await stage.anotherPostern(revoking())
  const client = await stage.agent('scout', { user: 'u1' }, postern)
  client.send(subscribe({ filters: [[note('scout'), 0]] }))
  await client.next('suback')
  client.pause()
  const payload = Buffer.alloc(1_000_000)
  for (let i = 0; i < 20; i++) await stage.observer.publish(note('scout'), payload, { qos: 0 })
  const tap = stage.relay.sessions.at(-1)!
  expect(await order(issSub('u1'), 'revoke', postern)).toBe(204)
  expect(postern.app.connections).toBe(0)
  await tap.toBroker.closed()
  client.resume()
  await client.closed()
})

describe('REV-07 the Will of whoever is cut', () => {
  const will = { topic: note('scout'), payload: 'will', qos: 1 }

  test('is not sent, and the MQTT session goes: DISCONNECT 0x00 with Session Expiry 0', async () => {
    const postern = await stage.anotherPostern(
      revoking({}, { config: { sessions: { delegated: 'resume' } } }),
    )
    const properties = [prop.sessionExpiryInterval(3600)]
    const client = await stage.agent('scout', { user: 'u1', will, properties }, postern)
    const tap = stage.relay.sessions.at(-1)!
    expect(await order(issSub('u1'), 'revoke', postern)).toBe(204)
    expect(await ended(client)).toBe(0x98)
    const sent = await tap.toBroker.closed()
    expect(sent.at(-1)).toMatchObject({
      cmd: 'disconnect',
      reasonCode: 0,
      properties: { sessionExpiryInterval: 0 },
    })
    expect(await stage.observer.messages()).toEqual([])
    nextSecond(postern)
    const again = await stage.tryConnect('scout', { user: 'u1', cleanStart: false, properties }, postern)
    expect(again.connack).toMatchObject({ reasonCode: 0, sessionPresent: false })
  })

  test('is sent by `will: publish`', async () => {
    const postern = await stage.anotherPostern(revoking({ will: 'publish' }))
    await stage.agent('scout', { user: 'u1', will }, postern)
    const tap = stage.relay.sessions.at(-1)!
    expect(await order(issSub('u1'), 'revoke', postern)).toBe(204)
    await tap.toPostern.closed()
    expect(await stage.observer.messages()).toEqual([`${note('scout')} will`])
  })
})

test('REV-18 a CONNECT that is being verified while its bearer is revoked ends refused', async () => {
  const idp = stage.postern.issuer
  const keys = await idp.serveJwks()
  try {
    const postern = await stage.anotherPostern(revoking({}, { idp, issuer: { jwks: { url: keys.url } } }))
    const sessions = stage.relay.sessions.length
    const fetched = keys.nextRequest()
    // Longer than the set is used, so that this CONNECT waits for the server.
    keys.behaviour = 'hang'
    postern.clock.advance(2 * 3_600_000)
    const client = await stage.socket(postern)
    const token = await postern.issuer.mint({
      agent_id: 'scout',
      sub: 'u1',
      org_id: 'org_a',
      iat: Math.floor(postern.clock.now() / 1000),
      exp: Math.floor(postern.clock.now() / 1000) + 600,
    })
    client.send(connect({ clientId: 'scout', password: token }))
    await fetched
    expect(await order(issSub('u1'), 'revoke', postern)).toBe(204)
    keys.behaviour = 'ok'
    keys.release()
    expect(await client.next('connack')).toMatchObject({ reasonCode: 0x87 })
    expect((await postern.records()).at(-1)).toMatchObject({ action: 'connect', reason: 'revoked' })
    expect(stage.relay.sessions.length).toBe(sessions)
  } finally {
    await keys.close()
  }
})

describe('REV-15 the admin endpoint', () => {
  const call = (body: unknown, headers: Record<string, string> = {}, method = 'POST'): Promise<Response> =>
    fetch(`${stage.postern.app.adminUrl}/revocations`, {
      method,
      headers: { authorization: `Bearer ${SECRET}`, 'content-type': 'application/json', ...headers },
      ...(method === 'GET' ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    })
  const good = { sub_id: issSub('nobody') }

  test.each<[string, number, unknown, Record<string, string>]>([
    ['good', 204, good, {}],
    ['no secret', 401, good, { authorization: '' }],
    ['a wrong secret', 401, good, { authorization: 'Bearer wrong' }],
    ['another scheme', 401, good, { authorization: `Basic ${SECRET}` }],
    ['another type', 400, good, { 'content-type': 'text/plain' }],
    ['no JSON', 400, '{', {}],
    ['no subject', 400, {}, {}],
    ['an unknown issuer', 404, { sub_id: { format: 'jwt_id', iss: 'https://x.test', jti: 'a' } }, {}],
    ['too long', 413, 'x'.repeat(20_000), {}],
  ])('%s: %i', async (_, status, body, headers) => {
    expect((await call(body, headers)).status).toBe(status)
  })

  test('GET is 405, and a refusal is counted and audited', async () => {
    expect((await call(undefined, {}, 'GET')).status).toBe(405)
    const before = await stage.postern.metric('postern_revocations_total{source="admin",result="refused"}')
    stage.postern.clock.advance(1000)
    const known = (await stage.postern.records()).length
    // Whoever has no secret must not fill the disk: one record a second.
    for (let i = 0; i < 20; i++) await call(good, { authorization: 'Bearer wrong' })
    expect(await stage.postern.metric('postern_revocations_total{source="admin",result="refused"}')).toBe(
      before + 20,
    )
    const refused = { action: 'revoke', decision: 'deny', reason: 'unauthenticated' }
    expect((await stage.postern.records()).slice(known)).toMatchObject([refused])
    stage.postern.clock.advance(1000)
    await call(good, { authorization: 'Bearer wrong' })
    expect((await stage.postern.records()).slice(known)).toMatchObject([refused, refused])
  })

  test('without `revocation.secretFile` there is no such call', async () => {
    const postern = await stage.anotherPostern()
    expect(await order(issSub('u1'), 'revoke', postern)).toBe(405)
  })
})

test('REV-02 the operator’s list cuts and keeps out while somebody stands in it', async () => {
  const postern = await stage.anotherPostern(revoking({ listFile: 'list' }))
  const list = (text: string): Promise<void> => writeFile(join(postern.directory, 'list'), text)
  const client = await stage.agent('scout', { user: 'u1' }, postern)
  const other = await stage.agent('analyst', { user: 'u2' }, postern)
  await list(JSON.stringify([issSub('u1')]))
  await postern.app.reload()
  expect(await ended(client)).toBe(0x98)
  other.send(PINGREQ)
  await other.next('pingresp')
  nextSecond(postern)
  expect((await stage.tryConnect('scout', { user: 'u1' }, postern)).connack.reasonCode).toBe(0x87)
  // A list that cannot be read leaves the former one in force.
  await list('[{"format":"iss_sub"}]')
  await postern.app.reload()
  expect((await stage.tryConnect('scout', { user: 'u1' }, postern)).connack.reasonCode).toBe(0x87)
  expect(await postern.metric(`postern_reloads_total{what="revocation",result="failed"}`)).toBeGreaterThan(0)
  await list('[]')
  await postern.app.reload()
  await stage.agent('scout', { user: 'u1' }, postern)
})
