// The token endpoint as a client meets it, over HTTP.
import { readFileSync, writeFileSync } from 'node:fs'
import { createLocalJWKSet, decodeJwt, decodeProtectedHeader, type JSONWebKeySet, jwtVerify } from 'jose'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { readAif } from '../../src/identity/ceiling.ts'
import { writeNewKey } from '../../src/sts/signing-keys.ts'
import { IdpStub, STUB_IDP } from '../support/idp-stub.ts'
import { ASSERTION_TYPE, SCOUT_SECRET, STS_AUDIENCE, STS_ISSUER, TestSts } from '../support/sts.ts'

const SCOPES = {
  cards: [['agents/+/card', ['sub']]],
  inbox: [
    ['tasks/scout/inbox', ['sub']],
    ['tasks/+/inbox', ['pub']],
  ],
}
const SETTINGS = {
  scopes: SCOPES,
  clients: [
    { id: 'scout-client', agent: { sub: 'scout' }, secretFile: 'scout.secret' },
    { id: 'scoped', agent: { sub: 'reader' }, secretFile: 'scout.secret', scopes: ['cards', 'inbox'] },
    {
      id: 'analyst-client',
      agent: { sub: 'analyst', iss: 'https://agents.example' },
      jwks: { file: 'analyst.json' },
    },
    {
      id: 'elsewhere',
      agent: { sub: 'other' },
      secretFile: 'scout.secret',
      providers: ['https://b.example'],
    },
  ],
  providers: [
    { issuer: STUB_IDP, jwks: { file: 'idp.json' }, algorithms: ['ES256'], subjectPrefix: 'a:' },
    {
      issuer: 'https://b.example',
      jwks: { file: 'idp.json' },
      subjectPrefix: 'b:',
      ...{ tenantClaim: 'tenant', tenants: ['acme'] },
    },
  ],
  limits: { failedTries: 1_000 },
}
let sts: TestSts
const started: TestSts[] = []

async function start(changes: Record<string, unknown> = {}): Promise<TestSts> {
  const test = await TestSts.start(changes)
  started.push(test)
  return test
}

beforeAll(async () => {
  sts = await TestSts.start(SETTINGS)
})
afterAll(() => sts.remove())
afterEach(async () => {
  for (const test of started.splice(0)) await test.remove()
})

/** An assertion of `analyst-client`. */
async function byKey(claims = {}, header = {}): Promise<Record<string, string | undefined>> {
  return {
    client_id: undefined,
    client_secret: undefined,
    client_assertion_type: ASSERTION_TYPE,
    client_assertion: await sts.analyst.assertion('analyst-client', STS_ISSUER, claims, header),
  }
}

