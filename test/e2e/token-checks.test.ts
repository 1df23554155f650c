// Tokens that their issuer takes back: by its status list, or by its answer when it is asked. The whole path, with a real
// broker. Ids: identity-standards.md 13.7 (REV).
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { auth, connect, prop } from '../support/frames.ts'
import type { TestPostern } from '../support/postern.ts'
import type { RawClient } from '../support/raw-client.ts'
import { openStage, type Stage } from '../support/stage.ts'
import { TokenStatus } from '../support/token-status.ts'

const SECRET = 'a secret+of=the proxy'
let stage: Stage
let status: TokenStatus
let postern: TestPostern

beforeAll(async () => {
  stage = await openStage()
})
beforeEach(async () => {
  status = await TokenStatus.start(stage.postern.issuer)
})
afterEach(async () => {
  await postern?.stop()
  await status.stop()
})
afterAll(() => stage?.stop())

async function start(issuer: object): Promise<void> {
  const { issuer: idp, clock } = stage.postern
  const config = { clientId: { binding: 'prefix', separator: '~' } }
  postern = await stage.anotherPostern({
    idp,
    clock,
    issuer: { ...issuer },
    files: { secret: SECRET },
    config,
  })
}

const lists = (more: object = {}): object => ({
  statusList: {
    draft: 'draft-ietf-oauth-status-list-21',
    uris: `${status.origin}/status/`,
    maxAge: '10s',
    ...more,
  },
})
const asking = (more: object = {}): object => ({
  introspection: {
    url: `${status.origin}/introspect`,
    clientId: 'the proxy',
    secretFile: 'secret',
    cache: '10s',
    ...more,
  },
})

const agent = (claims: Record<string, unknown>, clientId = 'scout'): Promise<RawClient> =>
  stage.agent('scout', { claims, clientId }, postern)
async function refusal(claims: Record<string, unknown>): Promise<[number | undefined, string | undefined]> {
  const { connack } = await stage.tryConnect('scout', { claims }, postern)
  return [connack.reasonCode, (await postern.records()).findLast((r) => r.action === 'connect')?.reason]
}
async function ended(client: RawClient): Promise<number | undefined> {
  const { reasonCode } = await client.next('disconnect')
  await client.closed()
  return reasonCode
}
const nextRound = (): void => postern.clock.advance(10_001)
const checks = (source: string, result: string): Promise<number> =>
  postern.metric(`postern_token_checks_total{source="${source}",result="${result}"}`)

describe('REV-13 status list', () => {
  test('valid is let in; invalid, suspended and whatever else is refused like a bad token', async () => {
    await start(lists())
    status.statuses.set(1, 1).set(2, 2).set(3, 3)
    await agent({ status: status.claim(0) })
    for (const index of [1, 2, 3]) {
      expect(await refusal({ status: status.claim(index) })).toEqual([0x86, 'status_not_valid'])
    }
    // One list, asked for once.
    expect(status.asked).toEqual(['/status/1'])
  })

  test('a change cuts who is connected at the next look, spares the others, and a suspension can end', async () => {
    await start(lists())
    const [bad, good] = [
      await agent({ status: status.claim(4), jti: 'j4' }, 'scout~4'),
      await agent({ status: status.claim(5) }, 'scout~5'),
    ]
    status.statuses.set(4, 2)
    nextRound()
    expect(await ended(bad)).toBe(0x98)
    await good.ping()
    expect((await postern.records()).findLast((r) => r.action === 'revoke')).toMatchObject({
      reason: 'status_not_valid',
      effect: '1 cut',
      cause: { source: 'status_list', selector: { token: { jti: 'j4' } } },
    })
    expect(await refusal({ status: status.claim(4), jti: 'j4' })).toEqual([0x86, 'status_not_valid'])
    status.statuses.delete(4)
    nextRound()
    await agent({ status: status.claim(4), jti: 'j4' }, 'scout~4')
    expect(await checks('status_list', 'refused')).toBeGreaterThan(0)
  })

  test('a token names no place but its issuer’s, and an entry that is there', async () => {
    await start(lists())
    const elsewhere = (uri: string): object => ({ status_list: { idx: 0, uri } })
    const { origin } = status
    for (const uri of [
      `${origin}/other/1`,
      `${origin}/status/../other/1`,
      'http://169.254.169.254/status/1',
      `${origin.replace('127.0.0.1', '127.0.0.2')}/status/1`,
      `${origin}@other.test/status/1`,
    ]) {
      expect(await refusal({ status: elsewhere(uri) })).toEqual([0x86, 'status_bad_reference'])
    }
    expect(status.asked).toEqual([])
    expect(await refusal({ status: status.claim(64) })).toEqual([0x86, 'status_bad_reference'])
    expect(await refusal({ status: 'valid' })).toEqual([0x86, 'status_bad_reference'])
    expect(await refusal({})).toEqual([0x86, 'status_missing'])
  })

  test('`required: false` lets a token without a status in, and only that', async () => {
    await start(lists({ required: false }))
    await agent({})
    expect(await refusal({ status: { status_list: {} } })).toEqual([0x86, 'status_bad_reference'])
  })

  test('a list that cannot be had, or is not to be believed, refuses with 0x88; who is connected stays', async () => {
    await start(lists())
    const client = await agent({ status: status.claim(0) })
    status.isDown = true
    nextRound()
    await expect.poll(() => checks('status_list', 'unavailable')).toBeGreaterThan(0)
    await client.ping()
    expect(await refusal({ status: status.claim(0) })).toEqual([0x88, 'status_unavailable'])
    status.isDown = false
    status.listClaims = { sub: 'https://other.test/' }
    nextRound()
    expect(await refusal({ status: status.claim(0) })).toEqual([0x88, 'status_unavailable'])
    status.listClaims = { ttl: 3600 }
    nextRound()
    const again = await agent({ status: status.claim(0) }, 'scout~2')
    // As long as the list itself says, it is used when its server is down.
    status.isDown = true
    nextRound()
    await agent({ status: status.claim(0) }, 'scout~3')
    await again.ping()
  })

  test('a renewal is looked up too', async () => {
    await start(lists())
    status.statuses.set(1, 1)
    const client = await stage.socket(postern)
    const data = async (index: number): Promise<Buffer[]> => [
      prop.authenticationMethod('OAUTH2-JWT'),
      prop.authenticationData(
        await stage.token('scout', { claims: { status: status.claim(index) } }, postern),
      ),
    ]
    client.send(connect({ properties: await data(0) }))
    expect(await client.next('connack')).toMatchObject({ reasonCode: 0 })
    client.send(auth(0x19, await data(1)))
    expect(await ended(client)).toBe(0x87)
  })
})

