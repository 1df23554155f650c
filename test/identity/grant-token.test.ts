// Which grant tokens are taken, and the precise reason for which another is not. Ids: identity-standards.md 13.6 (JIT).
import { beforeAll, describe, expect, test } from 'vitest'
import type { GrantIssuerConfig } from '../../src/config/config.ts'
import { type GrantAnswer, GrantVerifier } from '../../src/identity/grant-token.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { type PrincipalChanges, principalOf } from '../support/principal.ts'
import { issuerConfig, TEST_ISSUER } from '../support/tokens.ts'
import { FixedKeys, RawSigner } from './raw-signer.ts'

const APPROVALS = 'https://approvals.test'
const JKT = 'A'.repeat(43)
const clock = new FakeClock()
const signer = new RawSigner()
const config: GrantIssuerConfig = {
  issuer: APPROVALS,
  audience: ['postern-grants'],
  jwks: issuerConfig().jwks,
  algorithms: ['ES256'],
  subjects: TEST_ISSUER,
  leeway: 30_000,
}
let keys: FixedKeys
let verifier: GrantVerifier

beforeAll(async () => {
  keys = await FixedKeys.of([signer.jwk])
  verifier = new GrantVerifier([{ config, keys }], { maxBytes: 4096, maxLifetime: 300_000 }, clock)
})

const now = () => Math.floor(clock.now() / 1000)
const good = (): Record<string, unknown> => ({
  iss: APPROVALS,
  aud: 'postern-grants',
  sub: 'alice',
  act: { iss: TEST_ISSUER, sub: 'scout' },
  jti: 'g1',
  iat: now(),
  exp: now() + 300,
  action: 'publish',
  topic: 'pay/+',
  approver: { iss: TEST_ISSUER, sub: 'alice' },
})
const HEADER = { typ: 'mqtt-jit-grant+jwt' }

const verify = (
  claims: object = {},
  header: object = {},
  bearer: PrincipalChanges = {},
): Promise<GrantAnswer> =>
  verifier.verify(
    Buffer.from(signer.sign({ ...good(), ...claims }, { ...HEADER, ...header })),
    principalOf(bearer),
  )
const reasonOf = (answer: GrantAnswer): string => (answer.ok ? 'ok' : answer.reason)

test('JIT-02 a good grant: for one action on one filter, once, by somebody', async () => {
  const answer = await verify()
  expect(answer).toMatchObject({
    ok: true,
    grant: {
      issuer: APPROVALS,
      tokenId: 'g1',
      action: 'publish',
      maxUses: 1,
      payloadSha256: undefined,
      approver: { iss: TEST_ISSUER, sub: 'alice' },
      expiresAtMs: (now() + 300) * 1000,
    },
  })
  expect(answer.ok && answer.grant.filter.text).toBe('pay/+')
  expect(answer.ok && answer.grant.key).toMatch(/^[0-9a-f]{64}$/)
})

describe('JIT-02 refused, each for its own reason', () => {
  test.each([
    ['at+jwt', 'wrong_token_type', 'access'],
    ['jwt', 'wrong_token_type', 'untyped'],
    ['secevent+jwt', 'wrong_token_type', 'security_event'],
  ])('typ %s', async (typ, reason, detail) => {
    expect(await verify({}, { typ })).toMatchObject({ ok: false, reason, detail })
  })

  test.each<[string, object, string]>([
    ['another issuer', { iss: 'https://else.test' }, 'unknown_issuer'],
    ['another audience', { aud: 'postern-test' }, 'wrong_audience'],
    ['no audience', { aud: undefined }, 'missing_claim'],
    ['no jti', { jti: undefined }, 'missing_claim'],
    ['no approver', { approver: undefined }, 'missing_claim'],
    ['an approver without a name', { approver: 'alice' }, 'bad_claim'],
    ['the agent itself as approver', { approver: { iss: TEST_ISSUER, sub: 'scout' } }, 'approver_is_agent'],
    ['no action', { action: undefined }, 'missing_claim'],
    ['an action that there is not', { action: 'connect' }, 'bad_claim'],
    ['no topic', { topic: undefined }, 'missing_claim'],
    ['a topic that is no filter', { topic: 'a/#/b' }, 'bad_claim'],
    ['no use', { max_uses: 0 }, 'bad_claim'],
    ['half a use', { max_uses: 1.5 }, 'bad_claim'],
    ['uses without end', { max_uses: 1e9 }, 'bad_claim'],
    ['a digest that is none', { payload_sha256: 'abc' }, 'bad_claim'],
    ['a digest for a subscription', { payload_sha256: '0'.repeat(64), action: 'subscribe' }, 'bad_claim'],
    ['longer than five minutes', { exp: now() + 301 }, 'lifetime_too_long'],
    ['expired', { iat: now() - 300, exp: now() }, 'expired'],
    ['issued later than the leeway', { iat: now() + 31, exp: now() + 60 }, 'issued_in_future'],
    ['not yet valid', { nbf: now() + 31 }, 'not_yet_valid'],
    ['another human', { sub: 'bob' }, 'other_bearer'],
    ['another agent', { act: { iss: TEST_ISSUER, sub: 'analyst' } }, 'other_bearer'],
    ['an agent of another issuer', { act: { iss: 'https://else.test', sub: 'scout' } }, 'other_bearer'],
    ['no agent', { act: undefined }, 'missing_claim'],
    ['an agent without issuer', { act: { sub: 'scout' } }, 'bad_claim'],
    ['a key that was not proved', { cnf: { jkt: JKT } }, 'proof_required'],
    ['a key of a kind that is not known', { cnf: { kid: 'x' } }, 'proof_required'],
  ])('%s', async (_, claims, reason) => {
    expect(reasonOf(await verify(claims))).toBe(reason)
  })

  test('a grant bound to the key of the connection is taken', async () => {
    expect(reasonOf(await verify({ cnf: { jkt: JKT } }, {}, { confirmation: { jkt: JKT } }))).toBe('ok')
  })

  test('a forged signature, a broken token, two claims of one name, `crit`, a wrong algorithm, too long', async () => {
    const text = signer.sign(good(), HEADER)
    const check = async (token: string) => reasonOf(await verifier.verify(Buffer.from(token), principalOf()))
    expect(await check(`${text.slice(0, text.lastIndexOf('.'))}.${'A'.repeat(86)}`)).toBe('bad_signature')
    expect(await check('hello')).toBe('malformed_token')
    expect(await check('x'.repeat(4097))).toBe('token_too_large')
    expect(await check('\u00ff')).toBe('malformed_token')
    expect(reasonOf(await verify({}, { crit: ['x'], x: 1 }))).toBe('unsupported_crit')
    expect(reasonOf(await verify({}, { alg: 'HS256' }))).toBe('algorithm_not_allowed')
    expect(reasonOf(await verify({}, { kid: 'else' }))).toBe('unknown_key')
  })

  test('what is said of a refused one is what its signature held', async () => {
    expect(await verify({ sub: 'bob' })).toMatchObject({ claimed: { issuer: APPROVALS, tokenId: 'g1' } })
    expect(await verify({}, { kid: 'else' })).not.toHaveProperty('claimed')
  })
})