describe('a token', () => {
  it('DEL-13 names the human as sub and the agent as act, lives five minutes, and comes alone', async () => {
    const { status, headers, body } = await sts.ask({ assertion: await sts.idp.jag() })
    expect(status).toBe(200)
    expect(headers.get('cache-control')).toBe('no-store')
    expect(Object.keys(body).sort()).toEqual(['access_token', 'expires_in', 'token_type'])
    expect(body).toMatchObject({ token_type: 'Bearer', expires_in: 300 })
    const jwks = (await (await fetch(`${sts.url}/.well-known/jwks.json`)).json()) as JSONWebKeySet
    const { payload } = await jwtVerify(body['access_token'] as string, createLocalJWKSet(jwks), {
      issuer: STS_ISSUER,
      audience: STS_AUDIENCE,
      typ: 'at+jwt',
    })
    expect(payload).toMatchObject({
      sub: 'a:alice',
      act: { iss: STS_ISSUER, sub: 'scout' },
      client_id: 'scout-client',
      jti: expect.stringMatching(/^[0-9a-f-]{36}$/),
    })
    expect(payload.exp! - payload.iat!).toBe(300)
    expect(payload).not.toHaveProperty('scope')
  })

  it('DEL-13 carries the tenant, authorization_details and txn of the assertion', async () => {
    const b = await IdpStub.create(sts.clock, STS_ISSUER, 'https://b.example')
    const test = await start(SETTINGS)
    test.write('idp.json', b.jwks())
    await test.restart()
    const details = [{ type: 'urn:postern:mqtt', actions: ['publish'], topics: ['t'] }]
    const assertion = await b.jag({ tenant: 'acme', authorization_details: details, txn: 'order-1' })
    const { body } = await test.ask({ assertion })
    expect(decodeJwt(body['access_token'] as string)).toMatchObject({
      sub: 'b:alice',
      org_id: 'acme',
      authorization_details: details,
      txn: 'order-1',
    })
    expect((await test.ask({ assertion: await b.jag() })).body['error']).toBe('invalid_grant')
    // Another provider's tenant is not its to name.
    const foreign = await b.jag({ tenant: 'globex' })
    expect((await test.ask({ assertion: foreign })).body['error']).toBe('invalid_grant')
  })

  it.each([
    ['all that the client may have, when the assertion names none', undefined, undefined, 'cards inbox'],
    ['what the assertion grants, within the client’s', 'inbox mail', undefined, 'inbox'],
    ['what is asked for, within both', 'cards inbox', 'cards', 'cards'],
  ])('DEL-13 scope: %s', async (_, granted, scope, names) => {
    const assertion = await sts.idp.jag({ client_id: 'scoped', scope: granted })
    const { body } = await sts.ask({ client_id: 'scoped', assertion, scope })
    expect(body['scope']).toBe(names)
    const { scope: claim } = decodeJwt(body['access_token'] as string)
    const expected = names.split(' ').flatMap((name) => SCOPES[name as keyof typeof SCOPES])
    expect(readAif(claim)).toEqual(readAif(expected))
    expect(readAif(claim).length).toBeGreaterThan(0)
  })

  it.each([
    ['the assertion grants nothing that the client may have', 'scoped', 'mail', undefined],
    ['more is asked for than the assertion grants', 'scoped', 'cards', 'cards inbox'],
    ['a scope that nobody knows', 'scoped', undefined, 'mail'],
    ['a client without scopes asks for one', 'scout-client', undefined, 'cards'],
    ['an assertion that limits a client without scopes', 'scout-client', 'cards', undefined],
  ])('DEL-13 invalid_scope: %s', async (_, client, granted, scope) => {
    const assertion = await sts.idp.jag({ client_id: client, scope: granted })
    const answer = await sts.ask({ client_id: client, assertion, scope })
    expect([answer.status, answer.body['error']]).toEqual([400, 'invalid_scope'])
  })
})

