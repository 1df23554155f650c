// The whole way from a CONNECT to a principal, as one port for the session: find the token, look at the allowance of
// failed tries, verify, bind the Client Identifier. Returns answers, never rejects.

import { hash, randomBytes } from 'node:crypto'
import type { Clock } from '../clock.ts'
import type { Config } from '../config/config.ts'
import type { ConnectHead } from '../wire/heads.ts'
import {
  ACE_EXPORTER_LABEL,
  ACE_METHOD,
  ACE_NONCE_BYTES,
  answersChallenge,
  provesKey,
  readAceData,
} from './ace.ts'
import type { AceKeys } from './ace-keys.ts'
import { AttemptLimiter, addressKey, isLocal } from './attempt-limiter.ts'
import { type AuthFailure, connackFor, countsAgainst, type TokenPlace } from './auth-failure.ts'
import { bindClientId } from './client-id.ts'
import type { CompactJws, JwsFault } from './compact-jws.ts'
import type { TlsEvidence } from './confirmation.ts'
import { type CredentialOptions, findCredential, tokenText } from './credential.ts'
import { bindPrincipal, isForAgentOf, isSameBearer, type Principal, type VerifiedToken } from './principal.ts'
import { EXPORTER_LABEL, type ProofRules, verifyProof } from './proof.ts'
import type { TokenClass } from './token-type.ts'
import type { Shown, TokenVerifier, VerifyResult } from './token-verifier.ts'

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

/** A further token for a connection that exists; it satisfies the session's `Renewed`. */
export type RenewalAnswer =
  | { ok: true; principal: Principal }
  | { ok: false; reason: AuthFailure; detail: TokenClass | undefined }

/** A fresh token is good, and its key is to be proved. */
export interface RenewalChallenge {
  ok: 'challenge'
  data: Buffer
  answer(proof: Buffer): Promise<RenewalAnswer>
}

/** The token is good, and its key is to be proved: `data` goes to the client in AUTH 0x18. */
export interface Challenge {
  ok: 'challenge'
  authenticationMethod: string
  data: Buffer
  /** Takes Authentication Data of the client's AUTH 0x18. */
  answer(proof: Buffer): Promise<Authentication>
}

/** Claims that say who presents a token; undefined: it cannot be read. */
type Bearer = ReadonlyMap<string, unknown> | undefined

export interface AuthenticatorConfig extends Pick<Config, 'token' | 'clientId'> {
  proof?: Config['proof']
  limits: Pick<Config['limits'], 'failedTries' | 'failedTriesWindow' | 'failedTriesFrom'>
}

/** Bytes of a challenge. */
const NONCE_BYTES = 32

export class Authenticator {
  readonly #verifier: TokenVerifier
  readonly #config: AuthenticatorConfig
  readonly #limiter: AttemptLimiter
  readonly #clock: Clock
  readonly #places: CredentialOptions
  readonly #aceKeys: AceKeys | undefined
  readonly #onFailedTry: (key: string) => void

  /**
   * @param onFailedTry a failed try was counted here: `countFailedTry` in other processes makes them count it too
   * @param aceKeys for the method `ace`; undefined: it is not spoken
   */
  constructor(
    verifier: TokenVerifier,
    config: AuthenticatorConfig,
    clock: Clock,
    onFailedTry: (key: string) => void = () => {},
    aceKeys?: AceKeys,
  ) {
    this.#onFailedTry = onFailedTry
    this.#verifier = verifier
    this.#aceKeys = aceKeys
    this.#config = config
    this.#clock = clock
    const { token, proof } = config
    const methods = proof?.dpop === undefined ? token.methods : [...token.methods, proof.method]
    this.#places = { fromUsername: token.fromUsername, methods, ace: aceKeys !== undefined }
    this.#limiter = new AttemptLimiter(config.limits.failedTries, config.limits.failedTriesWindow, clock)
  }

