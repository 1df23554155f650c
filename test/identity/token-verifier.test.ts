import { createHash } from 'node:crypto'
import { beforeAll, describe, expect, it, vi } from 'vitest'
import { TokenVerifier } from '../../src/identity/token-verifier.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { issuerConfig, TEST_AUDIENCE, TEST_ISSUER } from '../support/tokens.ts'
import { encode, FixedKeys, RawSigner, signSymmetric } from './raw-signer.ts'
import { goodClaims, outcome, type VerifierKit, verifierKit } from './verifier-kit.ts'

let kit: VerifierKit
let legacy: VerifierKit
beforeAll(async () => {
  kit = await verifierKit()
  legacy = await verifierKit({ legacyTyp: true })
})

it('C1 a good token becomes a principal with human, agent, times and digest', async () => {
  const token = kit.signer.sign(kit.claims({ txn: 'x-1' }))
  const result = await kit.verifier.verify(token)
  expect(result).toMatchObject({
    ok: true,
    principal: {
      agent: { iss: TEST_ISSUER, sub: 'scout', id: 'scout' },
      human: { iss: TEST_ISSUER, sub: 'alice', id: 'alice' },
      delegated: true,
      tenant: undefined,
      issuer: TEST_ISSUER,
      tokenId: 't-1',
      tokenDigest: createHash('sha256').update(token).digest('hex'),
      keyId: 'k1',
      oauthClientId: 'agent-platform',
      issuedAtMs: kit.clock.now(),
      expiresAtMs: kit.clock.now() + 600_000,
      endsAtMs: kit.clock.now() + 630_000,
      txn: 'x-1',
    },
  })
})

describe('form', () => {
  it.each([
    ['a token above 8 KiB', 'a'.repeat(8193), 'token_too_large'],
    ['five parts', 'e30.e30.e30.e30.e30', 'malformed_token'],
    ['padding', 'e30.e30.e30=', 'malformed_token'],
    [
      'duplicate claim',
      `${encode('{"alg":"ES256"}')}.${encode('{"iss":"a","iss":"b"}')}.e30`,
      'duplicate_claim',
    ],
  ])('TOK-03 %s is refused before a key is looked for', async (_, token, expected) => {
    const asked = kit.keys.asked
    expect(outcome(await kit.verifier.verify(token))).toBe(expected)
    expect(kit.keys.asked).toBe(asked)
  })
})

describe('type', () => {
  it.each([
    ['at+jwt', 'ok', 'ok'],
    ['AT+JWT', 'ok', 'ok'],
    ['application/at+jwt', 'ok', 'ok'],
    ['Application/At+JWT', 'ok', 'ok'],
    [undefined, 'wrong_token_type untyped', 'ok'],
    ['JWT', 'wrong_token_type untyped', 'ok'],
    ['jwt', 'wrong_token_type untyped', 'ok'],
    ['JOSE', 'wrong_token_type untyped', 'ok'],
    ...same('oauth-id-jag+jwt', 'id_jag'),
    ...same('application/oauth-id-jag+jwt', 'id_jag'),
    ...same('txntoken+jwt', 'transaction_token'),
    ...same('secevent+jwt', 'security_event'),
    ...same('logout+jwt', 'logout_token'),
    ...same('statuslist+jwt', 'status_list'),
    ...same('dpop+jwt', 'dpop_proof'),
    ...same('dpop-proof+jwt', 'dpop_proof'),
    ...same('token-introspection+jwt', 'introspection'),
    ...same('oauth-client-attestation+jwt', 'client_attestation'),
    ...same('oauth-client-attestation-pop+jwt', 'client_attestation'),
    ...same('wit+jwt', 'workload_identity'),
    ...same('wpt+jwt', 'workload_proof'),
    ...same('mqtt-jit-grant+jwt', 'jit_grant'),
    ...same('oauth-authz-req+jwt', 'request_object'),
    ...same('at+jwt ', 'other'),
    ...same('application/application/at+jwt', 'other'),
    ...same('', 'other'),
    ...same(7, 'other'),
    ...same(null, 'other'),
    ...same(['at+jwt'], 'other'),
  ])('TOK-05 typ %j: %s, with legacyTyp %s', async (typ, expected, withLegacy) => {
    expect(outcome(await kit.verify({}, { typ }))).toBe(expected)
    expect(outcome(await legacy.verify({}, { typ }))).toBe(withLegacy)
  })

  it.each([
    ['ID token', { nonce: 'n' }, 'id_token'],
    ['security event', { events: {} }, 'security_event'],
    ['transaction token', { tctx: {} }, 'transaction_token'],
  ])('TOK-05 legacyTyp does not let in an untyped %s', async (_, claims, tokenClass) => {
    expect(outcome(await legacy.verify(claims, { typ: 'JWT' }))).toBe(`wrong_token_type ${tokenClass}`)
  })

  it('DEL-11 a raw ID-JAG is refused by its type, whoever issued it and whatever else it claims', async () => {
    const jag = { iss: 'https://idp.elsewhere', aud: 'https://as.example', client_id: 'c', jti: 'j' }
    const result = await kit.verify(jag, { typ: 'oauth-id-jag+jwt' })
    expect(result).toEqual({ ok: false, reason: 'wrong_token_type', detail: 'id_jag' })
  })

  it('POP-01 a token bound to a key is never taken as bearer', async () => {
    expect(outcome(await kit.verify({ cnf: { jkt: 'x' } }))).toBe('proof_required')
    expect(outcome(await kit.verify({ cnf: null }))).toBe('proof_required')
  })
})

