// A compact token in, a principal or one reason out. Cheap checks come first; no key is looked for before the token's
// form, type, issuer and algorithm are right, and no claim is trusted before the signature. RFC 8725, RFC 9068 §4.

import { compactVerify, errors } from 'jose'
import type { Clock } from '../clock.ts'
import type { IssuerConfig } from '../config/config.ts'
import type { PopKey } from './ace.ts'
import type { AceKeys } from './ace-keys.ts'
import type { AuthFailure } from './auth-failure.ts'
import { checkRegisteredClaims } from './claim-rules.ts'
import { type CompactJws, parseCompactJws } from './compact-jws.ts'
import { type Confirmation, readConfirmation } from './confirmation.ts'
import { isIdentity } from './identifier.ts'
import { SIGNATURE_ALGORITHMS, type VerificationKey } from './key-set.ts'
import type { KeySource } from './key-source.ts'
import { KnownSignatures } from './known-signatures.ts'
import { buildPrincipal, type VerifiedToken } from './principal.ts'
import type { TokenCheck } from './token-check.ts'
import { classOf, type TokenClass } from './token-type.ts'
import { isSvidHeader, isWorkloadIssuer, readSpiffeId, withTokenId } from './workload.ts'

/** A configured issuer with its keys. */
export interface IssuerRuntime {
  config: IssuerConfig
  keys: KeySource
  /** Asked about every token whose signature and claims hold. */
  checks?: readonly TokenCheck[]
}

export type VerifyResult =
  /** `popKey`: with `Shown.ace`, the key that is to be proved. */
  | { ok: true; principal: VerifiedToken; popKey?: PopKey | undefined }
  | {
      ok: false
      reason: AuthFailure
      /** For `wrong_token_type`: what the token is instead. Never text from the token. */
      detail?: TokenClass
      /** A configured issuer's name, as soon as the token is known to claim it. */
      issuer?: string
      /** `sub`, only when the signature held. */
      subject?: string
    }

export interface VerifierOptions {
  /** Longest token in bytes. */
  maxBytes: number
}

/** What a connection shows of keys. */
export interface Shown {
  /** Digest of the TLS client certificate. */
  x5t: string | undefined
  /** Thumbprint of the key that was proved; `later`: it is challenged after the token. */
  jkt: string | 'later' | undefined
  /** Method `ace`: the token must be bound to a key that these can read, and it is proved after the token. */
  ace?: AceKeys | undefined
}

const NOTHING_SHOWN: Shown = { x5t: undefined, jkt: undefined }
const LONGEST_LEEWAY_MS = 60_000

export class TokenVerifier {
  readonly #issuers: ReadonlyMap<string, IssuerRuntime>
  /** A JWT-SVID need not have `iss`: its trust domain says whose it is. */
  readonly #byTrustDomain: ReadonlyMap<string, IssuerRuntime>
  readonly #clock: Clock
  readonly #maxBytes: number
  readonly #known = new KnownSignatures()

  /** @throws TypeError for a configuration that no check may let through: HMAC, `none`, a leeway above one minute */
  constructor(issuers: readonly IssuerRuntime[], clock: Clock, options: VerifierOptions) {
    this.#issuers = new Map(issuers.map((issuer) => [issuer.config.issuer, issuer]))
    if (this.#issuers.size !== issuers.length) throw new TypeError('an issuer is configured twice')
    this.#byTrustDomain = new Map(
      issuers.flatMap((issuer) => {
        const { spiffe } = issuer.config
        return spiffe === undefined ? [] : [[spiffe.trustDomain, issuer]]
      }),
    )
    for (const { config } of issuers) assertSafe(config)
    this.#clock = clock
    this.#maxBytes = options.maxBytes
  }

  /** Never rejects: what is wrong with a token is an answer. */
  async verify(token: string): Promise<VerifyResult> {
    const jws = this.parse(token)
    return jws.ok ? this.verifyParsed(jws) : jws
  }

  /** The part of `verify` that needs neither key nor time. */
  parse(token: string): ReturnType<typeof parseCompactJws> {
    return this.#known.read(token) ?? parseCompactJws(token, this.#maxBytes)
  }