describe('an assertion against a rule', () => {
  const now = () => Math.floor(sts.clock.now() / 1000)
  const rows: [string, string, () => Promise<string>][] = [
    ['of another type', 'wrong_token_type', () => sts.idp.jag({}, { typ: 'JWT' })],
    ['an access token', 'wrong_token_type', () => sts.idp.jag({}, { typ: 'at+jwt' })],
    ['with a critical extension', 'unsupported_crit', () => sts.idp.jag({}, { crit: ['b64'], b64: true })],
    ['for another server', 'wrong_audience', () => sts.idp.jag({ aud: 'https://other.example' })],
    ['for the token endpoint’s URL', 'wrong_audience', () => sts.idp.jag({ aud: `${STS_ISSUER}/token` })],
    ['for two servers', 'wrong_audience', () => sts.idp.jag({ aud: [STS_ISSUER, 'https://other.example'] })],
    ['for nobody', 'wrong_audience', () => sts.idp.jag({ aud: undefined })],
    ['of another client', 'client_mismatch', () => sts.idp.jag({ client_id: 'analyst-client' })],
    ['of no client', 'missing_claim', () => sts.idp.jag({ client_id: undefined })],
    ['without sub', 'missing_claim', () => sts.idp.jag({ sub: undefined })],
    ['without jti', 'missing_claim', () => sts.idp.jag({ jti: undefined })],
    ['without exp', 'missing_claim', () => sts.idp.jag({ exp: undefined })],
    ['without iat', 'missing_claim', () => sts.idp.jag({ iat: undefined })],
    ['expired', 'expired', () => sts.idp.jag({ iat: now() - 600, exp: now() - 60 })],
    ['issued in the future', 'issued_in_future', () => sts.idp.jag({ iat: now() + 120, exp: now() + 300 })],
    ['not valid yet', 'not_yet_valid', () => sts.idp.jag({ nbf: now() + 120 })],
    ['that lives too long', 'lifetime_too_long', () => sts.idp.jag({}, {}, 3_600_000)],
    ['bound to a key', 'proof_required', () => sts.idp.jag({ cnf: { jkt: 'a'.repeat(43) } })],
    ['with another agent', 'actor_mismatch', () => sts.idp.jag({ act: { iss: STS_ISSUER, sub: 'analyst' } })],
    [
      'with an agent of elsewhere',
      'actor_mismatch',
      () => sts.idp.jag({ act: { iss: 'https://x.example', sub: 'scout' } }),
    ],
    [
      'with a chain of agents',
      'actor_mismatch',
      () => sts.idp.jag({ act: { iss: STS_ISSUER, sub: 'scout', act: { iss: STS_ISSUER, sub: 'first' } } }),
    ],
    ['of an unknown provider', 'unknown_issuer', () => sts.idp.jag({ iss: 'https://evil.example' })],
    ['with a control character in sub', 'bad_claim', () => sts.idp.jag({ sub: 'ali\nce' })],
    ['with a scope that is no text', 'bad_claim', () => sts.idp.jag({ scope: ['cards'] })],
    [
      'with authorization_details that are no list',
      'bad_claim',
      () => sts.idp.jag({ authorization_details: 'all' }),
    ],
    [
      'with another algorithm',
      'algorithm_not_allowed',
      async () =>
        `${btoa('{"alg":"none","typ":"oauth-id-jag+jwt"}')}.${btoa(`{"iss":"${STUB_IDP}"}`).replaceAll('=', '')}.AA`,
    ],
    ['that is no JWT', 'malformed_token', async () => 'hello'],
    [
      'signed by somebody else',
      'bad_signature',
      async () => (await IdpStub.create(sts.clock, STS_ISSUER)).jag({}, { kid: undefined }),
    ],
  ]
  it.each(rows)('DEL-13 invalid_grant: %s (%s)', async (_, reason, assertion) => {
    const { status, headers, body } = await sts.ask({ assertion: await assertion() })
    expect([status, body['error'], sts.lastReason]).toEqual([400, 'invalid_grant', reason])
    expect(headers.get('cache-control')).toBe('no-store')
    expect(body).not.toHaveProperty('access_token')
  })

  it('DEL-13 invalid_grant: of a provider that this client may not use', async () => {
    const assertion = await sts.idp.jag({ client_id: 'elsewhere' })
    expect((await sts.ask({ client_id: 'elsewhere', assertion })).body['error']).toBe('invalid_grant')
  })

  it('DEL-13 the same agent may be named, and a resource of this server', async () => {
    const act = { iss: STS_ISSUER, sub: 'scout' }
    const resource = [STS_AUDIENCE, 'https://other.example']
    const assertion = await sts.idp.jag({ act, resource })
    expect((await sts.ask({ assertion, resource: STS_AUDIENCE })).status).toBe(200)
  })

  it.each([
    [{ resource: 'https://other.example' }, {}],
    [{}, { resource: 'https://other.example' }],
  ])('DEL-13 invalid_target: another resource %j %j', async (claims, form) => {
    const { status, body } = await sts.ask({ assertion: await sts.idp.jag(claims), ...form })
    expect([status, body['error']]).toEqual([400, 'invalid_target'])
  })
})