describe('algorithm and key', () => {
  const rsa = new RawSigner('k1', 'RS256')

  it.each([
    ['none', 'none'],
    ['None', 'None'],
    ['lower case', 'es256'],
    ['not allowed for this issuer', 'RS256'],
    ['HMAC', 'HS256'],
    ['missing', undefined],
    ['a list', ['ES256']],
  ])('TOK-04 C4 K3 alg %s is refused before a key is looked for', async (_, alg) => {
    const asked = kit.keys.asked
    expect(outcome(await kit.verify({}, { alg }))).toBe('algorithm_not_allowed')
    expect(kit.keys.asked).toBe(asked)
  })

  it('TOK-04 C4 K3 HS256 with the public RSA key as secret is refused', async () => {
    const clock = new FakeClock()
    const keys = await FixedKeys.of([rsa.jwk], ['RS256'])
    const issuer = { config: issuerConfig({ algorithms: ['RS256'] }), keys }
    const verifier = new TokenVerifier([issuer], clock, { maxBytes: 8192 })
    const pem = rsa.publicKey.export({ format: 'pem', type: 'spki' })
    const header = { alg: 'HS256', kid: 'k1', typ: 'at+jwt' }
    expect(outcome(await verifier.verify(signSymmetric(goodClaims(clock.now()), header, pem)))).toBe(
      'algorithm_not_allowed',
    )
    expect(outcome(await verifier.verify(rsa.sign(goodClaims(clock.now()))))).toBe('ok')
  })

  it.each([['HS256'], ['none'], ['ES256K'], ['A128KW']])(
    'TOK-04 an issuer cannot be configured with %s',
    async (alg) => {
      const issuer = { config: issuerConfig({ algorithms: [alg] }), keys: kit.keys }
      expect(() => new TokenVerifier([issuer], kit.clock, { maxBytes: 8192 })).toThrow(TypeError)
    },
  )

  it('TOK-06 a token of issuer A signed by a key of issuer B with the same kid is refused', async () => {
    const clock = new FakeClock()
    const [a, b] = [new RawSigner('same'), new RawSigner('same')]
    const verifier = new TokenVerifier(
      [
        { config: issuerConfig({ issuer: 'https://a.test' }), keys: await FixedKeys.of([a.jwk]) },
        { config: issuerConfig({ issuer: 'https://b.test' }), keys: await FixedKeys.of([b.jwk]) },
      ],
      clock,
      { maxBytes: 8192 },
    )
    const ofA = { ...goodClaims(clock.now()), iss: 'https://a.test' }
    expect(outcome(await verifier.verify(a.sign(ofA)))).toBe('ok')
    expect(outcome(await verifier.verify(b.sign(ofA)))).toBe('bad_signature')
  })

  it.each([
    ['another issuer', `${TEST_ISSUER}.evil`],
    ['trailing slash', `${TEST_ISSUER}/`],
    ['another case', TEST_ISSUER.toUpperCase()],
    ['a list', [TEST_ISSUER]],
    ['missing', undefined],
    ['__proto__', '__proto__'],
  ])('TOK-06 C3 iss %s is unknown', async (_, iss) => {
    expect(outcome(await kit.verify({ iss }))).toBe('unknown_issuer')
  })

  it.each([
    ['unknown', 'k2', 'unknown_key'],
    ['a path', '../../etc/passwd', 'unknown_key'],
    ['an address', 'http://127.0.0.1/k1', 'unknown_key'],
    ['__proto__', '__proto__', 'unknown_key'],
    ['empty', '', 'unknown_key'],
    ['a number', 1, 'malformed_token'],
    ['missing with one key', undefined, 'ok'],
  ])('C4 K3 kid %s', async (_, kid, expected) => {
    expect(outcome(await kit.verify({}, { kid }))).toBe(expected)
  })

  it.each([
    ['crit with an unknown name', { crit: ['x'], x: 1 }],
    ['crit b64', { crit: ['b64'], b64: true }],
    ['empty crit', { crit: [] }],
    ['crit null', { crit: null }],
  ])('TOK-11 %s is refused', async (_, header) => {
    expect(outcome(await kit.verify({}, header))).toBe('unsupported_crit')
  })

  it('TOK-11 K3 a key in the header is never used', async () => {
    const attacker = new RawSigner('k1')
    const header = {
      jwk: attacker.jwk,
      jku: 'http://127.0.0.1:1/jwks',
      x5u: 'http://127.0.0.1:1/',
      x5c: ['AAAA'],
    }
    expect(outcome(await kit.verifier.verify(attacker.sign(kit.claims(), header)))).toBe('bad_signature')
    expect(outcome(await kit.verify({}, header))).toBe('ok')
  })

  it('C4 a changed payload or signature is refused', async () => {
    const [header, payload, signature] = kit.signer.sign(kit.claims()).split('.')
    const other = encode(kit.claims({ sub: 'mallory' }))
    const zero = Buffer.alloc(64).toString('base64url')
    for (const token of [
      `${header}.${other}.${signature}`,
      `${header}.${payload}.${zero}`,
      `${header}.${payload}.AA`,
    ]) {
      expect(outcome(await kit.verifier.verify(token))).toBe('bad_signature')
    }
  })
})

