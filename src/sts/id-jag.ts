// An identity assertion (ID-JAG) of a configured provider, as draft-ietf-oauth-identity-assertion-authz-grant-05 has it:
// from the compact form to who acts for whom, or to one reason against it. Use for a second time is not looked at here.

import type { ProviderConfig, StsClientConfig } from '../config/sts-config.ts'
import { type CompactJws, parseCompactJws } from '../identity/compact-jws.ts'
import { isIdentity } from '../identity/identifier.ts'
import type { KeySource } from '../identity/key-source.ts'
import { classOf } from '../identity/token-type.ts'
import { verifyAssertion } from './assertion.ts'
import type { Refusal } from './refusal.ts'

export interface Provider {
  config: ProviderConfig
  keys: KeySource
}

/** What an identity provider has asserted. Times are milliseconds since the epoch. */
export interface IdJag {
  ok: true
  issuer: string
  jti: string
  /** The human, as tokens name it. */
  subject: string
  tenant: string | undefined
  /** `scope` as it stands. */
  scope: string | undefined
  /** As it stands: a ceiling that the proxy reads. */
  authorizationDetails: readonly unknown[] | undefined
  txn: string | undefined
  /** Until then it could be used again. */
  endsAtMs: number
}

export type ReadIdJag =
  | IdJag
  | {
      ok: false
      reason: Refusal
      /** A configured issuer that the assertion names. */
      issuer?: string
    }

export interface IdJagRules {
  /** Identifier of this server. */
  issuer: string
  /** The one resource for which there are tokens. */
  resource: string
  client: StsClientConfig
  maxBytes: number
}

/** Never rejects. */
export async function readIdJag(
  token: string,
  rules: IdJagRules,
  providers: ReadonlyMap<string, Provider>,
  nowMs: number,
): Promise<ReadIdJag> {
  const jws = parseCompactJws(token, rules.maxBytes)
  if (!jws.ok) return jws
  if (classOf(jws.header, new Map()) !== 'id_jag') return { ok: false, reason: 'wrong_token_type' }
  const iss = jws.claims.get('iss')
  const provider = typeof iss === 'string' ? providers.get(iss) : undefined
  if (provider === undefined) return { ok: false, reason: 'unknown_issuer' }
  const read = await readOf(provider, jws, rules, nowMs)
  return read.ok ? read : { ...read, issuer: provider.config.issuer }
}

async function readOf(
  { config, keys }: Provider,
  jws: CompactJws,
  { issuer, resource, client }: IdJagRules,
  nowMs: number,
): Promise<ReadIdJag> {
  if (!client.providers.includes(config.issuer)) return { ok: false, reason: 'issuer_not_allowed' }
  const expected = { ...config, audience: issuer, requireClientId: true }
  const verified = await verifyAssertion(jws, expected, keys, nowMs)
  if (!verified.ok) return verified
  const { claims, registered } = verified
  if (registered.clientId !== client.id) return { ok: false, reason: 'client_mismatch' }
  if (claims.has('cnf')) return { ok: false, reason: 'proof_required' }
  if (claims.has('act') && !isAgent(claims.get('act'), client.agent)) {
    return { ok: false, reason: 'actor_mismatch' }
  }
  if (claims.has('resource') && !names(claims.get('resource'), resource)) {
    return { ok: false, reason: 'wrong_resource' }
  }
  const name = claims.get(config.subjectClaim)
  const tenant = config.tenantClaim === undefined ? config.tenant : claims.get(config.tenantClaim)
  if (name === undefined || (config.tenantClaim !== undefined && tenant === undefined)) {
    return { ok: false, reason: 'missing_claim' }
  }
  const [scope, details, txn] = ['scope', 'authorization_details', 'txn'].map((claim) => claims.get(claim))
  const isReadable =
    isIdentity(name) &&
    (tenant === undefined || isIdentity(tenant)) &&
    (scope === undefined || typeof scope === 'string') &&
    (details === undefined || Array.isArray(details)) &&
    (txn === undefined || isIdentity(txn))
  if (!isReadable) return { ok: false, reason: 'bad_claim' }
  const { tenants } = config
  if (tenants !== undefined && !tenants.some((each) => each === tenant)) {
    return { ok: false, reason: 'foreign_tenant' }
  }
  return {
    ok: true,
    issuer: config.issuer,
    jti: registered.jti,
    subject: `${config.subjectPrefix}${name}`,
    tenant,
    scope,
    authorizationDetails: details,
    txn,
    endsAtMs: registered.expiresAtMs + config.leeway,
  }
}

/** Exactly this agent and no chain behind it: of whom a chain came would be lost in the token. */
function isAgent(act: unknown, agent: { iss: string; sub: string }): boolean {
  if (typeof act !== 'object' || act === null || Array.isArray(act)) return false
  const actor = new Map<string, unknown>(Object.entries(act))
  return actor.get('iss') === agent.iss && actor.get('sub') === agent.sub && !actor.has('act')
}

function names(resource: unknown, wanted: string): boolean {
  return (Array.isArray(resource) ? resource : [resource]).includes(wanted)
}