describe('one use', () => {
  it('DEL-13 an assertion is good once, also of ten that come together', async () => {
    const assertion = await sts.idp.jag()
    const answers = await Promise.all(Array.from({ length: 10 }, () => sts.ask({ assertion })))
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1)
    expect(answers.filter(({ body }) => body['error'] === 'invalid_grant')).toHaveLength(9)
  })

  it('DEL-13 a refused request does not use it up', async () => {
    const assertion = await sts.idp.jag()
    expect((await sts.ask({ assertion, scope: 'mail' })).status).toBe(400)
    expect((await sts.ask({ assertion })).status).toBe(200)
  })

  it('DEL-13 not after a restart either; it is forgotten when it has expired', async () => {
    const test = await start()
    const assertion = await test.idp.jag()
    expect((await test.ask({ assertion })).status).toBe(200)
    await test.restart()
    expect((await test.ask({ assertion })).body['error']).toBe('invalid_grant')
    expect(readFileSync(test.path('replay.jsonl'), 'utf8')).toMatch(/^\{"v":1,.*\}\n$/)
    test.clock.advance(331_000)
    await test.restart()
    expect(readFileSync(test.path('replay.jsonl'), 'utf8')).toBe('')
    expect((await test.ask({ assertion })).body['error']).toBe('invalid_grant')
  })

  it('DEL-13 a torn last line is dropped, another bad line stops the start', async () => {
    const test = await start()
    await test.ask({ assertion: await test.idp.jag() })
    const file = test.path('replay.jsonl')
    writeFileSync(file, `${readFileSync(file, 'utf8')}{"v":1,"id`)
    await test.restart()
    await test.sts.stop()
    writeFileSync(file, 'hello\n')
    await expect(test.restart()).rejects.toMatchObject({ code: 'ERR_STS_REPLAY' })
  })
})