describe('REV-14 introspection', () => {
  test('active is let in with one question, by client_secret_basic; inactive is refused', async () => {
    await start(asking())
    status.inactive.add('gone')
    await agent({ jti: 'a' }, 'scout~1')
    expect(status.asked).toEqual(['/introspect'])
    const credential = Buffer.from('the+proxy:a+secret%2Bof%3Dthe+proxy').toString('base64')
    expect(status.authorization).toBe(`Basic ${credential}`)
    expect(await refusal({ jti: 'gone' })).toEqual([0x86, 'not_active'])
  })

  test('an answer is kept for a short time, and never past the end that it names', async () => {
    await start(asking())
    const token = await stage.token('scout', { claims: { jti: 'k' } }, postern)
    const tryToken = async (): Promise<number | undefined> => {
      const client = await stage.socket(postern)
      client.send(connect({ password: token }))
      return (await client.next('connack')).reasonCode
    }
    status.answer = { exp: Math.floor(postern.clock.now() / 1000) + 5 }
    expect([await tryToken(), await tryToken(), status.asked.length]).toEqual([0, 0, 1])
    postern.clock.advance(5_001)
    expect([await tryToken(), status.asked.length]).toEqual([0x86, 2])
  })

  test('`active: false` cuts a live connection at the next question, and only that', async () => {
    await start(asking())
    const bad = await agent({ jti: 'b' }, 'scout~1')
    const good = await agent({ jti: 'c' }, 'scout~2')
    status.inactive.add('b')
    nextRound()
    expect(await ended(bad)).toBe(0x98)
    await good.ping()
    expect((await postern.records()).findLast((r) => r.action === 'revoke')).toMatchObject({
      reason: 'not_active',
      effect: '1 cut',
      cause: { source: 'introspection', selector: { token: { jti: 'b' } } },
    })
    expect(await postern.metric('postern_revocations_total{source="introspection",result="done"}')).toBe(1)
  })

  test('an issuer that cannot be asked refuses with 0x88; who is connected stays until asked with success', async () => {
    await start(asking())
    const client = await agent({ jti: 'd' })
    status.isDown = true
    nextRound()
    await expect.poll(() => checks('introspection', 'unavailable')).toBe(1)
    await client.ping()
    expect(await refusal({ jti: 'e' })).toEqual([0x88, 'introspection_unavailable'])
    status.isDown = false
    status.inactive.add('d')
    nextRound()
    expect(await ended(client)).toBe(0x98)
  })
})
