// Proof that a client holds the key of its token: a JWS over a nonce of ours. Form of a DPoP proof without HTTP,
// draft-nandakumar-moq-generic-dpop-proof-00 (expired), with a context for MQTT of our own (docs/identity.md).

import { createHash, timingSafeEqual } from 'node:crypto'
import { calculateJwkThumbprint, compactVerify, importJWK, type JWK } from 'jose'
import { parseCompactJws } from './compact-jws.ts'
import { tokenText } from './credential.ts'
import { isIdentity } from './identifier.ts'

export const PROOF_DRAFT = 'draft-nandakumar-moq-generic-dpop-proof-00'
/** Label of the exporter value that a proof carries under TLS 1.3. */
export const EXPORTER_LABEL = 'EXPORTER-postern-mqtt-proof'
const PROOF_TYPE = 'dpop-proof+jwt'
const LONGEST_PROOF_BYTES = 8 * 1024
const CONTEXT_MEMBERS = new Set(['type', 'aud', 'client_id', 'tls_exp'])

/** What a proof must be about. */
export interface ProofRules {
  /** Thumbprint of the key that the token is bound to. */
  jkt: string
  /** base64url. */
  nonce: string
  /** The access token. */
  token: string
  /** Audiences of this proxy for the issuer of the token. */
  audience: readonly string[]
  /** As in CONNECT. */
  clientId: string
  /** undefined: no TLS 1.3, and the nonce alone binds the proof to the connection. */
  exporter: Buffer | undefined
  algorithms: readonly string[]
  /** `iat` may be this far from now, milliseconds. */
  windowMs: number
}

/** Never rejects. @returns whether it proves it */
export async function verifyProof(proof: Buffer, rules: ProofRules, nowMs: number): Promise<boolean> {
  const text = tokenText(proof)
  const jws = text === undefined ? undefined : parseCompactJws(text, LONGEST_PROOF_BYTES)
  if (jws?.ok !== true) return false
  const { header, claims, token } = jws
  const [alg, jwk] = [header.get('alg'), header.get('jwk')]
  if (header.get('typ') !== PROOF_TYPE || header.has('crit')) return false
  if (typeof alg !== 'string' || !rules.algorithms.includes(alg)) return false
  if (typeof jwk !== 'object' || jwk === null || Object.hasOwn(jwk, 'd')) return false
  try {
    if ((await calculateJwkThumbprint(jwk as JWK)) !== rules.jkt) return false
    await compactVerify(token, await importJWK(jwk as JWK, alg), { algorithms: [alg] })
  } catch {
    return false
  }
  const iat = claims.get('iat')
  return (
    isIdentity(claims.get('jti')) &&
    typeof iat === 'number' &&
    Math.abs(iat * 1000 - nowMs) <= rules.windowMs &&
    isEqual(claims.get('ath'), createHash('sha256').update(rules.token).digest('base64url')) &&
    isEqual(claims.get('nonce'), rules.nonce) &&
    isContext(claims.get('actx'), rules)
  )
}

function isContext(value: unknown, { audience, clientId, exporter }: ProofRules): boolean {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false
  const context = new Map<string, unknown>(Object.entries(value))
  return (
    [...context.keys()].every((name) => CONTEXT_MEMBERS.has(name)) &&
    context.get('type') === 'mqtt' &&
    audience.includes(context.get('aud') as string) &&
    context.get('client_id') === clientId &&
    (exporter === undefined || isEqual(context.get('tls_exp'), exporter.toString('base64url')))
  )
}

function isEqual(given: unknown, expected: string): boolean {
  if (typeof given !== 'string') return false
  const [a, b] = [Buffer.from(given), Buffer.from(expected)]
  return a.length === b.length && timingSafeEqual(a, b)
}