describe('who asks', () => {
  const basic = (id: string, secret: string): Record<string, string> => ({
    authorization: `Basic ${Buffer.from(`${id}:${secret}`).toString('base64')}`,
  })
  const NO_SECRET = { client_id: undefined, client_secret: undefined }

  it('DEL-13 client_secret_basic, with encoded characters', async () => {
    const headers = basic('scout%2Dclient', SCOUT_SECRET.replaceAll('-', '%2d'))
    const answer = await sts.ask({ assertion: await sts.idp.jag(), ...NO_SECRET }, headers)
    expect(answer.status).toBe(200)
  })

  it('DEL-13 private_key_jwt; its assertion is good once', async () => {
    const form = await byKey()
    const jag = () => sts.idp.jag({ client_id: 'analyst-client' })
    const { status, body } = await sts.ask({ ...form, assertion: await jag() })
    expect(status).toBe(200)
    expect(decodeJwt(body['access_token'] as string)).toMatchObject({
      act: { iss: 'https://agents.example', sub: 'analyst' },
    })
    const again = await sts.ask({ ...form, assertion: await jag() })
    expect([again.status, again.body['error']]).toEqual([401, 'invalid_client'])
    const typed = await byKey({}, { typ: 'client-authentication+jwt' })
    expect((await sts.ask({ ...typed, assertion: await jag() })).status).toBe(200)
  })

  const wrong: [string, () => Promise<[Record<string, string | undefined>, Record<string, string>?]>][] = [
    ['no credential', async () => [NO_SECRET]],
    ['no secret', async () => [{ client_secret: undefined }]],
    ['a wrong secret', async () => [{ client_secret: `${SCOUT_SECRET}x` }]],
    ['a wrong secret by Basic', async () => [NO_SECRET, basic('scout-client', 'x')]],
    ['an unknown client', async () => [{ client_id: 'nobody' }]],
    ['the secret of a client with a key', async () => [{ client_id: 'analyst-client' }]],
    ['a Bearer header', async () => [NO_SECRET, { authorization: 'Bearer x' }]],
    ['an assertion for another server', async () => [await byKey({ aud: 'https://other.example' })]],
    ['an assertion for the token endpoint’s URL', async () => [await byKey({ aud: `${STS_ISSUER}/token` })]],
    ['an assertion for two', async () => [await byKey({ aud: [STS_ISSUER, 'https://other.example'] })]],
    ['an expired assertion', async () => [await byKey({ iat: 1, exp: 61 })]],
    ['an assertion without jti', async () => [await byKey({ jti: undefined })]],
    ['an assertion that lives an hour', async () => [await byKey({ exp: 4_000_000_000 })]],
    ['an assertion of another issuer', async () => [await byKey({ iss: 'scout-client' })]],
    ['an assertion of a client with a secret', async () => [await byKey({ sub: 'scout-client' })]],
    ['an ID-JAG as assertion', async () => [await byKey({}, { typ: 'oauth-id-jag+jwt' })]],
  ]
  it.each(wrong)('DEL-13 invalid_client: %s', async (_, make) => {
    const [form, headers] = await make()
    const answer = await sts.ask({ assertion: await sts.idp.jag(), ...form }, headers)
    expect([answer.status, answer.body['error']]).toEqual([401, 'invalid_client'])
    expect(answer.headers.get('www-authenticate')).toContain('Basic')
  })

  it('DEL-13 invalid_request: two credentials in one request', async () => {
    const answer = await sts.ask({ assertion: await sts.idp.jag() }, basic('scout-client', SCOUT_SECRET))
    expect([answer.status, answer.body['error']]).toEqual([400, 'invalid_request'])
  })

  it('DEL-13 after too many refused requests a client waits, and no other one does', async () => {
    const test = await start({ limits: { failedTries: 3 } })
    for (let i = 0; i < 3; i++) expect((await test.ask({ client_secret: 'x' })).status).toBe(401)
    const blocked = await test.ask({ assertion: await test.idp.jag() })
    expect([blocked.status, blocked.headers.get('retry-after')]).toEqual([429, '60'])
    const form = {
      ...(await byKey({}, {})),
      client_assertion: await test.analyst.assertion('analyst-client', STS_ISSUER),
    }
    const assertion = await test.idp.jag({ client_id: 'analyst-client' })
    expect((await test.ask({ ...form, assertion })).status).toBe(200)
    test.clock.advance(61_000)
    expect((await test.ask({ assertion: await test.idp.jag() })).status).toBe(200)
    for (let i = 0; i < 3; i++) await test.ask({ assertion: 'x' })
    expect((await test.ask({ assertion: await test.idp.jag() })).status).toBe(429)
    // The tries that were held off are not recorded.
    const reasons = (await test.records()).filter(({ action }) => action === 'token').map((r) => r.reason)
    expect(reasons).not.toContain('rate_limited')
    expect(reasons.filter((reason) => reason === 'wrong_secret')).toHaveLength(3)
  })
})

describe('the request', () => {
  it.each([
    ['no grant type', { grant_type: undefined }, 'invalid_request'],
    ['another grant type', { grant_type: 'client_credentials' }, 'unsupported_grant_type'],
    ['no assertion', { assertion: undefined }, 'invalid_request'],
    ['authorization_details, which would narrow', { authorization_details: '[]' }, 'invalid_request'],
  ])('DEL-13 %s', async (_, form, error) => {
    const answer = await sts.ask({ assertion: await sts.idp.jag(), ...form })
    expect([answer.status, answer.body['error']]).toEqual([400, error])
  })

  it('DEL-13 a parameter twice, a body of another kind, a body without end', async () => {
    expect((await sts.post('grant_type=a&grant_type=a')).body['error']).toBe('invalid_request')
    const json = { 'content-type': 'application/json' }
    expect((await sts.post('{}', json)).body['error']).toBe('invalid_request')
    expect((await sts.post(`assertion=${'x'.repeat(70_000)}`)).status).toBe(413)
  })

  it('DEL-13 GET is not allowed, other paths are not there', async () => {
    const get = await fetch(`${sts.url}/token?grant_type=x`)
    expect([get.status, get.headers.get('allow')]).toEqual([405, 'POST'])
    expect((await fetch(`${sts.url}/`)).status).toBe(404)
    expect((await fetch(`${sts.url}/readyz`)).status).toBe(200)
  })

  it('DEL-13 the metadata says where and how', async () => {
    const metadata = await (await fetch(`${sts.url}/.well-known/oauth-authorization-server`)).json()
    expect(metadata).toMatchObject({
      issuer: STS_ISSUER,
      token_endpoint: `${STS_ISSUER}/token`,
      jwks_uri: `${STS_ISSUER}/.well-known/jwks.json`,
      grant_types_supported: ['urn:ietf:params:oauth:grant-type:jwt-bearer'],
      authorization_grant_profiles_supported: ['urn:ietf:params:oauth:grant-profile:id-jag'],
      scopes_supported: ['cards', 'inbox'],
    })
  })
})

