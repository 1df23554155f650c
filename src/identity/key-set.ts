// A JWK Set as usable verification keys: one entry per key and algorithm, imported once. RFC 7517, RFC 8725 §3.1.
// Keys come from the configured set only; header members other than `alg` and `kid` never lead to a key (TOK-11).

import { type CryptoKey, importJWK, type JWK } from 'jose'
import { PosternError } from '../errors.ts'

/** Asymmetric signatures only: with a published set, an HMAC key would be public (TOK-04). */
const FITTING_KEY: ReadonlyMap<string, { kty: string; crv?: string }> = new Map([
  ['RS256', { kty: 'RSA' }],
  ['RS384', { kty: 'RSA' }],
  ['RS512', { kty: 'RSA' }],
  ['PS256', { kty: 'RSA' }],
  ['PS384', { kty: 'RSA' }],
  ['PS512', { kty: 'RSA' }],
  ['ES256', { kty: 'EC', crv: 'P-256' }],
  ['ES384', { kty: 'EC', crv: 'P-384' }],
  ['ES512', { kty: 'EC', crv: 'P-521' }],
  ['EdDSA', { kty: 'OKP', crv: 'Ed25519' }],
  ['Ed25519', { kty: 'OKP', crv: 'Ed25519' }],
])

/** Every signature algorithm that an issuer may be configured with. */
export const SIGNATURE_ALGORITHMS: readonly string[] = [...FITTING_KEY.keys()]

const SHORTEST_RSA_BITS = 2048

export interface VerificationKey {
  kid: string | undefined
  alg: string
  key: CryptoKey
}

export type KeyChoice =
  | { ok: true; key: VerificationKey }
  | { ok: false; reason: 'unknown_key' | 'ambiguous_key' }

export class KeySet {
  readonly keys: readonly VerificationKey[]
  /** Keys that are meant for one of the algorithms but cannot be used: bad numbers, too short, private parts. */
  readonly brokenCount: number

  constructor(keys: readonly VerificationKey[], brokenCount: number) {
    this.keys = keys
    this.brokenCount = brokenCount
  }

  /** Names of the keys; a key without one cannot be told from others. */
  get kids(): ReadonlySet<string> {
    return new Set(this.keys.flatMap(({ kid }) => kid ?? []))
  }

  /** The one key for this header; a token without `kid` needs a set where only one key fits (KEY-05). */
  choose(alg: string, kid: string | undefined): KeyChoice {
    const fitting = this.keys.filter((key) => key.alg === alg && (kid === undefined || key.kid === kid))
    if (fitting.length === 0) return { ok: false, reason: 'unknown_key' }
    if (fitting.length > 1) return { ok: false, reason: 'ambiguous_key' }
    return { ok: true, key: fitting[0]! }
  }
}

/**
 * Reads a JWK Set document. Keys for other purposes (HMAC, encryption, other curves) are left out.
 *
 * @param use `sig`: keys of this use or of none; `jwt-svid`: keys so marked only, and no X.509 roots (KEY-07)
 * @throws PosternError `ERR_KEY_SET` when it is not a JWK Set or holds no usable key for `algorithms`
 */
export async function parseKeySet(
  text: string,
  algorithms: readonly string[],
  use: 'sig' | 'jwt-svid' = 'sig',
): Promise<KeySet> {
  const keys: VerificationKey[] = []
  let broken = 0
  for (const jwk of readJwks(text)) {
    let isBroken = false
    for (const alg of algorithms.filter((name) => fits(jwk, name, use))) {
      const key = await importPublicKey(jwk, alg)
      if (key === undefined) isBroken = true
      else keys.push({ kid: typeof jwk.kid === 'string' ? jwk.kid : undefined, alg, key })
    }
    if (isBroken) broken++
  }
  if (keys.length === 0) {
    throw new PosternError(
      'ERR_KEY_SET',
      'internal',
      `no usable key for ${algorithms.join(', ')} in the JWK Set`,
    )
  }
  return new KeySet(keys, broken)
}

function readJwks(text: string): JWK[] {
  let document: unknown
  try {
    document = JSON.parse(text)
  } catch {
    // The parser's message would quote the text, which may be a misplaced secret.
    throw new PosternError('ERR_KEY_SET', 'internal', 'the JWK Set is not JSON')
  }
  const keys = isObject(document) ? document['keys'] : undefined
  if (!Array.isArray(keys) || !keys.every(isObject)) {
    throw new PosternError('ERR_KEY_SET', 'internal', 'the JWK Set has no list of objects under "keys"')
  }
  return keys as JWK[]
}

function fits(jwk: JWK, alg: string, use: 'sig' | 'jwt-svid'): boolean {
  const wanted = FITTING_KEY.get(alg)
  if (wanted === undefined || jwk.kty !== wanted.kty) return false
  if (wanted.crv !== undefined && jwk.crv !== wanted.crv) return false
  if (jwk.alg !== undefined && jwk.alg !== alg) return false
  if (jwk.use !== use && (use !== 'sig' || jwk.use !== undefined)) return false
  return jwk.key_ops === undefined || (Array.isArray(jwk.key_ops) && jwk.key_ops.includes('verify'))
}

async function importPublicKey(jwk: JWK, alg: string): Promise<CryptoKey | undefined> {
  if (jwk.d !== undefined) return undefined
  if (jwk.kty === 'RSA' && bitsOf(jwk.n) < SHORTEST_RSA_BITS) return undefined
  try {
    const key = await importJWK(jwk, alg)
    return key instanceof Uint8Array ? undefined : key
  } catch {
    return undefined
  }
}

function bitsOf(modulus: unknown): number {
  return typeof modulus === 'string' ? Buffer.from(modulus, 'base64url').length * 8 : 0
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
