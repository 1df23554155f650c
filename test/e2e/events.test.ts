// Security events from an identity provider end live connections: SSF 1.0 by push (RFC 8935) and poll (RFC 8936). Ids:
// identity-standards.md 13.7 (REV).
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { CAEP, EVENT_AUDIENCE, RISC, type SetOptions, SSF, signSet, Transmitter } from '../support/events.ts'
import type { TestPostern } from '../support/postern.ts'
import type { RawClient } from '../support/raw-client.ts'
import { Redis } from '../support/redis.ts'
import { openStage, type Stage, type StageOptions } from '../support/stage.ts'
import { TEST_ISSUER, TestIssuer } from '../support/tokens.ts'

const SECRET = 'a-secret-of-the-transmitter'
let stage: Stage

beforeAll(async () => {
  stage = await openStage(streaming())
})
beforeEach(() => stage.observer.seen())
afterAll(() => stage?.stop())

function streaming(stream: Record<string, unknown> = {}, more: StageOptions = {}): StageOptions {
  return {
    ...more,
    files: { secret: SECRET },
    issuer: { claims: { tenant: 'org_id', attributes: { email: 'email' } } },
    config: {
      clientId: { binding: 'prefix', separator: '~' },
      revocation: {
        file: 'revocations.jsonl',
        events: [
          {
            name: 'idp',
            issuer: TEST_ISSUER,
            audience: EVENT_AUDIENCE,
            jwks: { file: 'jwks.json' },
            secretFile: 'secret',
            ...stream,
          },
        ],
      },
      ...more.config,
    },
  }
}

/** Of one identity provider, at one time. */
const same = (): Pick<StageOptions, 'idp' | 'clock'> => ({
  idp: stage.postern.issuer,
  clock: stage.postern.clock,
})

const issSub = (sub: string): object => ({ format: 'iss_sub', iss: TEST_ISSUER, sub })

