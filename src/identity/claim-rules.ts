// The registered claims of a verified access token: presence, form, times, audience. Every rule stands on its own.
// RFC 7519 §4.1, RFC 9068 §2.2 and §4, TOK-07 to TOK-10.

import type { IssuerConfig } from '../config/config.ts'
import type { AuthFailure } from './auth-failure.ts'
import { isIdentity } from './identifier.ts'

export interface RegisteredClaims {
  ok: true
  iss: string
  sub: string
  jti: string
  clientId: string | undefined
  issuedAtMs: number
  expiresAtMs: number
}

export type ClaimFailure = Extract<
  AuthFailure,
  | 'missing_claim'
  | 'bad_claim'
  | 'expired'
  | 'not_yet_valid'
  | 'issued_in_future'
  | 'lifetime_too_long'
  | 'wrong_audience'
>

export interface ClaimFault {
  ok: false
  reason: ClaimFailure
}

/** What a token must be, of the settings of its issuer. */
export type ClaimExpectations = Pick<
  IssuerConfig,
  'issuer' | 'audience' | 'requireClientId' | 'maxLifetime' | 'leeway'
>

/** 9999-12-31T23:59:59Z, in seconds: later dates are nonsense and overflow date formatting. */
const LATEST_DATE_S = 253_402_300_799

/**
 * Checks the registered claims of a token whose signature holds.
 *
 * @param nowMs wall clock
 */
export function checkRegisteredClaims(
  claims: ReadonlyMap<string, unknown>,
  issuer: ClaimExpectations,
  nowMs: number,
): RegisteredClaims | ClaimFault {
  const required = ['exp', 'iat', 'sub', 'jti', ...(issuer.requireClientId ? ['client_id'] : [])]
  if (required.some((name) => !claims.has(name))) return fault('missing_claim')

  const expiresAtMs = dateMs(claims.get('exp'))
  const issuedAtMs = dateMs(claims.get('iat'))
  const notBeforeMs = claims.has('nbf') ? dateMs(claims.get('nbf')) : 0
  if (expiresAtMs === undefined || issuedAtMs === undefined || notBeforeMs === undefined)
    return fault('bad_claim')
  const sub = claims.get('sub')
  const jti = claims.get('jti')
  const clientId = claims.get('client_id')
  if (!isIdentity(sub) || !isIdentity(jti)) return fault('bad_claim')
  if (clientId !== undefined && !isIdentity(clientId)) return fault('bad_claim')

  if (expiresAtMs <= issuedAtMs) return fault('bad_claim')
  if (nowMs >= expiresAtMs + issuer.leeway) return fault('expired')
  if (nowMs < notBeforeMs - issuer.leeway) return fault('not_yet_valid')
  if (nowMs < issuedAtMs - issuer.leeway) return fault('issued_in_future')
  // With `exp` still ahead, this also bounds the age: `iat` is at most maxLifetime plus leeway ago.
  if (expiresAtMs - issuedAtMs > issuer.maxLifetime) return fault('lifetime_too_long')

  if (!isMeantFor(claims.get('aud'), issuer.audience)) return fault('wrong_audience')
  return { ok: true, iss: issuer.issuer, sub, jti, clientId, issuedAtMs, expiresAtMs }
}

/** NumericDate to milliseconds; undefined for anything but a positive number of a year before 10000. RFC 7519 §2. */
export function dateMs(value: unknown): number | undefined {
  if (typeof value !== 'number' || !(value > 0) || value > LATEST_DATE_S) return undefined
  return Math.floor(value * 1000)
}

/** Whether `aud` names one of these; a list with anything but texts names nobody. */
export function isMeantFor(audience: unknown, accepted: readonly string[]): boolean {
  const listed = Array.isArray(audience) ? audience : [audience]
  return (
    listed.every((name) => typeof name === 'string') &&
    listed.some((name) => accepted.includes(name as string))
  )
}

function fault(reason: ClaimFailure): ClaimFault {
  return { ok: false, reason }
}