describe('keys and records', () => {
  it('DEL-13 a new key signs at once, the former one stays published, no private part is', async () => {
    const test = await start()
    const token = async () =>
      decodeProtectedHeader(
        (await test.ask({ assertion: await test.idp.jag() })).body['access_token'] as string,
      )
    const before = await token()
    const kid = await writeNewKey(test.path('sts-keys.json'), 'Ed25519', true)
    await test.sts.reload()
    expect(await token()).toEqual({ alg: 'Ed25519', typ: 'at+jwt', kid })
    const jwks = (await (await fetch(`${test.url}/.well-known/jwks.json`)).json()) as JSONWebKeySet
    expect(jwks.keys.map((key) => key.kid)).toEqual([kid, before.kid])
    expect(JSON.stringify(jwks)).not.toContain('"d"')
    test.write('sts-keys.json', '{"keys":[]}')
    await test.sts.reload()
    expect((await token()).kid).toBe(kid)
    expect(test.log.map(({ message }) => message)).toContain('reload failed; the former one stays in force')
  })

  it('DEL-13 issued and refused tokens are in an audit log, without any token or secret', async () => {
    const test = await start()
    const assertion = await test.idp.jag({ jti: 'jag-1' })
    const { body } = await test.ask({ assertion })
    await test.ask({ assertion })
    await test.ask({ client_secret: 'wrong-secret' })
    const records = (await test.records()).filter(({ action }) => action === 'token')
    const token = decodeJwt(body['access_token'] as string)
    expect(records).toMatchObject([
      {
        decision: 'allow',
        effect: 'issued',
        identity: {
          agent: { iss: STS_ISSUER, sub: 'scout' },
          human: { iss: STS_ISSUER, sub: 'alice' },
          token: { iss: STS_ISSUER, jti: token.jti },
        },
        cause: { client_id: 'scout-client', assertion_iss: STUB_IDP, assertion_jti: 'jag-1' },
      },
      {
        decision: 'deny',
        reason: 'replayed',
        effect: '400 invalid_grant',
        identity: { agent: { sub: 'scout' } },
      },
      { decision: 'deny', reason: 'wrong_secret', effect: '401 invalid_client' },
    ])
    const text = readFileSync(test.path('audit.jsonl'), 'utf8') + JSON.stringify(test.log)
    for (const secret of [assertion, body['access_token'] as string, SCOUT_SECRET, 'wrong-secret']) {
      expect(text).not.toContain(secret)
    }
  })

  it('DEL-13 a provider whose keys cannot be had: 503, nothing is counted, and not ready', async () => {
    const test = await start({
      providers: [{ issuer: STUB_IDP, jwks: { url: 'http://127.0.0.1:1/jwks' } }],
      limits: { failedTries: 1 },
    })
    for (let i = 0; i < 2; i++) {
      const { status, body } = await test.ask({ assertion: await test.idp.jag() })
      expect([status, body['error']]).toEqual([503, 'temporarily_unavailable'])
    }
    expect((await fetch(`${test.url}/readyz`)).status).toBe(503)
  })
})