  /**
   * @param shown what the connection shows beside the token; a token that is bound to another key is refused
   */
  async verifyParsed(jws: CompactJws, shown: Shown = NOTHING_SHOWN): Promise<VerifyResult> {
    if (jws.header.has('crit')) return { ok: false, reason: 'unsupported_crit' }
    const tokenClass = classOf(jws.header, jws.claims)
    const issuer = this.#issuerOf(jws.claims)
    if (!isFitting(tokenClass, issuer?.config))
      return { ok: false, reason: 'wrong_token_type', detail: tokenClass }
    if (issuer === undefined) return { ok: false, reason: 'unknown_issuer' }

    const claimed = { ok: false, issuer: issuer.config.issuer } as const
    if (issuer.config.mapping === 'spiffe' && !isSvidHeader(jws.header))
      return { ...claimed, reason: 'malformed_token' }
    const alg = jws.header.get('alg')
    if (typeof alg !== 'string' || !issuer.config.algorithms.includes(alg)) {
      return { ...claimed, reason: 'algorithm_not_allowed' }
    }
    const kid = jws.header.get('kid')
    if (kid !== undefined && typeof kid !== 'string') return { ...claimed, reason: 'malformed_token' }
    const found = await issuer.keys.keyFor(alg, kid)
    if (!found.ok) return { ...claimed, reason: found.reason }
    const digest = this.#known.digestOf(jws.token)
    if (!this.#known.holds(digest, found.key)) {
      const fault = await checkSignature(jws, found.key)
      if (fault !== undefined) return { ...claimed, reason: fault }
    }
    this.#known.add(jws, digest, found.key)

    const sub = jws.claims.get('sub')
    const authentic = isIdentity(sub) ? { ...claimed, subject: sub } : claimed
    const isBound = jws.claims.has('cnf')
    const cnf = jws.claims.get('cnf')
    const popKey = await shown.ace?.read(cnf)
    const confirmation = popKey ? { jkt: popKey.thumbprint } : isBound ? readConfirmation(cnf) : undefined
    const isBearer = !isBound && shown.ace === undefined && issuer.config.requireProof !== true
    if (popKey === undefined && !isBearer && !isShown(confirmation, shown)) {
      return { ...authentic, reason: 'proof_required' }
    }
    const isWorkload = isWorkloadIssuer(issuer.config)
    const claims = isWorkload ? withTokenId(jws.claims, digest) : jws.claims
    const rules = isWorkload ? { ...issuer.config, requireClientId: false } : issuer.config
    const registered = checkRegisteredClaims(claims, rules, this.#clock.now())
    if (!registered.ok) return { ...authentic, reason: registered.reason }
    const evidence = { digest, keyId: found.key.kid, confirmation }
    const built = buildPrincipal(claims, registered, issuer.config, evidence)
    if (!built.ok) return { ...authentic, reason: built.reason }
    const { tokenId, expiresAtMs } = built.principal
    const checked = { token: jws.token, digest, claims, issuer: issuer.config.issuer, tokenId, expiresAtMs }
    for (const check of issuer.checks ?? []) {
      const failure = await check.check(checked)
      if (failure !== undefined) return { ...authentic, reason: failure }
    }
    return { ...built, popKey }
  }

  #issuerOf(claims: ReadonlyMap<string, unknown>): IssuerRuntime | undefined {
    const iss = claims.get('iss')
    if (typeof iss === 'string') return this.#issuers.get(iss)
    const sub = claims.get('sub')
    const id = iss === undefined && typeof sub === 'string' ? readSpiffeId(sub) : undefined
    return id && this.#byTrustDomain.get(id.trustDomain)
  }

  /** Audiences of this proxy for a configured issuer. */
  audienceOf(issuer: string): readonly string[] {
    return this.#issuers.get(issuer)?.config.audience ?? []
  }

  /** true while every issuer has usable keys. */
  ready(): boolean {
    return [...this.#issuers.values()].every((issuer) => issuer.keys.ready())
  }
}

/**
 * Whether an issuer may sign tokens of this type. Types that are never accepted are told apart even when the issuer is
 * unknown; the tokens of workloads have no type, and access tokens are not theirs.
 */
function isFitting(tokenClass: TokenClass, issuer: IssuerConfig | undefined): boolean {
  if (issuer !== undefined && isWorkloadIssuer(issuer)) return tokenClass === 'untyped'
  return tokenClass === 'access' || (tokenClass === 'untyped' && (issuer === undefined || issuer.legacyTyp))
}

/** Every member must hold. */
function isShown(confirmation: Confirmation | undefined, { x5t, jkt, ace }: Shown): boolean {
  if (confirmation === undefined || ace !== undefined) return false
  if (confirmation.x5t !== undefined && confirmation.x5t !== x5t) return false
  return confirmation.jkt === undefined || jkt === 'later' || confirmation.jkt === jkt
}

async function checkSignature(jws: CompactJws, key: VerificationKey): Promise<AuthFailure | undefined> {
  try {
    await compactVerify(jws.token, key.key, { algorithms: [key.alg] })
    return undefined
  } catch (error) {
    return error instanceof errors.JOSEError
      ? (REASON_BY_JOSE_CODE.get(error.code) ?? 'bad_signature')
      : 'bad_signature'
  }
}

const REASON_BY_JOSE_CODE: ReadonlyMap<string, AuthFailure> = new Map<string, AuthFailure>([
  ['ERR_JWS_SIGNATURE_VERIFICATION_FAILED', 'bad_signature'],
  ['ERR_JWS_INVALID', 'malformed_token'],
  ['ERR_JOSE_ALG_NOT_ALLOWED', 'algorithm_not_allowed'],
  ['ERR_JOSE_NOT_SUPPORTED', 'unsupported_crit'],
])

function assertSafe(config: IssuerConfig): void {
  if (!config.algorithms.every((alg) => SIGNATURE_ALGORITHMS.includes(alg))) {
    throw new TypeError('an issuer allows an algorithm that is not an asymmetric signature')
  }
  if (config.leeway > LONGEST_LEEWAY_MS) throw new TypeError('the leeway of an issuer is above one minute')
}