describe('claims', () => {
  it.each([
    ['missing', undefined, 'wrong_audience'],
    ['another', 'other', 'wrong_audience'],
    ['another case', TEST_AUDIENCE.toUpperCase(), 'wrong_audience'],
    ['longer', `${TEST_AUDIENCE}/`, 'wrong_audience'],
    ['empty list', [], 'wrong_audience'],
    ['list without it', ['a', 'b'], 'wrong_audience'],
    ['list with something else than text', [TEST_AUDIENCE, 7], 'wrong_audience'],
    ['nested list', [[TEST_AUDIENCE]], 'wrong_audience'],
    ['list with it', ['a', TEST_AUDIENCE], 'ok'],
  ])('TOK-07 C3 aud %s', async (_, aud, expected) => {
    expect(outcome(await kit.verify({ aud }))).toBe(expected)
  })

  it.each([['exp'], ['iat'], ['sub'], ['jti'], ['client_id']])('TOK-08 K4 %s is required', async (name) => {
    expect(outcome(await kit.verify({ [name]: undefined }))).toBe('missing_claim')
  })

  it('TOK-08 client_id may be missing where the issuer is exempt', async () => {
    const exempt = await verifierKit({ requireClientId: false })
    const result = await exempt.verify({ client_id: undefined })
    expect(result.ok && result.principal.oauthClientId).toBe(undefined)
    expect(outcome(result)).toBe('ok')
    expect(outcome(await exempt.verify({ client_id: 7 }))).toBe('bad_claim')
  })

  const dates = ['exp', 'iat', 'nbf'].flatMap((name) =>
    ['1', '', true, null, -1, 0, 1e300, 253_402_300_800, [1], {}].map((value) => [name, value] as const),
  )
  it.each(dates)('TOK-08 K10 %s %j is no date', async (name, value) => {
    expect(outcome(await kit.verify({ [name]: value }))).toBe('bad_claim')
  })

  it.each(
    ['sub', 'jti', 'client_id'].flatMap((name) =>
      ['', 7, ['x'], {}, null, 'a\u0000b', 'a\nb'].map((value) => [name, value] as const),
    ),
  )('TOK-08 A6 %s %j is no identity', async (name, value) => {
    expect(outcome(await kit.verify({ [name]: value }))).toBe('bad_claim')
  })

  it.each([
    ['expires now, leeway left', { exp: 0 }, 30, 'ok'],
    ['one millisecond before the end of the leeway', { exp: -29.999 }, 60, 'ok'],
    ['at the end of the leeway', { exp: -30 }, 60, 'expired'],
    ['nbf at the end of the leeway', { nbf: 30 }, 0, 'ok'],
    ['nbf beyond the leeway', { nbf: 30.001 }, 0, 'not_yet_valid'],
    ['iat at the end of the leeway', { iat: 30 }, 0, 'ok'],
    ['iat beyond the leeway', { iat: 30.001 }, 0, 'issued_in_future'],
    ['the longest lifetime', { exp: 900 }, 0, 'ok'],
    ['longer than the longest lifetime', { exp: 900.001 }, 0, 'lifetime_too_long'],
    ['one hour', { exp: 3600 }, 0, 'lifetime_too_long'],
    ['expiry at issue', { exp: 0 }, 0, 'bad_claim'],
    ['expiry before issue', { exp: -1 }, 0, 'bad_claim'],
    ['year 2038 and later', { iat: 400_000_000, exp: 400_000_100 }, 0, 'issued_in_future'],
  ])('TOK-09 TOK-10 C3 K10 %s', async (_, offsets: Record<string, number>, issuedAgo, expected) => {
    const now = kit.clock.now() / 1000
    const absolute = Object.fromEntries(Object.entries(offsets).map(([name, offset]) => [name, now + offset]))
    expect(outcome(await kit.verify({ iat: now - issuedAgo, ...absolute }))).toBe(expected)
  })

  it('TOK-09 K10 a leeway above one minute cannot be configured', () => {
    const issuer = { config: issuerConfig({ leeway: 60_001 }), keys: kit.keys }
    expect(() => new TokenVerifier([issuer], kit.clock, { maxBytes: 8192 })).toThrow(TypeError)
  })

  it('names the subject of a refused token only when its signature held', async () => {
    expect(await kit.verify({ aud: 'other' })).toEqual({
      ok: false,
      reason: 'wrong_audience',
      issuer: TEST_ISSUER,
      subject: 'alice',
    })
    const forged = new RawSigner('k1').sign(kit.claims({ aud: 'other' }))
    expect(await kit.verifier.verify(forged)).toEqual({
      ok: false,
      reason: 'bad_signature',
      issuer: TEST_ISSUER,
    })
  })
})