async function push(
  set: string,
  headers: Record<string, string> = {},
  postern: TestPostern = stage.postern,
): Promise<{ status: number; body: string }> {
  const response = await fetch(`${postern.app.adminUrl}/events/idp`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${SECRET}`,
      'content-type': 'application/secevent+jwt',
      ...headers,
    },
    body: set,
  })
  return { status: response.status, body: await response.text() }
}

const set = (type: string, sub_id?: object, options?: SetOptions): Promise<string> =>
  signSet(stage.postern.issuer, type, sub_id, options)

async function ended(client: RawClient): Promise<number | undefined> {
  const { reasonCode } = await client.next('disconnect')
  await client.closed()
  return reasonCode
}

const lastRevoke = async (postern = stage.postern) =>
  (await postern.records()).findLast((record) => record.action === 'revoke')

describe('REV-08 push', () => {
  test('a good SET is 202 with nothing in it, and the cut is done', async () => {
    const client = await stage.agent('scout', { user: 'p1' })
    const other = await stage.agent('scout', { user: 'p2', clientId: 'scout~2' })
    const jti = 'event-1'
    const answer = await push(
      await set(`${CAEP}session-revoked`, issSub('p1'), {
        claims: { jti, txn: 't-7' },
        payload: { initiating_entity: 'admin' },
      }),
    )
    expect(answer).toEqual({ status: 202, body: '' })
    expect(await ended(client)).toBe(0x98)
    await other.ping()
    expect(await lastRevoke()).toMatchObject({
      reason: 'revoke',
      effect: '1 cut',
      cause: { source: 'push', event: { jti, txn: 't-7', initiator: 'admin' } },
    })
  })

  test('AUD-13 the record of each connection that was cut names the SET and its txn', async () => {
    const clients = [
      await stage.agent('scout', { user: 'p8' }),
      await stage.agent('scout', { user: 'p8', clientId: 'scout~8' }),
    ]
    await push(await set(`${CAEP}session-revoked`, issSub('p8'), { claims: { jti: 'event-8', txn: 't-8' } }))
    for (const client of clients) expect(await ended(client)).toBe(0x98)
    const cuts = (await stage.postern.records()).filter(
      ({ action, identity }) => action === 'disconnect' && identity?.human?.id === 'p8',
    )
    expect(cuts).toHaveLength(2)
    for (const { reason, cause } of cuts) {
      expect(reason).toBe('revoked')
      expect(cause).toMatchObject({ source: 'push', event: { jti: 'event-8', txn: 't-8' } })
    }
  })

  test('a SET that was done is known after a restart, and to the other replica of a store', async () => {
    const redis = await Redis.start()
    const directory = await mkdtemp(join(tmpdir(), 'postern-events-'))
    const replica = (name: string): Promise<TestPostern> => {
      const options = streaming({}, same())
      const revocation = { ...(options.config!['revocation'] as object), file: join(directory, name) }
      const config = { ...options.config, revocation, store: { url: redis.url } }
      return stage.anotherPostern({ ...options, config })
    }
    const orders = async (postern: TestPostern): Promise<number> =>
      (await postern.records()).filter(({ action, cause }) => action === 'revoke' && cause?.source === 'push')
        .length
    try {
      const [a, b] = [await replica('a.jsonl'), await replica('b.jsonl')]
      const event = await set(`${RISC}account-disabled`, issSub('p4'))
      expect((await push(event, {}, a)).status).toBe(202)
      expect((await push(event, {}, b)).status).toBe(202)
      expect([await orders(a), await orders(b)]).toEqual([1, 0])
      await a.app.stop({ withinMs: 0 })
      await redis.stop()
      const again = await replica('a.jsonl')
      expect((await push(event, {}, again)).status).toBe(202)
      expect(await orders(again)).toBe(0)
      // A new one cannot be told to the other: it is to come again.
      const next = await set(`${RISC}account-disabled`, issSub('p5'))
      expect(await push(next, {}, again)).toEqual({
        status: 503,
        body: 'The other replicas cannot be told at the moment.\n',
      })
    } finally {
      await redis.remove()
      await rm(directory, { recursive: true, force: true })
    }
  })

  test('the same SET again is 202 and done once', async () => {
    const again = await set(`${CAEP}session-revoked`, issSub('p3'))
    expect((await push(again)).status).toBe(202)
    const before = (await stage.postern.records()).filter((record) => record.action === 'revoke').length
    expect((await push(again)).status).toBe(202)
    expect((await stage.postern.records()).filter((record) => record.action === 'revoke').length).toBe(before)
  })

  const revoked = `${CAEP}session-revoked`
  test.each<[string, string, SetOptions, string]>([
    ['no SET by its type', 'invalid_request', { header: { typ: 'at+jwt' } }, 'wrong_token_type'],
    ['no type', 'invalid_request', { header: { typ: undefined } }, 'wrong_token_type'],
    ['of another issuer', 'invalid_issuer', { claims: { iss: 'https://x.test' } }, 'unknown_issuer'],
    ['for another audience', 'invalid_audience', { claims: { aud: 'x' } }, 'wrong_audience'],
    ['without jti', 'invalid_request', { claims: { jti: undefined } }, 'missing_jti'],
    ['without iat', 'invalid_request', { claims: { iat: undefined } }, 'bad_iat'],
    ['of the future', 'invalid_request', { claims: { iat: 32503680000 } }, 'issued_in_future'],
    ['with sub', 'invalid_request', { claims: { sub: 'p1' } }, 'has_sub'],
    ['with exp', 'invalid_request', { claims: { exp: 32503680000 } }, 'has_exp'],
    ['without events', 'invalid_request', { claims: { events: {} } }, 'not_one_event'],
    ['with two events', 'invalid_request', { claims: { events: { a: {}, b: {} } } }, 'not_one_event'],
    ['with an event that is none', 'invalid_request', { claims: { events: { a: 'b' } } }, 'not_one_event'],
    ['without a subject', 'invalid_request', { claims: { sub_id: undefined } }, 'no_subject'],
    ['with another key', 'invalid_key', { header: { kid: 'x' } }, 'unknown_key'],
  ])('a SET %s is 400 %s', async (_, err, options, reason) => {
    const answer = await push(await set(revoked, issSub('p4'), options))
    expect(answer.status).toBe(400)
    expect(JSON.parse(answer.body)).toMatchObject({ err, description: expect.any(String) })
    expect(await lastRevoke()).toMatchObject({ decision: 'deny', reason })
  })

  test('a forged SET is 400 authentication_failed, garbage 400 invalid_request', async () => {
    const other = await TestIssuer.create(stage.postern.clock)
    const forged = await signSet(other, revoked, issSub('p4'), {
      header: { kid: stage.postern.issuer.publicKey.kid },
    })
    expect(JSON.parse((await push(forged)).body)).toMatchObject({ err: 'authentication_failed' })
    for (const text of ['', 'a.b', 'x'.repeat(1000)]) {
      expect(JSON.parse((await push(text)).body)).toMatchObject({ err: 'invalid_request' })
    }
  })

  test('without the secret 401, with another type 400, too long 413', async () => {
    const good = await set(revoked, issSub('p4'))
    expect((await push(good, { authorization: 'Bearer x' })).status).toBe(401)
    expect((await push(good, { 'content-type': 'application/jwt' })).status).toBe(400)
    expect((await push('x'.repeat(70_000))).status).toBe(413)
  })
})

describe('REV-10 what an event asks for', () => {
  /** Whether the connection is cut, and whether the next token is let in. */
  async function effectOf(
    user: string,
    type: string,
    payload: object = {},
    stream: Record<string, unknown> = {},
  ): Promise<string> {
    const postern = await stage.anotherPostern(streaming(stream, same()))
    const client = await stage.agent('scout', { user }, postern)
    expect((await push(await set(type, issSub(user), { payload }), {}, postern)).status).toBe(202)
    const isCut = postern.app.connections === 0
    if (isCut) expect(await ended(client)).toBe(0x98)
    postern.clock.advance(2_000)
    const { connack } = await stage.tryConnect('scout', { user, clientId: 'scout~n' }, postern)
    return `${isCut ? 'cut' : 'stays'}, ${connack.reasonCode === 0 ? 'may return' : 'kept out'}`
  }

  test.each<[string, object, string, Record<string, unknown>?]>([
    [`${CAEP}session-revoked`, {}, 'cut, may return'],
    [`${RISC}account-disabled`, {}, 'cut, kept out'],
    [`${RISC}account-purged`, {}, 'cut, kept out'],
    [`${CAEP}credential-change`, { change_type: 'revoke' }, 'cut, may return'],
    [`${CAEP}credential-change`, { change_type: 'delete' }, 'cut, may return'],
    [`${CAEP}credential-change`, { change_type: 'create' }, 'stays, may return'],
    [`${RISC}credential-compromise`, {}, 'cut, may return'],
    [`${CAEP}token-claims-change`, { claims: {} }, 'cut, may return'],
    [`${CAEP}risk-level-change`, { current_level: 'HIGH' }, 'stays, may return'],
    [`${CAEP}risk-level-change`, { current_level: 'HIGH' }, 'cut, may return', { onRisk: 'revoke' }],
    [`${CAEP}risk-level-change`, { current_level: 'LOW' }, 'stays, may return', { onRisk: 'revoke' }],
    [
      `${CAEP}device-compliance-change`,
      { current_status: 'not-compliant' },
      'cut, may return',
      { onRisk: 'revoke' },
    ],
    ['https://x.test/another-event', {}, 'stays, may return'],
  ])('%s %j: %s', async (type, payload, expected, stream) => {
    expect(await effectOf('m1', type, payload, stream)).toBe(expected)
  })

  test('account-enabled ends the disabled state; one that is older than the word it follows does not', async () => {
    const now = Math.floor(stage.postern.clock.now() / 1000)
    const at = (type: string, event_timestamp: number): Promise<string> =>
      set(type, issSub('m2'), { payload: { event_timestamp } })
    await push(await at(`${RISC}account-disabled`, now - 10))
    await push(await at(`${RISC}account-enabled`, now - 20))
    expect((await stage.tryConnect('scout', { user: 'm2' })).connack.reasonCode).toBe(0x87)
    expect(await lastRevoke()).toMatchObject({ reason: 'outdated' })
    await push(await at(`${RISC}account-enabled`, now - 5))
    expect((await stage.tryConnect('scout', { user: 'm2' })).connack.reasonCode).toBe(0)
  })

  test('REV-04 an event that comes late spares whoever has got a new token since', async () => {
    const now = Math.floor(stage.postern.clock.now() / 1000)
    const client = await stage.agent('scout', { user: 'm3', claims: { iat: now } })
    const payload = { event_timestamp: now - 600 }
    await push(await set(`${CAEP}session-revoked`, issSub('m3'), { payload }))
    await client.ping()
  })
})

describe('REV-11 subjects', () => {
  async function isMet(subject: object, stream: Record<string, unknown> = {}): Promise<boolean> {
    const postern = await stage.anotherPostern(streaming(stream, same()))
    const claims = { jti: 's-1', email: 'u@idp.test' }
    await stage.agent('scout', { user: 's1', claims }, postern)
    expect((await push(await set(`${CAEP}session-revoked`, subject), {}, postern)).status).toBe(202)
    return postern.app.connections === 0
  }
  const complex = (members: object): object => ({ format: 'complex', ...members })
  const device = { format: 'opaque', id: 'd' }

  test.each<[boolean, object, Record<string, unknown>?]>([
    [true, issSub('s1')],
    [true, issSub('scout')],
    [false, issSub('s2')],
    [true, { format: 'jwt_id', iss: TEST_ISSUER, jti: 's-1' }],
    [true, complex({ user: issSub('s1'), application: issSub('scout') })],
    [false, complex({ user: issSub('s1'), application: issSub('analyst') })],
    [true, complex({ tenant: { format: 'opaque', id: 'org_a' } })],
    [true, { format: 'email', email: 'u@idp.test' }, { email: true }],
    [false, { format: 'email', email: 'u@idp.test' }],
    [true, { format: 'opaque', id: 's1' }, { opaque: true }],
    [false, { format: 'opaque', id: 's1' }],
    [false, complex({ user: issSub('s1'), device })],
    [true, complex({ user: issSub('s1'), device }), { criticalMembers: [] }],
    [false, complex({ device }), { criticalMembers: [] }],
    [false, { format: 'phone_number', phone_number: '+1' }],
  ])('%s: %j %j', async (expected, subject, stream) => {
    expect(await isMet(subject, stream)).toBe(expected)
  })
})

describe('REV-12, REV-16 signs of life', () => {
  const verification = (): Promise<string> =>
    set(`${SSF}verification`, { format: 'opaque', id: 'stream' }, { payload: { state: 'x' } })
  const age = 'postern_event_verification_age_seconds{stream="idp"}'
  const checks = async (postern: TestPostern) => {
    const { checks } = (await (await fetch(`${postern.app.adminUrl}/readyz`)).json()) as {
      checks: { name: string; ok: boolean }[]
    }
    return checks.find(({ name }) => name === 'events')?.ok
  }

  test('a verification event is 202; its age is a metric', async () => {
    const postern = await stage.anotherPostern(streaming({}, same()))
    expect(await postern.metric(age)).toBe(Number.NaN)
    expect((await push(await verification(), {}, postern)).status).toBe(202)
    postern.clock.advance(30_000)
    expect(await postern.metric(age)).toBeGreaterThanOrEqual(30)
    expect(await lastRevoke(postern)).toMatchObject({ reason: 'verification', effect: 'nothing' })
  })

  test.each(['continue', 'deny'])('REV-16 silence beyond the limit: not ready; %s', async (onSilence) => {
    const postern = await stage.anotherPostern(streaming({ silence: '60s', onSilence }, same()))
    expect(await checks(postern)).toBe(true)
    postern.clock.advance(61_000)
    expect(await checks(postern)).toBe(false)
    const { connack } = await stage.tryConnect('scout', { user: 'v1' }, postern)
    expect(connack.reasonCode).toBe(onSilence === 'deny' ? 0x88 : 0)
    await push(await verification(), {}, postern)
    expect(await checks(postern)).toBe(true)
    await stage.agent('scout', { user: 'v1', clientId: 'scout~2' }, postern)
  })
})

describe('REV-09 poll', () => {
  let transmitter: Transmitter

  beforeEach(async () => {
    transmitter = await Transmitter.start()
    return () => transmitter.stop()
  })
  const polling = (): Promise<TestPostern> =>
    stage.anotherPostern(streaming({ poll: { url: transmitter.url, interval: '100ms' } }, same()))
  const acked = (jti: string): boolean => transmitter.polls.some((poll) => poll.ack.includes(jti))

  test('an event is acknowledged with the poll after its cut is audited', async () => {
    const postern = await polling()
    const client = await stage.agent('scout', { user: 'q1' }, postern)
    transmitter.queue.set('e1', await set(`${CAEP}session-revoked`, issSub('q1'), { claims: { jti: 'e1' } }))
    await transmitter.until(() => acked('e1'))
    expect(await ended(client)).toBe(0x98)
    expect(await lastRevoke(postern)).toMatchObject({
      effect: '1 cut',
      cause: { source: 'poll', event: { jti: 'e1' } },
    })
    expect(transmitter.authorization).toBe(`Bearer ${SECRET}`)
    expect(transmitter.polls[0]).toMatchObject({ returnImmediately: true, ack: [], setErrs: {} })
  })

  test('what cannot be used goes into setErrs, and holds up nothing', async () => {
    await polling()
    transmitter.queue.set(
      'bad',
      await set(`${CAEP}session-revoked`, issSub('q2'), { claims: { jti: 'bad', aud: 'x' } }),
    )
    transmitter.queue.set('worse', 'a.b')
    transmitter.queue.set(
      'good',
      await set(`${CAEP}session-revoked`, issSub('q2'), { claims: { jti: 'good' } }),
    )
    await transmitter.until(() => acked('good'))
    const errors = Object.assign({}, ...transmitter.polls.map((poll) => poll.setErrs))
    expect(errors).toMatchObject({ bad: { err: 'invalid_audience' }, worse: { err: 'invalid_request' } })
  })

  test('moreAvailable is followed at once, in order', async () => {
    transmitter.batch = 1
    for (const jti of ['a', 'b', 'c']) {
      transmitter.queue.set(jti, await set(`${CAEP}session-revoked`, issSub('q3'), { claims: { jti } }))
    }
    await polling()
    await transmitter.until(() => acked('c'))
    expect(transmitter.polls.flatMap((poll) => poll.ack)).toEqual(['a', 'b', 'c'])
  })

  test('a process that ended before the acknowledgement gets the event again, with the same result', async () => {
    transmitter.queue.set('e2', await set(`${CAEP}session-revoked`, issSub('q4'), { claims: { jti: 'e2' } }))
    // As after a crash: the transmitter has not heard of the acknowledgement.
    const first = await polling()
    await transmitter.until(() => acked('e2'))
    await first.app.stop({ withinMs: 0 })
    transmitter.polls.length = 0
    transmitter.queue.set('e2', await set(`${CAEP}session-revoked`, issSub('q4'), { claims: { jti: 'e2' } }))
    await polling()
    await transmitter.until(() => acked('e2'))
  })

  test('a transmitter that fails is asked ever less often, and told of', async () => {
    transmitter.status = 500
    const postern = await polling()
    await transmitter.until(() => transmitter.polls.length >= 3)
    expect(postern.log).toContainEqual(
      expect.objectContaining({ message: 'security events could not be polled' }),
    )
    transmitter.status = 200
    transmitter.queue.set('e3', await set(`${CAEP}session-revoked`, issSub('q5'), { claims: { jti: 'e3' } }))
    postern.clock.advance(300_000)
    await transmitter.until(() => acked('e3'))
  })
})

test('a secret can be changed without a restart', async () => {
  const postern = await stage.anotherPostern(streaming({}, same()))
  const fresh = 'another-secret-altogether'
  await writeFile(join(postern.directory, 'secret'), fresh)
  await postern.app.reload()
  const one = await set(`${CAEP}session-revoked`, issSub('z'))
  expect((await push(one, {}, postern)).status).toBe(401)
  expect((await push(one, { authorization: `Bearer ${fresh}` }, postern)).status).toBe(202)
})
