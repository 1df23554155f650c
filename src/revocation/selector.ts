// By what a connection can be revoked. A selector names one or several things that must all be true of a connection;
// each becomes a facet, a text that two sides compare exactly. Pure.

import type { Principal } from '../identity/principal.ts'

/** A subject in the name space of an issuer. */
export interface Named {
  iss: string
  sub: string
}

/** All members that are there must fit. At least one is. */
export interface Selector {
  /** Human or agent, whichever of them bears the name. */
  subject?: Named
  human?: Named
  agent?: Named
  token?: { iss: string; jti: string }
  /** OAuth client. */
  client?: { iss: string; client_id: string }
  tenant?: string
  /** Value of the attribute `email`. */
  email?: string
  /** Signing key of the issuer. */
  key?: { iss: string; kid: string }
  /** Key that the token is bound to: base64url of SHA-256 (`jkt` or `x5t#S256`). */
  thumbprint?: string
}

/** What of a just-in-time grant can be revoked. */
export interface HeldGrant {
  issuer: string
  tokenId: string
  keyId: string | undefined
  approver: Named
  issuedAtMs: number
}

/** From the one that fits fewest connections to the one that fits most: marks are found by their first facet. */
const KINDS = [
  'token',
  'thumbprint',
  'human',
  'agent',
  'subject',
  'email',
  'client',
  'key',
  'tenant',
] as const

/** One text for each member, the most selective first. Equal selectors give equal lists. */
export function facetsOf(selector: Selector): string[] {
  const members = new Map(Object.entries(selector))
  return KINDS.flatMap((kind) => {
    const value: unknown = members.get(kind)
    return value === undefined ? [] : [facet(kind, value)]
  })
}

/** Every facet by which a connection of this principal can be named. */
export function facetsOfPrincipal(principal: Principal): string[] {
  const { human, agent, issuer, tokenId, oauthClientId, tenant, keyId, confirmation } = principal
  const named = [
    facet('token', { iss: issuer, jti: tokenId }),
    ...[human, agent].map((party) => facet('subject', party)),
    facet('human', human),
    facet('agent', agent),
  ]
  if (oauthClientId !== undefined) named.push(facet('client', { iss: issuer, client_id: oauthClientId }))
  if (tenant !== undefined) named.push(facet('tenant', tenant))
  if (keyId !== undefined) named.push(facet('key', { iss: issuer, kid: keyId }))
  const email = principal.attributes.get('email')
  if (email?.length === 1) named.push(facet('email', email[0]))
  for (const thumbprint of Object.values(confirmation ?? {})) named.push(facet('thumbprint', thumbprint))
  return named
}

/** Every facet by which a grant that is held can be named: itself, its key, and who has approved. */
export function facetsOfGrant({ issuer, tokenId, keyId, approver }: HeldGrant): string[] {
  const named = [
    facet('token', { iss: issuer, jti: tokenId }),
    facet('human', approver),
    facet('subject', approver),
  ]
  if (keyId !== undefined) named.push(facet('key', { iss: issuer, kid: keyId }))
  return named
}

/** The order of the members is fixed here, so that equal things give equal texts. */
function facet(kind: (typeof KINDS)[number], value: unknown): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify([kind, value])
  const { iss, sub, jti, client_id, kid } = value as Record<string, unknown>
  return JSON.stringify([kind, iss, sub ?? jti ?? client_id ?? kid])
}
