// Tokens of workloads: Kubernetes and SPIFFE. Ids: identity-standards.md 13.2 (KEY) and 13.3 (DEL).
import { describe, expect, it } from 'vitest'
import type { IssuerConfig } from '../../src/config/config.ts'
import { parseKeySet } from '../../src/identity/key-set.ts'
import { TokenVerifier, type VerifyResult } from '../../src/identity/token-verifier.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { issuerConfig, TEST_AUDIENCE } from '../support/tokens.ts'
import { FixedKeys, RawSigner } from './raw-signer.ts'
import { outcome } from './verifier-kit.ts'

const CLUSTER = 'https://kubernetes.default.svc.cluster.local'
const signer = new RawSigner('cluster', 'RS256')
const svids = new RawSigner('svid')
const clock = new FakeClock()
const now = Math.floor(clock.now() / 1000)

const KUBERNETES: Partial<IssuerConfig> = {
  issuer: CLUSTER,
  algorithms: ['RS256'],
  mapping: 'kubernetes',
  maxLifetime: 3_600_000,
  owners: { scout: 'alice', watch: 'bob' },
  kubernetes: {
    tenant: 'none',
    agents: [
      { namespace: 'agents', serviceAccount: 'scout', agent: 'scout', pod: 'scout-*', uid: 'sa-1' },
      { namespace: 'agents', serviceAccount: 'night.watch', agent: 'watch' },
      { namespace: 'agents', serviceAccount: 'orphan', agent: 'orphan' },
    ],
  },
}
const SPIFFE: Partial<IssuerConfig> = {
  issuer: 'https://oidc.prod.example',
  mapping: 'spiffe',
  owners: { scout: 'alice' },
  spiffe: { trustDomain: 'prod.example', paths: ['/ns/{org_id}/sa/{agent_id}', '/bots/*/{agent_id}'] },
}

async function verifier(...changes: Partial<IssuerConfig>[]): Promise<TokenVerifier> {
  const keys = await FixedKeys.of([signer.jwk, svids.jwk], ['RS256', 'ES256'])
  const issuers = changes.map((change) => ({ config: issuerConfig(change), keys }))
  return new TokenVerifier(issuers, clock, { maxBytes: 8192 })
}

const DETAILS = {
  namespace: 'agents',
  node: { name: 'node-1', uid: 'n-1' },
  pod: { name: 'scout-7d9f-x2x', uid: 'p-1' },
  serviceaccount: { name: 'scout', uid: 'sa-1' },
  warnafter: now + 3000,
}

/** As a kube-apiserver writes it: no `typ`, no client. */
function projected(changes: object = {}, details: object = {}): Record<string, unknown> {
  return {
    aud: [TEST_AUDIENCE],
    exp: now + 3600,
    iat: now,
    iss: CLUSTER,
    jti: '0f6f8d55-2b1c-4a0f-8c8a-2c7c2f5f3f6b',
    'kubernetes.io': { ...DETAILS, ...details },
    nbf: now,
    sub: 'system:serviceaccount:agents:scout',
    ...changes,
  }
}

const ofCluster = async (
  claims: object,
  header: object = {},
  config: Partial<IssuerConfig> = {},
): Promise<VerifyResult> =>
  (await verifier({ ...KUBERNETES, ...config })).verify(signer.sign(claims, { typ: undefined, ...header }))

