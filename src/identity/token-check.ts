// What is asked of somebody else about a token whose signature and claims hold: at CONNECT, at each renewal, and again and
// again while it is in use.

/** A verified token, as a check needs it. */
export interface CheckedToken {
  /** Compact form. */
  token: string
  /** SHA-256 of it, hex. */
  digest: string
  claims: ReadonlyMap<string, unknown>
  issuer: string
  tokenId: string
  /** Milliseconds since the epoch. */
  expiresAtMs: number
}

/** Why a token is refused. `…_unavailable`: nobody could be asked. */
export type CheckFailure =
  | 'status_missing'
  | 'status_bad_reference'
  | 'status_not_valid'
  | 'status_unavailable'
  | 'not_active'
  | 'introspection_unavailable'

export interface TokenCheck {
  /** @returns undefined when the token holds. Never rejects */
  check(token: CheckedToken): Promise<CheckFailure | undefined>
  close(): Promise<void>
}

export function isUnavailable(failure: CheckFailure): boolean {
  return failure === 'status_unavailable' || failure === 'introspection_unavailable'
}
