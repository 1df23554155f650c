// A resource authorization server in small: takes an ID-JAG, mints an access token for the proxy.
import { jwtVerify } from 'jose'
import { expect, it } from 'vitest'
import { readAif } from '../../src/identity/ceiling.ts'
import { TokenVerifier } from '../../src/identity/token-verifier.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { issuerConfig, TEST_AUDIENCE, TestIssuer } from '../support/tokens.ts'
import { FixedKeys } from './raw-signer.ts'
import { outcome } from './verifier-kit.ts'

const IDP = 'https://idp.test'
const AS = 'https://as.test'
const SCOPE = Buffer.from(JSON.stringify([['agents/scout/#', ['pub']]])).toString('base64url')

/** RFC 7523 grant: the checks of the ID-JAG draft, then an at+jwt of this AS. */
async function exchange(
  jag: string,
  client: string,
  idp: TestIssuer,
  as: TestIssuer,
  clock: FakeClock,
): Promise<string> {
  const { payload } = await jwtVerify(jag, idp.publicKey, {
    issuer: IDP,
    audience: AS,
    typ: 'oauth-id-jag+jwt',
    requiredClaims: ['client_id', 'jti', 'iat', 'exp', 'sub'],
    currentDate: new Date(clock.now()),
  })
  if (payload['client_id'] !== client) throw new Error('invalid_grant')
  const { sub, act, scope, client_id } = payload
  return as.dev.mint({ sub, act, scope, client_id, aud: TEST_AUDIENCE }, { lifetimeMs: 300_000 })
}

it('DEL-12 an access token minted from an ID-JAG works; DEL-11 the ID-JAG itself does not', async () => {
  const clock = new FakeClock()
  const idp = await TestIssuer.create(clock, { issuer: IDP })
  const as = await TestIssuer.create(clock, { issuer: AS })
  const verifier = new TokenVerifier(
    [
      { config: issuerConfig({ issuer: AS, ceilings: ['scope'] }), keys: await FixedKeys.of([as.publicKey]) },
      { config: issuerConfig({ issuer: IDP }), keys: await FixedKeys.of([idp.publicKey]) },
    ],
    clock,
    { maxBytes: 8192 },
  )
  const jag = await idp.mint(
    { aud: AS, client_id: 'agent-platform', scope: SCOPE, act: { iss: 'https://agents.test', sub: 'scout' } },
    { header: { typ: 'oauth-id-jag+jwt' } },
  )
  expect(outcome(await verifier.verify(jag))).toBe('wrong_token_type id_jag')

  const result = await verifier.verify(await exchange(jag, 'agent-platform', idp, as, clock))
  expect(result).toMatchObject({
    ok: true,
    principal: {
      issuer: AS,
      oauthClientId: 'agent-platform',
      human: { iss: AS, sub: 'alice' },
      agent: { iss: 'https://agents.test', sub: 'scout' },
      ceilings: [{ format: 'scope', rules: readAif(SCOPE) }],
    },
  })
  await expect(exchange(jag, 'another-client', idp, as, clock)).rejects.toThrow('invalid_grant')
})
