// The token that a message carries: every check of CONNECT, and that it is a delegation to the agent of the connection.
import { beforeEach, describe, expect, it } from 'vitest'
import type { IssuerConfig } from '../../src/config/config.ts'
import { Authenticator, type RenewalAnswer } from '../../src/identity/authenticator.ts'
import type { TlsEvidence } from '../../src/identity/confirmation.ts'
import type { Principal } from '../../src/identity/principal.ts'
import { TokenVerifier } from '../../src/identity/token-verifier.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { principalOf } from '../support/principal.ts'
import { issuerConfig, TEST_ISSUER } from '../support/tokens.ts'
import { FixedKeys, RawSigner } from './raw-signer.ts'
import { goodClaims } from './verifier-kit.ts'

const OTHER = 'https://self.test'
const THUMBPRINT = 'A'.repeat(43)
const clock = new FakeClock()
const signer = new RawSigner()
const stranger = new RawSigner()
const tls: TlsEvidence = { certificate: THUMBPRINT, resumed: false, exporter: () => undefined }

interface Case {
  claims?: object
  connection?: Partial<Principal>
  issuer?: Partial<IssuerConfig>
  tls?: TlsEvidence
  by?: RawSigner
  header?: object
}

let authenticator: Authenticator

async function makeAuthenticator(issuer: Partial<IssuerConfig> = {}): Promise<void> {
  const keys = await FixedKeys.of([signer.jwk])
  const tenant = { agentId: undefined, userId: undefined, tenant: 'org', attributes: {} }
  const issuers = [
    { config: issuerConfig({ claims: tenant, ...issuer }), keys },
    {
      config: issuerConfig({ issuer: OTHER, mapping: 'self', claims: tenant, owners: { scout: 'olga' } }),
      keys,
    },
  ]
  const verifier = new TokenVerifier(issuers, clock, { maxBytes: 8192 })
  authenticator = new Authenticator(
    verifier,
    {
      token: { maxBytes: 8192, fromUsername: false, topic: undefined, methods: [] },
      clientId: { binding: 'exact', separator: '.' },
      limits: { failedTries: 3, failedTriesWindow: 60_000, failedTriesFrom: 'any' },
    },
    clock,
  )
}

beforeEach(() => makeAuthenticator())

const sign = ({ claims, by = signer, header }: Case = {}): Buffer =>
  Buffer.from(by.sign({ ...goodClaims(clock.now()), org: 'org_a', ...claims }, header))

async function verify(what: Case = {}): Promise<RenewalAnswer> {
  if (what.issuer !== undefined) await makeAuthenticator(what.issuer)
  const connection = { ...principalOf({ human: 'olga' }), ...what.connection }
  return authenticator.verifyCarried(sign(what), connection, '192.0.2.1', what.tls)
}

describe('accepted', () => {
  it.each<[string, Case]>([
    ['another human’s delegation to the same agent', {}],
    ['where the connection is one of the agent for itself', { connection: { delegated: false } }],
    [
      'POP-01 bound to the key that the connection has proved',
      { claims: { cnf: { jkt: THUMBPRINT } }, connection: { confirmation: { jkt: THUMBPRINT } } },
    ],
    [
      'POP-01 bound to the certificate that the connection shows',
      { claims: { cnf: { 'x5t#S256': THUMBPRINT } }, tls },
    ],
  ])('%s', async (_, what) => {
    const answer = await verify(what)
    expect(answer).toMatchObject({
      ok: true,
      principal: { human: { sub: 'alice' }, agent: { sub: 'scout' }, tenant: 'org_a', clientId: 'scout' },
    })
  })
})

describe('refused', () => {
  it.each<[string, string, Case]>([
    ['bad_signature', 'signed by somebody else', { by: stranger, header: { kid: 'k1' } }],
    ['expired', 'that has expired', { claims: { iat: 1, exp: 2 } }],
    ['wrong_audience', 'for another proxy', { claims: { aud: 'elsewhere' } }],
    ['unknown_issuer', 'of an issuer that is not configured', { claims: { iss: 'https://eve.test' } }],
    ['wrong_token_type', 'DEL-11 that is an ID-JAG', { header: { typ: 'oauth-id-jag+jwt' } }],
    ['foreign_token', 'DEL-01 of another agent', { claims: { act: { iss: TEST_ISSUER, sub: 'analyst' } } }],
    [
      'foreign_token',
      'DEL-01 of an agent of the same name in another name space',
      { claims: { act: { iss: 'https://x.test', sub: 'scout' } } },
    ],
    ['foreign_token', 'DEL-10 of another tenant', { claims: { org: 'org_b' } }],
    [
      'foreign_token',
      'DEL-10 with a tenant where the connection has none',
      { connection: { tenant: undefined } },
    ],
    [
      'foreign_token',
      'DEL-04 of the agent itself: it is no delegation',
      {
        claims: { iss: OTHER, sub: 'scout', act: undefined },
        connection: { agent: { iss: OTHER, sub: 'scout', id: 'scout' } },
      },
    ],
    [
      'proof_required',
      'POP-01 bound to a key that the connection has not shown',
      { claims: { cnf: { jkt: THUMBPRINT } } },
    ],
    [
      'proof_required',
      'POP-01 bound to another key than the one that it has shown',
      { claims: { cnf: { jkt: 'B'.repeat(43) } }, connection: { confirmation: { jkt: THUMBPRINT } } },
    ],
    [
      'proof_required',
      'POP-01 of a bearer, where the issuer’s must be bound',
      { issuer: { requireProof: true } },
    ],
  ])('%s: a token %s', async (reason, _, what) => {
    expect(await verify(what)).toMatchObject({ ok: false, reason })
  })

  it.each(['', 'a.b', 'not a token', 'a.b.c.d', 'é.b.c'])('malformed_token: %j', async (text) => {
    const answer = await authenticator.verifyCarried(Buffer.from(text), principalOf(), '192.0.2.1')
    expect(answer).toMatchObject({ ok: false, reason: 'malformed_token' })
  })
})

it('TOK-18 failed tries use up the allowance of the address, and then a good token is refused too', async () => {
  for (let i = 0; i < 3; i++) await verify({ by: stranger, header: { kid: 'k1' } })
  expect(await verify()).toMatchObject({ ok: false, reason: 'rate_limited' })
  clock.advance(60_000)
  expect(await verify()).toMatchObject({ ok: true })
})
