// Just-in-time grants: strict reading and verification of one token that allows one action, a few times, for a few
// minutes. An extension of our own: no specification says how a grant travels over MQTT. Rules for the token follow
// RFC 8725 (own `typ`, own audience) and RFC 9700; JIT-02.

import { hash } from 'node:crypto'
import { compactVerify } from 'jose'
import type { Clock } from '../clock.ts'
import type { GrantIssuerConfig } from '../config/config.ts'
import { compileFilter, TopicFilter } from '../policy/topic-filter.ts'
import { dateMs, isMeantFor } from './claim-rules.ts'
import { parseCompactJws } from './compact-jws.ts'
import { type Confirmation, readConfirmation } from './confirmation.ts'
import { tokenText } from './credential.ts'
import { isIdentity } from './identifier.ts'
import type { KeySource } from './key-source.ts'
import { type Bearing, isFor, isSame, type Named } from './named.ts'
import type { Principal } from './principal.ts'
import { classOf, type TokenClass } from './token-type.ts'

/** `typ` of a grant. */
export const GRANT_TYPE = 'mqtt-jit-grant+jwt'

/** A verified grant. Times are milliseconds since the epoch. */
export interface Grant extends Bearing {
  issuer: string
  tokenId: string
  keyId: string | undefined
  /** SHA-256 of issuer and `jti`, hex: counts its uses. */
  key: string
  /** SHA-256 of the compact token, hex. */
  digest: string
  action: 'publish' | 'subscribe'
  /** Topics that it is good for; a subscription must be within it. */
  filter: TopicFilter
  maxUses: number
  /** The only payload that it is good for: SHA-256, hex. */
  payloadSha256: string | undefined
  approver: Named
  issuedAtMs: number
  /** Without leeway: at this instant it ends. */
  expiresAtMs: number
}

/** Why a grant token is refused, whoever shows it: a closed set for metrics. */
export const GRANT_FAULTS = [
  'token_too_large',
  'malformed_token',
  'duplicate_claim',
  'unsupported_crit',
  'wrong_token_type',
  'unknown_issuer',
  'algorithm_not_allowed',
  'unknown_key',
  'ambiguous_key',
  'keys_unavailable',
  'bad_signature',
  'missing_claim',
  'bad_claim',
  'expired',
  'not_yet_valid',
  'issued_in_future',
  'lifetime_too_long',
  'wrong_audience',
  'other_bearer',
  'approver_is_agent',
  'proof_required',
] as const
export type GrantFault = (typeof GRANT_FAULTS)[number]

export type GrantAnswer =
  | { ok: true; grant: Grant }
  | {
      ok: false
      reason: GrantFault
      /** For `wrong_token_type`: what the token is instead. Never text from the token. */
      detail?: TokenClass
      /** When the signature held and it has them. */
      claimed?: Pick<Grant, 'issuer' | 'tokenId'>
    }

export interface GrantIssuerRuntime {
  config: GrantIssuerConfig
  keys: KeySource
}

export interface GrantRules {
  /** Longest token, bytes. */
  maxBytes: number
  /** Longest `exp` - `iat`, milliseconds. */
  maxLifetime: number
}

type Claims = ReadonlyMap<string, unknown>

const REQUIRED = ['sub', 'act', 'aud', 'jti', 'iat', 'exp', 'action', 'topic', 'approver'] as const
const SHA256_HEX = /^[0-9a-f]{64}$/
const MOST_USES = 1000

export class GrantVerifier {
  readonly #issuers: ReadonlyMap<string, GrantIssuerRuntime>
  readonly #rules: GrantRules
  readonly #clock: Clock

  constructor(issuers: readonly GrantIssuerRuntime[], rules: GrantRules, clock: Clock) {
    this.#issuers = new Map(issuers.map((issuer) => [issuer.config.issuer, issuer]))
    this.#rules = rules
    this.#clock = clock
  }

