// The effective configuration of `postern sts`: what sts-schema.ts reads, with every default filled in and paths absolute.
// Durations are milliseconds.

import type { Address, IssuerConfig } from './config.ts'

/** The draft whose assertions are taken; named in the file, so that a later one cannot come in unnoticed. */
export const ID_JAG_DRAFT = 'draft-ietf-oauth-identity-assertion-authz-grant-05'

/** An identity provider that says who acts for whom. */
export interface ProviderConfig {
  issuer: string
  jwks: IssuerConfig['jwks']
  algorithms: readonly string[]
  /** Longest `exp` minus `iat` of its assertions. */
  maxLifetime: number
  leeway: number
  /** Claim with the human’s name at this server. */
  subjectClaim: 'sub' | 'aud_sub'
  /** Stands before that name in tokens. */
  subjectPrefix: string
  /** Tenant of everybody it vouches for. */
  tenant: string | undefined
  /** Claim with the tenant. */
  tenantClaim: string | undefined
  /** What that claim may name; undefined: everything. */
  tenants: readonly string[] | undefined
}

/** An OAuth client, which is one agent. It authenticates with a secret or with a key of `jwks`, never with both. */
export interface StsClientConfig {
  id: string
  agent: { iss: string; sub: string }
  secretFile: string | undefined
  jwks: IssuerConfig['jwks'] | undefined
  algorithms: readonly string[]
  /** Issuers of the providers whose assertions it may present. */
  providers: readonly string[]
  /** Names of scopes; empty: its tokens carry none. */
  scopes: readonly string[]
}

export interface StsConfig {
  issuer: string
  address: Address
  tls: { certFile: string; keyFile: string; minVersion: 'TLSv1.2' | 'TLSv1.3' } | undefined
  keysFile: string
  profile: typeof ID_JAG_DRAFT
  token: { audience: string; lifetime: number }
  providers: readonly ProviderConfig[]
  clients: readonly StsClientConfig[]
  /** Name -> what it permits, as AIF entries `[filter, ['pub', 'sub']]`. No prototype. */
  scopes: Readonly<Record<string, readonly ScopeEntry[]>>
  replayFile: string
  auditFile: string
  limits: {
    connections: number
    requestTimeout: number
    bodyBytes: number
    failedTries: number
    failedTriesWindow: number
  }
  log: { level: 'debug' | 'info' | 'warn' | 'error' | 'silent' }
}

export type ScopeEntry = readonly [filter: string, permissions: readonly ('pub' | 'sub')[]]
