// CONTRACT STUB, being implemented: the result of a verified token.
import type { Subject } from '../policy/subject.ts'

/** Who is acting, by a verified token. Immutable. Times are milliseconds since the epoch. */
export interface Principal extends Subject {
  /** `iss` of the token. */
  issuer: string
  /** `jti`. */
  tokenId: string
  /** SHA-256 of the compact token, hex. */
  tokenDigest: string
  keyId: string | undefined
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
