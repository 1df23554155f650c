// The whole way from a CONNECT to a principal, as one port for the session: find the token, look at the allowance of
// failed tries, verify, bind the Client Identifier. Returns answers, never rejects.

import { createHash, randomBytes } from 'node:crypto'
import type { Clock } from '../clock.ts'
import type { Config } from '../config/config.ts'
import type { ConnectHead } from '../wire/heads.ts'
import { AttemptLimiter, addressKey, isLocal } from './attempt-limiter.ts'
import { type AuthFailure, connackFor, countsAgainst, type TokenPlace } from './auth-failure.ts'
import { bindClientId } from './client-id.ts'
import { findCredential } from './credential.ts'
import { bindPrincipal, type Principal, type VerifiedToken } from './principal.ts'
import type { TokenClass } from './token-type.ts'
import type { TokenVerifier } from './token-verifier.ts'

/** What the session is told; it satisfies the session's `Admission`. */
export type Authentication =
  | {
      ok: true
      principal: Principal
      /** MQTT Client Identifier after binding. */
      clientId: string
      /** The client sent an empty Client Identifier: report the assigned one in CONNACK. */
      assigned: boolean
      /** To be repeated in CONNACK; undefined unless the token came in Authentication Data [MQTT-4.12.0-5]. */
      authenticationMethod: string | undefined
    }
  | {
      ok: false
      /** Precise; for audit and metrics only. */
      reason: AuthFailure
      /** For `wrong_token_type`: what the token is instead. Never text from the token. */
      detail: TokenClass | undefined
      /** For the CONNACK, with words that tell nothing about the cause (TOK-20). */
      reasonCode: number
      reasonString: string
      /** A configured issuer that the token names. */
      issuer: string | undefined
      /** `sub`, only when the signature held. */
      subject: string | undefined
      /** Whose token it is, when the token was good and the Client Identifier was not. */
      token: VerifiedToken | undefined
    }

export interface AuthenticatorConfig extends Pick<Config, 'token' | 'clientId'> {
  limits: Pick<Config['limits'], 'failedTries' | 'failedTriesWindow' | 'failedTriesFrom'>
}

export class Authenticator {
  readonly #verifier: TokenVerifier
  readonly #config: AuthenticatorConfig
  readonly #limiter: AttemptLimiter

  constructor(verifier: TokenVerifier, config: AuthenticatorConfig, clock: Clock) {
    this.#verifier = verifier
    this.#config = config
    this.#limiter = new AttemptLimiter(config.limits.failedTries, config.limits.failedTriesWindow, clock)
  }

  /**
   * @param source what the offsets of `connect` point into; both are read before this returns, not afterwards
   * @param address the peer's IP address without port; any fixed text for a Unix socket
   */
  async authenticate(source: Buffer, connect: ConnectHead, address: string): Promise<Authentication> {
    const spared = this.#config.limits.failedTriesFrom === 'remote' && isLocal(address)
    const peer = spared ? undefined : `address ${addressKey(address)}`
    if (peer !== undefined && this.#limiter.isBlocked(peer))
      return refusal({ reason: 'rate_limited', place: 'none' })

    const found = findCredential(source, connect, this.#config.token)
    if (!found.ok) return this.#failed(found, peer)
    const { place } = found
    const requestedId = source.toString('utf8', connect.clientIdStart, connect.clientIdEnd)

    const jws = this.#verifier.parse(found.token)
    if (!jws.ok) return this.#failed({ ...jws, place }, peer)
    const bearer = bearerKey(jws.claims)
    if (this.#limiter.isBlocked(bearer)) return refusal({ reason: 'rate_limited', place })
    const verified = await this.#verifier.verifyParsed(jws)
    if (!verified.ok) return this.#failed({ ...verified, place }, peer, bearer)

    const token = verified.principal
    const bound = bindClientId(requestedId, token.agent.id, this.#config.clientId, makeSuffix)
    if (!bound.ok) return this.#failed({ reason: bound.reason, place, token }, peer, bearer)
    const { clientId, assigned } = bound
    const principal = bindPrincipal(token, clientId)
    if (principal === undefined)
      return this.#failed({ reason: 'client_id_mismatch', place, token }, peer, bearer)
    return { ok: true, principal, clientId, assigned, authenticationMethod: found.method }
  }

  #failed(failure: Failure, peer: string | undefined, bearer?: string): Authentication {
    const counts = countsAgainst(failure.reason)
    if (counts !== 'nobody' && peer !== undefined) this.#limiter.countFailure(peer)
    if (counts === 'bearer' && bearer !== undefined) this.#limiter.countFailure(bearer)
    return refusal(failure)
  }
}

interface Failure {
  reason: AuthFailure
  place: TokenPlace
  detail?: TokenClass
  issuer?: string
  subject?: string
  token?: VerifiedToken
}

function refusal(failure: Failure): Authentication {
  const { reason, place, detail, issuer, subject, token } = failure
  const { code, text } = connackFor(reason, place)
  return { ok: false, reason, detail, reasonCode: code, reasonString: text, issuer, subject, token }
}

/**
 * Who presents the token: its subject, together with actor and client, so that one agent's failures do not count
 * against the other agents of the same human. A digest, so that a key has a fixed size.
 */
function bearerKey(claims: ReadonlyMap<string, unknown>): string {
  const parts = ['iss', 'sub', 'act', 'client_id'].map((name) => claims.get(name) ?? null)
  return `bearer ${createHash('sha256').update(JSON.stringify(parts)).digest('base64url')}`
}

function makeSuffix(): string {
  return randomBytes(12).toString('base64url')
}