describe('DEL-15 a projected service-account token', () => {
  it('is an agent that acts for itself, with an owner', async () => {
    expect(await ofCluster(projected())).toMatchObject({
      principal: {
        agent: { iss: CLUSTER, sub: 'system:serviceaccount:agents:scout', id: 'scout' },
        human: { id: 'alice' },
        delegated: false,
        tenant: undefined,
        actorChain: [],
      },
    })
  })

  it('by option the namespace is the tenant', async () => {
    const kubernetes = { ...KUBERNETES.kubernetes!, tenant: 'namespace' as const }
    const result = await ofCluster(projected(), {}, { kubernetes })
    expect(result.ok && result.principal.tenant).toBe('agents')
    expect(result.ok && result.principal.attributes.get('org_id')).toEqual(['agents'])
  })

  it.each<[string, object, object, string]>([
    ['another account', { sub: 'system:serviceaccount:agents:other' }, {}, 'workload_unknown'],
    ['another namespace', { sub: 'system:serviceaccount:other:scout' }, {}, 'workload_unknown'],
    ['one name more', { sub: 'system:serviceaccount:agents:scout:x' }, {}, 'workload_unknown'],
    ['a user', { sub: 'scout' }, {}, 'workload_unknown'],
    [
      'an account without owner',
      { sub: 'system:serviceaccount:agents:orphan' },
      { serviceaccount: { name: 'orphan' } },
      'no_owner',
    ],
    ['no kubernetes.io', { 'kubernetes.io': undefined }, {}, 'workload_mismatch'],
    ['kubernetes.io as text', { 'kubernetes.io': 'agents' }, {}, 'workload_mismatch'],
    ['namespace and sub that differ', {}, { namespace: 'other' }, 'workload_mismatch'],
    [
      'account and sub that differ',
      {},
      { serviceaccount: { name: 'other', uid: 'sa-1' } },
      'workload_mismatch',
    ],
    ['an account made anew', {}, { serviceaccount: { name: 'scout', uid: 'sa-2' } }, 'workload_mismatch'],
    ['no pod', {}, { pod: undefined }, 'workload_mismatch'],
    ['a pod without uid', {}, { pod: { name: 'scout-7d9f-x2x' } }, 'workload_mismatch'],
    ['another pod', {}, { pod: { name: 'debug', uid: 'p-2' } }, 'workload_mismatch'],
    [
      'a pod whose name only contains it',
      {},
      { pod: { name: 'x-scout-1', uid: 'p-2' } },
      'workload_mismatch',
    ],
    [
      'a pod name with a dot where * has none',
      {},
      { pod: { name: 'scout-1.x', uid: 'p-2' } },
      'workload_mismatch',
    ],
    ['an actor', { act: { iss: CLUSTER, sub: 'x' } }, {}, 'actor_unexpected'],
    ['another audience', { aud: ['https://kubernetes.default.svc'] }, {}, 'wrong_audience'],
    ['a year', { exp: now + 31_536_000 }, {}, 'lifetime_too_long'],
    ['expired', { exp: now - 60, iat: now - 660 }, {}, 'expired'],
  ])('%s: refused', async (_, claims, details, reason) => {
    expect(outcome(await ofCluster(projected(claims, details)))).toBe(reason)
  })

  it('without `uid` and `pod` in the configuration any pod of the account will do, and the digest can be the id', async () => {
    const claims = projected(
      { sub: 'system:serviceaccount:agents:night.watch', jti: undefined },
      { serviceaccount: { name: 'night.watch', uid: 'any' }, pod: { name: 'p', uid: 'u' } },
    )
    const result = await ofCluster(claims)
    expect(result.ok && result.principal.tokenId).toMatch(/^sha256:[0-9a-f]{64}$/)
  })

  it('untyped tokens are taken of such an issuer only, and no access tokens of it', async () => {
    expect(outcome(await ofCluster(projected(), { typ: 'at+jwt' }))).toBe('wrong_token_type access')
    expect(outcome(await ofCluster(projected({ nonce: 'n' })))).toBe('wrong_token_type id_token')
    const both = await verifier(KUBERNETES, {})
    const act = { iss: 'https://idp.test', sub: 'alice', act: { iss: 'https://idp.test', sub: 'scout' } }
    const elsewhere = svids.sign(projected(act), { typ: undefined })
    expect(outcome(await both.verify(elsewhere))).toBe('wrong_token_type untyped')
  })
})

const svid = (changes: object = {}): object => ({
  sub: 'spiffe://prod.example/ns/agents/sa/scout',
  aud: [TEST_AUDIENCE],
  exp: now + 300,
  iat: now,
  ...changes,
})
const ofSpire = async (claims: object, header: object = {}): Promise<VerifyResult> =>
  (await verifier(SPIFFE)).verify(svids.sign(claims, { typ: 'JWT', ...header }))

