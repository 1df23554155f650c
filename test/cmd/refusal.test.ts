// The sentence that `postern explain` adds to the reason of a refused token.
import { expect, it } from 'vitest'
import { whyRefused } from '../../cmd/refusal.ts'
import type { Config } from '../../src/config/config.ts'
import type { AuthFailure } from '../../src/identity/auth-failure.ts'
import { verifierKit } from '../identity/verifier-kit.ts'
import { issuerConfig } from '../support/tokens.ts'

const kit = await verifierKit()
const config: Pick<Config, 'issuers' | 'token'> = {
  issuers: [issuerConfig()],
  token: { maxBytes: 8192 } as Config['token'],
}
const now = kit.clock.now() / 1000

it.each<[AuthFailure, object, object, string]>([
  [
    'expired',
    { iat: now - 900, exp: now - 90 },
    {},
    '`exp` is 2026-11-22T11:58:30.000Z, 90s ago; `leeway` is 30s',
  ],
  ['not_yet_valid', { nbf: now + 60 }, {}, '`nbf` is 2026-11-22T12:01:00.000Z, 1m ahead; `leeway` is 30s'],
  ['issued_in_future', { iat: now + 60 }, {}, '`iat` is 2026-11-22T12:01:00.000Z, 1m ahead; `leeway` is 30s'],
  ['lifetime_too_long', { exp: now + 3600 }, {}, '`exp` is 1h after `iat`; `maxLifetime` is 15m'],
  ['wrong_audience', { aud: ['x\u202e', 'y'] }, {}, '`aud` is ["x\\u{202e}","y"]; expected: "postern-test"'],
  [
    'unknown_issuer',
    { iss: 'https://idp.test/' },
    {},
    '`iss` is "https://idp.test/"; configured: "https://idp.test"',
  ],
  ['missing_claim', { jti: undefined, client_id: undefined }, {}, 'it has no `jti`, `client_id`'],
  ['bad_claim', { exp: 'soon' }, {}, '`exp` is no time in seconds'],
  ['bad_claim', { sub: 7 }, {}, '`sub` is no text'],
  ['bad_claim', { exp: now - 1 }, {}, '`exp` is not after `iat`'],
  [
    'wrong_token_type',
    {},
    { typ: 'JWT' },
    '`typ` in its header is "JWT", and must be "at+jwt" for an access token',
  ],
  ['algorithm_not_allowed', {}, { alg: 'RS256' }, '`alg` is "RS256"; `algorithms`: ES256'],
  [
    'actor_missing',
    { act: undefined },
    {},
    'it has no `act`, which says who the agent is under this `mapping`',
  ],
])('%s: %j %j', async (reason, claims, header, sentence) => {
  const token = kit.signer.sign(kit.claims(claims), header)
  const refused = await kit.verifier.verify(token)
  if (refused.ok) throw new Error('it is not refused')
  expect(refused.reason).toBe(reason)
  expect(whyRefused(refused, token, config, kit.clock.now())).toBe(sentence)
})

it('what is no token, or too long for one', () => {
  expect(whyRefused({ reason: 'malformed_token' }, 'Bearer x', config, 0)).toMatch(
    /^it is no JWT of three parts/,
  )
  expect(whyRefused({ reason: 'token_too_large' }, 'x'.repeat(9000), config, 0)).toBe(
    'it has 9000 bytes, `token.maxBytes` is 8192',
  )
})
