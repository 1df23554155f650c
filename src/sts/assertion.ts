// A signed assertion (RFC 7523 §3): keys, signature, times, and exactly one audience. What it is for (a grant, or the
// authentication of a client) is judged by whoever calls. No claim is trusted before the signature.

import { compactVerify } from 'jose'
import { checkRegisteredClaims, type RegisteredClaims } from '../identity/claim-rules.ts'
import type { CompactJws } from '../identity/compact-jws.ts'
import type { KeySource } from '../identity/key-source.ts'
import type { Refusal } from './refusal.ts'

export interface AssertionRules {
  issuer: string
  /** Exactly this, and nothing beside it. */
  audience: string
  algorithms: readonly string[]
  /** Longest `exp` minus `iat`, milliseconds. */
  maxLifetime: number
  leeway: number
  requireClientId: boolean
}

export type VerifiedAssertion =
  | { ok: true; claims: ReadonlyMap<string, unknown>; registered: RegisteredClaims }
  | { ok: false; reason: Refusal }

/** Never rejects. `typ` is the caller's to look at. */
export async function verifyAssertion(
  jws: CompactJws,
  rules: AssertionRules,
  keys: KeySource,
  nowMs: number,
): Promise<VerifiedAssertion> {
  const { header, claims } = jws
  if (header.has('crit')) return { ok: false, reason: 'unsupported_crit' }
  const [alg, kid] = [header.get('alg'), header.get('kid')]
  if (typeof alg !== 'string' || !rules.algorithms.includes(alg)) {
    return { ok: false, reason: 'algorithm_not_allowed' }
  }
  if (kid !== undefined && typeof kid !== 'string') return { ok: false, reason: 'malformed_token' }
  const found = await keys.keyFor(alg, kid)
  if (!found.ok) return found
  try {
    await compactVerify(jws.token, found.key.key, { algorithms: [found.key.alg] })
  } catch {
    return { ok: false, reason: 'bad_signature' }
  }
  const { audience, ...expected } = rules
  const registered = checkRegisteredClaims(claims, { ...expected, audience: [audience] }, nowMs)
  if (!registered.ok) return registered
  const aud = claims.get('aud')
  if (Array.isArray(aud) && aud.length !== 1) return { ok: false, reason: 'wrong_audience' }
  return { ok: true, claims, registered }
}