describe('DEL-16 a JWT-SVID', () => {
  it.each([
    ['without iss and jti, as SPIRE writes it', {}, {}],
    ['with iss', { iss: 'https://oidc.prod.example' }, {}],
    ['of type JOSE', {}, { typ: 'JOSE' }],
    ['without type', {}, { typ: undefined }],
  ])('%s: is an agent by its path', async (_, claims, header) => {
    expect(await ofSpire(svid(claims), header)).toMatchObject({
      principal: {
        agent: { sub: 'spiffe://prod.example/ns/agents/sa/scout', id: 'scout' },
        human: { id: 'alice' },
        tenant: 'agents',
        delegated: false,
        issuer: 'https://oidc.prod.example',
      },
    })
  })

  it('the second template fits another path', async () => {
    const result = await ofSpire(svid({ sub: 'spiffe://prod.example/bots/blue/scout' }))
    expect(result).toMatchObject({ principal: { agent: { id: 'scout' }, tenant: undefined } })
  })

  it.each<[string, object, object, string]>([
    [
      'another trust domain',
      { iss: 'https://oidc.prod.example', sub: 'spiffe://evil.example/ns/agents/sa/scout' },
      {},
      'wrong_trust_domain',
    ],
    [
      'another trust domain, and no iss',
      { sub: 'spiffe://evil.example/ns/agents/sa/scout' },
      {},
      'unknown_issuer',
    ],
    [
      'a trust domain that begins alike',
      { iss: 'https://oidc.prod.example', sub: 'spiffe://prod.example.evil/ns/a/sa/scout' },
      {},
      'wrong_trust_domain',
    ],
    [
      'upper case in the trust domain',
      { iss: 'https://oidc.prod.example', sub: 'spiffe://Prod.example/ns/agents/sa/scout' },
      {},
      'workload_unknown',
    ],
    ['no SPIFFE ID', { iss: 'https://oidc.prod.example', sub: 'scout' }, {}, 'workload_unknown'],
    ['no path', { iss: 'https://oidc.prod.example', sub: 'spiffe://prod.example' }, {}, 'workload_unknown'],
    [
      'a path that fits no template',
      { sub: 'spiffe://prod.example/ns/agents/scout' },
      {},
      'workload_unknown',
    ],
    ['a longer path', { sub: 'spiffe://prod.example/ns/agents/sa/scout/x' }, {}, 'workload_unknown'],
    [
      'dots as a segment',
      { iss: 'https://oidc.prod.example', sub: 'spiffe://prod.example/ns/../sa/scout' },
      {},
      'workload_unknown',
    ],
    [
      'an empty segment',
      { iss: 'https://oidc.prod.example', sub: 'spiffe://prod.example/ns//sa/scout' },
      {},
      'workload_unknown',
    ],
    [
      'an escape',
      { iss: 'https://oidc.prod.example', sub: 'spiffe://prod.example/ns/a/sa/sc%6Fut' },
      {},
      'workload_unknown',
    ],
    [
      'a user in the authority',
      { iss: 'https://oidc.prod.example', sub: 'spiffe://x@prod.example/ns/a/sa/scout' },
      {},
      'workload_unknown',
    ],
    ['an agent without owner', { sub: 'spiffe://prod.example/ns/agents/sa/analyst' }, {}, 'no_owner'],
    ['no audience', { aud: undefined }, {}, 'wrong_audience'],
    ['another audience', { aud: 'other' }, {}, 'wrong_audience'],
    ['no exp', { exp: undefined }, {}, 'missing_claim'],
    ['an access token', {}, { typ: 'at+jwt' }, 'wrong_token_type access'],
    ['a WIT-SVID', {}, { typ: 'wit+jwt' }, 'wrong_token_type workload_identity'],
    ['another header member', {}, { jku: 'https://evil.example' }, 'malformed_token'],
  ])('%s: refused', async (_, claims, header, reason) => {
    expect(outcome(await ofSpire(svid(claims), header))).toBe(reason)
  })
})

describe('KEY-07 keys of a SPIFFE bundle', () => {
  const bundle = JSON.stringify({
    spiffe_sequence: 12,
    spiffe_refresh_hint: 300,
    keys: [
      { ...new RawSigner('x').jwk, use: 'x509-svid', x5c: ['MIIB'], kid: undefined },
      { ...svids.jwk, use: 'jwt-svid', alg: undefined },
    ],
  })

  it('are passed over unless `use` says so', async () => {
    await expect(parseKeySet(bundle, ['ES256'])).rejects.toMatchObject({ code: 'ERR_KEY_SET' })
    const set = await parseKeySet(bundle, ['ES256'], 'jwt-svid')
    expect(set.keys.map(({ kid }) => kid)).toEqual(['svid'])
    expect(set.brokenCount).toBe(0)
  })

  it('and with it no other key counts', async () => {
    const others = JSON.stringify({ keys: [svids.jwk, { ...svids.jwk, use: undefined }] })
    await expect(parseKeySet(others, ['ES256'], 'jwt-svid')).rejects.toMatchObject({ code: 'ERR_KEY_SET' })
  })
})