  /**
   * Verifies a token as received, and that it is for this bearer. Never rejects.
   *
   * @param bearer for whom the action is: of the connection, or of the message
   */
  async verify(token: Buffer, bearer: Principal): Promise<GrantAnswer> {
    if (token.length > this.#rules.maxBytes) return fault('token_too_large')
    const text = tokenText(token)
    if (text === undefined) return fault('malformed_token')
    const jws = parseCompactJws(text, this.#rules.maxBytes)
    if (!jws.ok) return fault(jws.reason)
    const { header, claims } = jws
    if (header.has('crit')) return fault('unsupported_crit')
    const tokenClass = classOf(header, new Map())
    if (tokenClass !== 'jit_grant') return { ok: false, reason: 'wrong_token_type', detail: tokenClass }
    const iss = claims.get('iss')
    const issuer = typeof iss === 'string' ? this.#issuers.get(iss) : undefined
    if (issuer === undefined) return fault('unknown_issuer')

    const [alg, kid] = [header.get('alg'), header.get('kid')]
    if (typeof alg !== 'string' || !issuer.config.algorithms.includes(alg)) {
      return fault('algorithm_not_allowed')
    }
    if (kid !== undefined && typeof kid !== 'string') return fault('malformed_token')
    const found = await issuer.keys.keyFor(alg, kid)
    if (!found.ok) return fault(found.reason)
    try {
      await compactVerify(text, found.key.key, { algorithms: [found.key.alg] })
    } catch {
      return fault('bad_signature')
    }
    const read = this.#read(claims, issuer.config, bearer)
    if (typeof read !== 'string') {
      const evidence = { digest: hash('sha256', text), keyId: found.key.kid }
      return { ok: true, grant: Object.freeze({ ...read, ...evidence }) }
    }
    const jti = claims.get('jti')
    return {
      ok: false,
      reason: read,
      ...(isIdentity(jti) ? { claimed: { issuer: issuer.config.issuer, tokenId: jti } } : {}),
    }
  }

  #read(
    claims: Claims,
    issuer: GrantIssuerConfig,
    bearer: Principal,
  ): Omit<Grant, 'digest' | 'keyId'> | GrantFault {
    if (REQUIRED.some((name) => !claims.has(name))) return 'missing_claim'
    const [jti, action, topic] = ['jti', 'action', 'topic'].map((name) => claims.get(name))
    const approver = partyIn(claims.get('approver'))
    const agent = partyIn(claims.get('act'))
    const sub = claims.get('sub')
    if (!isIdentity(jti) || !isIdentity(sub) || approver === undefined || agent === undefined)
      return 'bad_claim'
    if (action !== 'publish' && action !== 'subscribe') return 'bad_claim'
    const filter = typeof topic === 'string' ? compileFilter(topic) : undefined
    if (!(filter instanceof TopicFilter)) return 'bad_claim'
    const maxUses = claims.has('max_uses') ? claims.get('max_uses') : 1
    if (!Number.isInteger(maxUses) || (maxUses as number) < 1 || (maxUses as number) > MOST_USES)
      return 'bad_claim'
    const payload = claims.get('payload_sha256')
    if (payload !== undefined && !(typeof payload === 'string' && SHA256_HEX.test(payload)))
      return 'bad_claim'
    if (payload !== undefined && action !== 'publish') return 'bad_claim'

    const times = this.#times(claims, issuer)
    if (typeof times === 'string') return times
    if (!isMeantFor(claims.get('aud'), issuer.audience)) return 'wrong_audience'
    const human = { iss: issuer.subjects, sub }
    if (!isFor({ human, agent }, bearer)) return 'other_bearer'
    // An agent cannot approve what it does itself.
    if (isSame(approver, agent)) return 'approver_is_agent'
    if (claims.has('cnf') && !isShown(readConfirmation(claims.get('cnf')), bearer.confirmation))
      return 'proof_required'
    return {
      issuer: issuer.issuer,
      tokenId: jti,
      key: hash('sha256', JSON.stringify([issuer.issuer, jti])),
      human,
      agent,
      action,
      filter,
      maxUses: maxUses as number,
      payloadSha256: payload as string | undefined,
      approver,
      ...times,
    }
  }

  /** Leeway is for a clock that is ahead of ours only: nothing is allowed at or after `exp`. */
  #times(
    claims: Claims,
    { leeway }: GrantIssuerConfig,
  ): Pick<Grant, 'issuedAtMs' | 'expiresAtMs'> | GrantFault {
    const now = this.#clock.now()
    const expiresAtMs = dateMs(claims.get('exp'))
    const issuedAtMs = dateMs(claims.get('iat'))
    const notBeforeMs = claims.has('nbf') ? dateMs(claims.get('nbf')) : 0
    if (expiresAtMs === undefined || issuedAtMs === undefined || notBeforeMs === undefined) return 'bad_claim'
    if (expiresAtMs <= issuedAtMs) return 'bad_claim'
    if (now >= expiresAtMs) return 'expired'
    if (now < notBeforeMs - leeway) return 'not_yet_valid'
    if (now < issuedAtMs - leeway) return 'issued_in_future'
    if (expiresAtMs - issuedAtMs > this.#rules.maxLifetime) return 'lifetime_too_long'
    return { issuedAtMs, expiresAtMs }
  }
}

function partyIn(value: unknown): Named | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined
  const members = new Map<string, unknown>(Object.entries(value))
  const [iss, sub] = [members.get('iss'), members.get('sub')]
  return isIdentity(iss) && isIdentity(sub) ? { iss, sub } : undefined
}

/** A grant that is bound to a key is for whoever has proved that key at CONNECT. */
function isShown(wanted: Confirmation | undefined, shown: Confirmation | undefined): boolean {
  if (wanted === undefined) return false
  return (['jkt', 'x5t'] as const).every(
    (member) => wanted[member] === undefined || wanted[member] === shown?.[member],
  )
}

function fault(reason: GrantFault): GrantAnswer {
  return { ok: false, reason }
}