/** The same refusal with and without `legacyTyp`. */
function same(typ: unknown, tokenClass: string): [unknown, string, string][] {
  return [[typ, `wrong_token_type ${tokenClass}`, `wrong_token_type ${tokenClass}`]]
}

describe('a token that was verified before', () => {
  const issuers = (keys: FixedKeys) => [{ config: issuerConfig(), keys }]

  it('costs no second verification of its signature', async () => {
    const { verifier, signer, claims } = await verifierKit()
    const verify = vi.spyOn(crypto.subtle, 'verify')
    const token = signer.sign(claims())
    for (let i = 0; i < 3; i++) expect(outcome(await verifier.verify(token))).toBe('ok')
    expect(verify).toHaveBeenCalledTimes(1)
    verify.mockRestore()
  })

  it('KEY-08 is refused when the key of that name is another one now', async () => {
    const [old, other] = [new RawSigner(), new RawSigner()]
    const before = await FixedKeys.of([old.jwk])
    const after = await FixedKeys.of([other.jwk])
    const keys = Object.assign(Object.create(before) as FixedKeys, {
      keyFor: before.keyFor.bind(before),
    })
    const clock = new FakeClock()
    const verifier = new TokenVerifier(issuers(keys), clock, { maxBytes: 8192 })
    const token = old.sign(goodClaims(clock.now()))
    expect(outcome(await verifier.verify(token))).toBe('ok')
    keys.keyFor = after.keyFor.bind(after)
    expect(outcome(await verifier.verify(token))).toBe('bad_signature')
  })

  it('TOK-09 is refused when it has expired, and with another payload under the same signature', async () => {
    const { clock, verifier, signer, claims } = await verifierKit()
    const token = signer.sign(claims())
    expect(outcome(await verifier.verify(token))).toBe('ok')
    const [head, , signature] = token.split('.')
    const forged = `${head}.${encode(JSON.stringify(claims({ sub: 'mallory' })))}.${signature}`
    expect(outcome(await verifier.verify(forged))).toBe('bad_signature')
    clock.advance(700_000)
    expect(outcome(await verifier.verify(token))).toBe('expired')
  })
})
