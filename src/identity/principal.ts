// Who is acting, from a verified token: parties, tenant, attributes, ceilings, times. Bound to the MQTT Client
// Identifier in a second step, because that is not the token's to say. TOK-15, TOK-16.

import type { IssuerConfig } from '../config/config.ts'
import type { Party, Subject } from '../policy/subject.ts'
import type { AuthFailure } from './auth-failure.ts'
import { bindCeilings, readCeilings } from './ceiling.ts'
import type { RegisteredClaims } from './claim-rules.ts'
import type { Confirmation } from './confirmation.ts'
import { isIdentity, isTopicLevel } from './identifier.ts'
import { mapParties } from './mapping.ts'

/** Who is acting, by a verified token. Immutable. Times are milliseconds since the epoch. */
export interface Principal extends Subject {
  /** `iss` of the token. */
  issuer: string
  /** `jti`. */
  tokenId: string
  /** SHA-256 of the compact token, hex. */
  tokenDigest: string
  keyId: string | undefined
  /** The key that the token is bound to, and that its bearer has proved to hold; undefined: a bearer token. */
  confirmation?: Confirmation | undefined
  /** `client_id` of the token, when present. */
  oauthClientId: string | undefined
  issuedAtMs: number
  expiresAtMs: number
  /** Clock leeway already added: no packet passes at or after this instant. */
  endsAtMs: number
  /** Outermost actor first; for the audit record only. Empty when self-acting. */
  actorChain: readonly { iss: string; sub: string }[]
  /** `txn` of the token, for correlation. */
  txn: string | undefined
}

/** A principal before the client identifier is known: `ceilings` may hold `${clientid}`, `attributes` lack `client_id`. */
export type VerifiedToken = Omit<Principal, 'clientId'>

/** What the signature check knows of the token besides its claims. */
export interface TokenEvidence {
  /** SHA-256 of the compact form, hex. */
  digest: string
  keyId: string | undefined
  confirmation?: Confirmation | undefined
}

type Claims = ReadonlyMap<string, unknown>

/** Builds the principal from claims whose signature, times and audience hold. */
export function buildPrincipal(
  claims: Claims,
  registered: RegisteredClaims,
  issuer: IssuerConfig,
  evidence: TokenEvidence,
): { ok: true; principal: VerifiedToken } | { ok: false; reason: AuthFailure } {
  const parties = mapParties(claims, registered, issuer)
  if (!parties.ok) return parties

  const tenant: Tenant =
    parties.tenant === undefined ? readTenant(claims, issuer) : { ok: true, id: parties.tenant }
  if (!tenant.ok) return tenant
  const attributes = readAttributes(claims, issuer.claims.attributes)
  if (attributes === undefined) return { ok: false, reason: 'bad_claim' }
  attributes.set('agent_id', [parties.agent.id])
  attributes.set('user_id', [parties.human.id])
  if (tenant.id !== undefined) attributes.set('org_id', [tenant.id])

  const ceilings = readCeilings(claims, issuer)
  if (ceilings === undefined) return { ok: false, reason: 'bad_claim' }
  const txn = claims.get('txn')
  if (txn !== undefined && !isIdentity(txn)) return { ok: false, reason: 'bad_claim' }

  const { agent, human, delegated, actorChain } = parties
  return {
    ok: true,
    principal: Object.freeze({
      agent: Object.freeze(agent),
      human: Object.freeze(human),
      delegated,
      tenant: tenant.id,
      attributes,
      ceilings,
      issuer: registered.iss,
      tokenId: registered.jti,
      tokenDigest: evidence.digest,
      keyId: evidence.keyId,
      confirmation: evidence.confirmation,
      oauthClientId: registered.clientId,
      issuedAtMs: registered.issuedAtMs,
      expiresAtMs: registered.expiresAtMs,
      endsAtMs: registered.expiresAtMs + issuer.leeway,
      actorChain,
      txn,
    }),
  }
}

/**
 * The principal of a connection with this bound MQTT Client Identifier.
 *
 * @returns undefined when a ceiling of the token uses `${clientid}` and the identifier is not one topic level
 */
export function bindPrincipal(token: VerifiedToken, clientId: string): Principal | undefined {
  const ceilings = bindCeilings(token.ceilings, clientId)
  if (ceilings === undefined) return undefined
  const attributes = new Map(token.attributes)
  attributes.set('client_id', [clientId])
  return Object.freeze({ ...token, clientId, attributes, ceilings })
}

/** Whether two principals are the same human, agent and tenant, under the same names in topics (EXP-03). */
export function isSameBearer(a: Principal, b: Principal): boolean {
  return (
    isSameParty(a.human, b.human) &&
    isSameParty(a.agent, b.agent) &&
    a.delegated === b.delegated &&
    a.tenant === b.tenant &&
    a.clientId === b.clientId
  )
}

/** Whether a human's delegation is to the agent of a connection, in its tenant, under the same names in topics. */
export function isForAgentOf(delegation: Principal, connection: Principal): boolean {
  return (
    delegation.delegated &&
    isSameParty(delegation.agent, connection.agent) &&
    delegation.tenant === connection.tenant
  )
}

function isSameParty(a: Party, b: Party): boolean {
  return a.iss === b.iss && a.sub === b.sub && a.id === b.id
}

type Tenant = { ok: true; id: string | undefined } | { ok: false; reason: AuthFailure }

/** A configured tenant claim must be there. Without one there is no tenant; `claims` reads `org_id` if present. */
function readTenant(claims: Claims, issuer: IssuerConfig): Tenant {
  const configured = issuer.claims.tenant
  const name = configured ?? (issuer.mapping === 'claims' ? 'org_id' : undefined)
  const value = name === undefined ? undefined : claims.get(name)
  if (value === undefined)
    return configured === undefined ? { ok: true, id: undefined } : { ok: false, reason: 'missing_claim' }
  return isTopicLevel(value) ? { ok: true, id: value } : { ok: false, reason: 'bad_identifier' }
}

/** @returns undefined when a mapped claim is neither a string nor a list of strings, or holds control characters */
function readAttributes(
  claims: Claims,
  names: Readonly<Record<string, string>>,
): Map<string, readonly string[]> | undefined {
  const attributes = new Map<string, readonly string[]>()
  for (const [attribute, claim] of Object.entries(names)) {
    const value = claims.get(claim)
    if (value === undefined) continue
    const list: unknown[] = Array.isArray(value) ? value : [value]
    if (!list.every(isIdentity)) return undefined
    attributes.set(attribute, Object.freeze(list))
  }
  return attributes
}
