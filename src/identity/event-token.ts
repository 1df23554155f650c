// Security Event Tokens (SET): strict reading and verification of one, before anything is made of it. RFC 8417 as SSF 1.0
// narrows it; the error codes are those of RFC 8935 §2.4.

import { compactVerify } from 'jose'
import { parseCompactJws } from './compact-jws.ts'
import { isIdentity } from './identifier.ts'
import type { KeySource } from './key-source.ts'
import { classOf } from './token-type.ts'

/** One verified event. Times are milliseconds since the epoch. */
export interface SecurityEvent {
  jti: string
  issuedAtMs: number
  txn: string | undefined
  /** Event type URI. */
  type: string
  /** Members of the event. */
  payload: ReadonlyMap<string, unknown>
  /** `sub_id` as it stands, unread. */
  subject: unknown
}

export type SetError =
  | 'invalid_request'
  | 'invalid_key'
  | 'invalid_issuer'
  | 'invalid_audience'
  | 'authentication_failed'

export type ReadSet =
  | { ok: true; event: SecurityEvent }
  | {
      ok: false
      err: SetError
      /** Precise; for audit. */
      reason: string
      /** Of a token that is good enough to have one, for the answer of a poll. */
      jti?: string
      /** No keys to be had: it may be good, and is to be sent again. */
      retry?: true
    }

export interface SetRules {
  /** `iss` of the stream's tokens. */
  issuer: string
  audience: readonly string[]
  algorithms: readonly string[]
  maxBytes: number
}

const CLOCK_SKEW_MS = 60_000

/** Never rejects. */
export async function readSet(
  token: string,
  rules: SetRules,
  keys: KeySource,
  nowMs: number,
): Promise<ReadSet> {
  const jws = parseCompactJws(token, rules.maxBytes)
  if (!jws.ok) return fault('invalid_request', jws.reason)
  const { header, claims } = jws
  const jti = claims.get('jti')
  const known = isIdentity(jti) ? { jti } : {}
  if (classOf(header, new Map()) !== 'security_event')
    return fault('invalid_request', 'wrong_token_type', known)
  if (header.has('crit')) return fault('invalid_request', 'unsupported_crit', known)
  if (claims.get('iss') !== rules.issuer) return fault('invalid_issuer', 'unknown_issuer', known)

  const [alg, kid] = [header.get('alg'), header.get('kid')]
  if (typeof alg !== 'string' || !rules.algorithms.includes(alg)) {
    return fault('invalid_key', 'algorithm_not_allowed', known)
  }
  if (kid !== undefined && typeof kid !== 'string') return fault('invalid_request', 'malformed_token', known)
  const found = await keys.keyFor(alg, kid)
  if (!found.ok) {
    const retry = found.reason === 'keys_unavailable' ? { retry: true as const } : {}
    return fault('invalid_key', found.reason, { ...known, ...retry })
  }
  try {
    await compactVerify(token, found.key.key, { algorithms: [found.key.alg] })
  } catch {
    return fault('authentication_failed', 'bad_signature', known)
  }

  const aud = claims.get('aud')
  const audience: unknown[] = Array.isArray(aud) ? aud : [aud]
  if (!audience.some((one) => rules.audience.includes(one as string))) {
    return fault('invalid_audience', 'wrong_audience', known)
  }
  return readEvent(claims, nowMs)
}

function readEvent(claims: ReadonlyMap<string, unknown>, nowMs: number): ReadSet {
  const [jti, iat, txn] = [claims.get('jti'), claims.get('iat'), claims.get('txn')]
  if (!isIdentity(jti)) return fault('invalid_request', 'missing_jti')
  if (typeof iat !== 'number' || !Number.isFinite(iat) || iat < 0) {
    return fault('invalid_request', 'bad_iat', { jti })
  }
  if (iat * 1000 > nowMs + CLOCK_SKEW_MS) return fault('invalid_request', 'issued_in_future', { jti })
  // SSF 1.0: so that no SET passes for another kind of token.
  for (const name of ['sub', 'exp']) {
    if (claims.has(name)) return fault('invalid_request', `has_${name}`, { jti })
  }
  if (txn !== undefined && !isIdentity(txn)) return fault('invalid_request', 'bad_txn', { jti })
  const events = Object.entries(membersOf(claims.get('events')) ?? {})
  const [type, payload] = events[0] ?? []
  const members = membersOf(payload)
  if (events.length !== 1 || type === undefined || members === undefined) {
    return fault('invalid_request', 'not_one_event', { jti })
  }
  if (membersOf(claims.get('sub_id')) === undefined) return fault('invalid_request', 'no_subject', { jti })
  return {
    ok: true,
    event: {
      jti,
      issuedAtMs: iat * 1000,
      txn,
      type,
      payload: new Map(Object.entries(members)),
      subject: claims.get('sub_id'),
    },
  }
}

function membersOf(value: unknown): object | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? value : undefined
}

function fault(err: SetError, reason: string, more: { jti?: string; retry?: true } = {}): ReadSet {
  return { ok: false, err, reason, ...more }
}