  /**
   * @param source what the offsets of `connect` point into; both are read before this returns, not afterwards
   * @param address the peer's IP address without port; any fixed text for a Unix socket
   */
  async authenticate(
    source: Buffer,
    connect: ConnectHead,
    address: string,
    tls?: TlsEvidence,
  ): Promise<Authentication | Challenge> {
    const peer = this.#peerKey(address)
    if (peer !== undefined && this.#limiter.isBlocked(peer))
      return refusal({ reason: 'rate_limited', place: 'none' })

    const found = findCredential(source, connect, this.#places)
    if (!found.ok) return this.#failed(found, peer)
    const { place } = found
    const requestedId = source.toString('utf8', connect.clientIdStart, connect.clientIdEnd)

    const jws = this.#verifier.parse(found.token)
    const bearer = jws.ok ? jws.claims : undefined
    const { proof } = this.#config
    const canProve = proof?.dpop !== undefined && found.method === proof.method
    const { aceProof } = found
    const ace = aceProof === undefined ? undefined : this.#aceKeys
    const shown: Shown = { x5t: tls?.certificate, jkt: canProve ? 'later' : undefined, ace }
    const verified = await this.#verify(jws, bearer, shown)
    if (!verified.ok) return this.#failed({ ...verified, place }, peer, bearer)

    const token = verified.principal
    const bound = bindClientId(requestedId, token.agent.id, this.#config.clientId, makeSuffix)
    if (!bound.ok) return this.#failed({ reason: bound.reason, place, token }, peer, bearer)
    const { clientId, assigned } = bound
    const principal = bindPrincipal(token, clientId)
    if (principal === undefined)
      return this.#failed({ reason: 'client_id_mismatch', place, token }, peer, bearer)
    const done: Authentication = {
      ok: true,
      principal,
      clientId,
      assigned,
      authenticationMethod: found.method,
    }
    const judged = (isProved: boolean): Authentication =>
      isProved ? done : this.#failed({ reason: 'proof_failed', place, token }, peer, bearer)
    const authenticationMethod = found.method!
    if (verified.popKey !== undefined && aceProof !== undefined) {
      const { popKey } = verified
      if (aceProof.length > 0) {
        // The value of a resumed session is refused (RFC 9431 §4); below TLS 1.3 there is none that binds.
        const exported = tls?.resumed === false ? tls.exporter(ACE_EXPORTER_LABEL) : undefined
        return judged(exported !== undefined && provesKey(popKey, aceProof, exported))
      }
      const nonce = randomBytes(ACE_NONCE_BYTES)
      const answer = async (given: Buffer) => judged(answersChallenge(popKey, nonce, given))
      return { ok: 'challenge', authenticationMethod, data: nonce, answer }
    }
    const jkt = principal.confirmation?.jkt
    if (jkt === undefined) return done
    const nonce = randomBytes(NONCE_BYTES).toString('base64url')
    const rules: Omit<ProofRules, 'windowMs'> = {
      jkt,
      nonce,
      token: found.token,
      audience: this.#verifier.audienceOf(principal.issuer),
      clientId: requestedId,
      exporter: tls?.exporter(EXPORTER_LABEL),
      algorithms: proof!.algorithms,
    }
    const answer = async (given: Buffer) =>
      judged(await verifyProof(given, { ...rules, windowMs: proof!.window }, this.#clock.now()))
    return { ok: 'challenge', authenticationMethod, data: Buffer.from(nonce), answer }
  }

  /**
   * Verifies a fresh token for a connection: as at CONNECT, and it must be of the same human, agent and tenant
   * (EXP-03). The allowances of failed tries are the same too.
   *
   * @param token as received; not kept
   * @param current who the connection belongs to
   */
  async renew(token: Buffer, current: Principal, address: string): Promise<RenewalAnswer> {
    const peer = this.#peerKey(address)
    if (peer !== undefined && this.#limiter.isBlocked(peer)) return refusedRenewal('rate_limited')
    const text = tokenText(token)
    const jws: CompactJws | JwsFault =
      text === undefined ? { ok: false, reason: 'malformed_token' } : this.#verifier.parse(text)
    const bearer = jws.ok ? jws.claims : undefined
    // The keys of this connection have been shown at CONNECT; a token without or with another would weaken it.
    const { jkt, x5t } = current.confirmation ?? {}
    const verified = await this.#verify(jws, bearer, { jkt, x5t })
    if (!verified.ok) {
      this.#count(verified.reason, peer, bearer)
      return refusedRenewal(verified.reason, verified.detail)
    }
    const renewed = succeed(verified.principal, current)
    if (!renewed.ok) this.#count(renewed.reason, peer, bearer)
    return renewed
  }

  /**
   * The same by AUTH 0x19 of the method `ace`: the key of the fresh token is proved anew, by a challenge and never by
   * the TLS exporter, whose value is that of the CONNECT (RFC 9431 §4).
   *
   * @param data Authentication Data
   */
  async renewByAce(
    data: Buffer,
    current: Principal,
    address: string,
  ): Promise<RenewalAnswer | RenewalChallenge> {
    const peer = this.#peerKey(address)
    if (peer !== undefined && this.#limiter.isBlocked(peer)) return refusedRenewal('rate_limited')
    const read = readAceData(data)
    const text = read && tokenText(read.token)
    const jws = text === undefined ? undefined : this.#verifier.parse(text)
    const bearer = jws?.ok === true ? jws.claims : undefined
    const refused = (reason: AuthFailure, detail?: TokenClass): RenewalAnswer => {
      this.#count(reason, peer, bearer)
      return refusedRenewal(reason, detail)
    }
    if (read === undefined || jws === undefined) return refused('ace_malformed')
    if (read.proof.length > 0) return refused('proof_failed')
    const verified = await this.#verify(jws, bearer, { x5t: undefined, jkt: undefined, ace: this.#aceKeys })
    if (!verified.ok) return refused(verified.reason, verified.detail)
    const principal = bindPrincipal(verified.principal, current.clientId)
    const { popKey } = verified
    if (principal === undefined || popKey === undefined || !isSameBearer(principal, current))
      return refused('identity_changed')
    const nonce = randomBytes(ACE_NONCE_BYTES)
    return {
      ok: 'challenge',
      data: nonce,
      answer: async (given) =>
        answersChallenge(popKey, nonce, given) ? { ok: true, principal } : refused('proof_failed'),
    }
  }

  /** A fresh token that came by AUTH 0x19 of this method. */
  renewBy(
    method: string,
    data: Buffer,
    current: Principal,
    address: string,
  ): Promise<RenewalAnswer | RenewalChallenge> {
    const isAce = this.#aceKeys !== undefined && method === ACE_METHOD
    return isAce ? this.renewByAce(data, current, address) : this.renew(data, current, address)
  }

  /**
   * Verifies the token that a message carries: as at CONNECT, and it must be a human's delegation to the agent of the
   * connection, in its tenant. A token that is bound to a key needs one that the connection has shown. The allowances of
   * failed tries are the same.
   *
   * @param token as received; not kept
   * @param current who the connection belongs to
   */
  async verifyCarried(
    token: Buffer,
    current: Principal,
    address: string,
    tls?: TlsEvidence,
  ): Promise<RenewalAnswer> {
    const peer = this.#peerKey(address)
    if (peer !== undefined && this.#limiter.isBlocked(peer)) return refusedRenewal('rate_limited')
    const text = tokenText(token)
    const jws: CompactJws | JwsFault =
      text === undefined ? { ok: false, reason: 'malformed_token' } : this.#verifier.parse(text)
    const bearer = jws.ok ? jws.claims : undefined
    const { jkt, x5t = tls?.certificate } = current.confirmation ?? {}
    const verified = await this.#verify(jws, bearer, { jkt, x5t })
    if (!verified.ok) {
      this.#count(verified.reason, peer, bearer)
      return refusedRenewal(verified.reason, verified.detail)
    }
    const principal = bindPrincipal(verified.principal, current.clientId)
    if (principal !== undefined && isForAgentOf(principal, current)) return { ok: true, principal }
    this.#count('foreign_token', peer, bearer)
    return refusedRenewal('foreign_token')
  }

  async #verify(jws: CompactJws | JwsFault, bearer: Bearer, shown: Shown): Promise<VerifyResult> {
    if (!jws.ok) return jws
    // Mostly nobody has failed, and nobody's key is needed.
    if (bearer !== undefined && this.#limiter.mayBlock && this.#limiter.isBlocked(bearerKey(bearer)))
      return { ok: false, reason: 'rate_limited' }
    return this.#verifier.verifyParsed(jws, shown)
  }

  /** undefined: failed tries of this peer are not counted. */
  #peerKey(address: string): string | undefined {
    const spared = this.#config.limits.failedTriesFrom === 'remote' && isLocal(address)
    return spared ? undefined : `address ${addressKey(address)}`
  }

  #failed(failure: Failure, peer: string | undefined, bearer?: Bearer): Authentication {
    this.#count(failure.reason, peer, bearer)
    return refusal(failure)
  }

  #count(reason: AuthFailure, peer: string | undefined, bearer: Bearer): void {
    const counts = countsAgainst(reason)
    const key = counts === 'bearer' && bearer !== undefined ? bearerKey(bearer) : undefined
    const keys = [counts === 'nobody' ? undefined : peer, key]
    for (const each of keys) {
      if (each === undefined) continue
      this.#limiter.countFailure(each)
      this.#onFailedTry(each)
    }
  }

  /** A failed try at another process. */
  countFailedTry(key: string): void {
    this.#limiter.countFailure(key)
  }
}

/** A verified token takes the place of `current`, if it is of the same bearer and bound to the same keys. */
export function succeed(token: VerifiedToken, current: Principal): RenewalAnswer {
  const { jkt, x5t } = current.confirmation ?? {}
  if (token.confirmation?.jkt !== jkt || token.confirmation?.x5t !== x5t)
    return refusedRenewal('proof_required')
  const principal = bindPrincipal(token, current.clientId)
  const isSame = principal !== undefined && isSameBearer(principal, current)
  return isSame ? { ok: true, principal } : refusedRenewal('identity_changed')
}

interface Failure {
  reason: AuthFailure
  place: TokenPlace
  detail?: TokenClass
  issuer?: string
  subject?: string
  token?: VerifiedToken
}

/** The answer to a CONNECT that is not authenticated. */
export function refusal(failure: Failure): Authentication {
  const { reason, place, detail, issuer, subject, token } = failure
  const { code, text } = connackFor(reason, place)
  return { ok: false, reason, detail, reasonCode: code, reasonString: text, issuer, subject, token }
}

export function refusedRenewal(reason: AuthFailure, detail?: TokenClass): RenewalAnswer {
  return { ok: false, reason, detail }
}

/**
 * Who presents the token: its subject, together with actor and client, so that one agent's failures do not count
 * against the other agents of the same human. A digest, so that a key has a fixed size.
 */
function bearerKey(claims: ReadonlyMap<string, unknown>): string {
  const parts = ['iss', 'sub', 'act', 'client_id'].map((name) => claims.get(name) ?? null)
  return `bearer ${hash('sha256', JSON.stringify(parts), 'base64url')}`
}

function makeSuffix(): string {
  return randomBytes(12).toString('base64url')
}
