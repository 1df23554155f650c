// A fresh token for a connection that is in use: by AUTH 0x19 (MQTT 5.0 §4.12.1), or as the payload of a PUBLISH to
// the token topic, for clients that connected with a password (the way of RFC 9431's `authz-info`). While the token is
// verified the former rights stay in force and packets go on.

import type { Timer } from '../clock.ts'
import type { PublishHead } from '../wire/heads.ts'
import type { PacketReader } from '../wire/packet-reader.ts'
import { ReasonCode } from '../wire/reason-code.ts'
import { ack, auth } from '../wire/reply.ts'
import type { HeldToken, RenewalChallenge, Renewed } from './context.ts'
import { hex } from './effect.ts'
import { answerTo } from './outcome.ts'
import type { Session } from './session.ts'

/** How a token came in, and how it is answered. */
type Way = { by: 'auth' } | { by: 'topic'; qos: number; packetId: number } | { by: 'broker' }

/** A token that is not one at all, as opposed to one that is not accepted. */
const UNPARSABLE = new Set(['malformed_token', 'duplicate_claim', 'token_too_large'])

export class Renewal {
  readonly #session: Session
  #isUnderWay = false
  /** The fresh token's key is to be proved, within a time. */
  #challenge: { it: RenewalChallenge; timer: Timer } | undefined
  /** A token on the token topic whose payload is still on its way. */
  #upload: { way: Way; parts: Buffer[] } | undefined
  /** QoS 2: Packet Identifiers that were answered with PUBREC 0x00 and not released yet. */
  #unreleased: Set<number> | undefined

  constructor(session: Session) {
    this.#session = session
  }

  /**
   * Takes an AUTH.
   *
   * @returns `taken`; `refused`: the session ends with DISCONNECT 0x87; or `unexpected`: no re-authentication of this
   *   connection (EXP-05)
   */
  onAuth(reader: PacketReader): 'taken' | 'refused' | 'unexpected' {
    const { authenticationMethod } = this.#session
    const { source, ack: head } = reader
    const method =
      head.authenticationMethodStart < 0
        ? undefined
        : source.toString('utf8', head.authenticationMethodStart, head.authenticationMethodEnd)
    const expected =
      this.#challenge === undefined ? ReasonCode.RE_AUTHENTICATE : ReasonCode.CONTINUE_AUTHENTICATION
    if (
      authenticationMethod === undefined ||
      method !== authenticationMethod ||
      head.reasonCode !== expected ||
      (this.#isUnderWay && this.#challenge === undefined)
    ) {
      return 'unexpected'
    }
    if (head.authenticationDataStart < 0) {
      this.#session.recorder.renewal('no_token', `disconnect ${hex(ReasonCode.NOT_AUTHORIZED)}`, 'auth')
      return 'refused'
    }
    const data = Buffer.from(source.subarray(head.authenticationDataStart, head.authenticationDataEnd))
    if (this.#challenge === undefined) this.#begin(data, { by: 'auth' }, method)
    else this.#answered(data)
    return 'taken'
  }

  /**
   * Takes the head of a PUBLISH to the token topic, and as much of its payload as is there.
   *
   * @returns `more`: the rest is to be handed to `onPayload`; `done`; or `refused`: DISCONNECT 0x87
   */
  onPublish(head: PublishHead, payload: Buffer): 'more' | 'done' | 'refused' {
    const way: Way = { by: 'topic', qos: head.qos, packetId: head.packetId }
    const early = this.#barOf(head)
    if (early !== undefined) return this.#refuseUpload(way, early) ? 'done' : 'refused'
    this.#upload = { way, parts: [Buffer.from(payload)] }
    if (payload.length < head.payloadLength) return 'more'
    this.#uploaded()
    return 'done'
  }

  /** More of the payload; false when none is waited for. */
  onPayload(part: Buffer, last: boolean): boolean {
    if (this.#upload === undefined) return false
    this.#upload.parts.push(Buffer.from(part))
    if (last) this.#uploaded()
    return true
  }

  /** Whether this PUBREL belongs to a token; it is answered. */
  takeRelease(packetId: number): boolean {
    return this.#unreleased?.delete(packetId) === true
  }

  /** Takes over the token that Postern holds for the agents of this listener, unless this connection has it already. */
  takeHeld(): void {
    const session = this.#session
    const held = this.#held
    const current = session.principal
    if (held?.digest === undefined || current === undefined) return
    if (this.#isUnderWay || !session.receiving || held.digest === current.tokenDigest) return
    this.#isUnderWay = true
    held
      .renew(current)
      .then((renewed) => this.#finish(renewed, { by: 'broker' }))
      .catch((error: unknown) => session.onPanic(error))
  }

  /** The token that Postern holds for the agents of this listener; undefined: they bring their own. */
  get #held(): HeldToken | undefined {
    const { context, recorder } = this.#session
    return context.heldToken(recorder.listener)
  }

  #barOf(head: PublishHead): string | undefined {
    const { context } = this.#session
    if (this.#held !== undefined) return 'unexpected_credential'
    if (this.#isUnderWay || this.#upload !== undefined) return 'renewal_in_progress'
    return head.payloadLength > context.config.token.maxBytes ? 'token_too_large' : undefined
  }

  #uploaded(): void {
    const { way, parts } = this.#upload!
    this.#upload = undefined
    this.#begin(Buffer.concat(parts), way)
  }

  #begin(data: Buffer, way: Way, method?: string): void {
    const { context, principal, towardsClient } = this.#session
    this.#isUnderWay = true
    context
      .renew(data, principal!, towardsClient.peer.host, method)
      .then((renewed) => (renewed.ok === 'challenge' ? this.#ask(renewed) : this.#finish(renewed, way)))
      .catch((error: unknown) => this.#session.onPanic(error))
  }

  /** The answer is the client's next AUTH; packets go on meanwhile. */
  #ask(it: RenewalChallenge): void {
    const session = this.#session
    if (!session.receiving) return
    const { clock, config } = session.context
    const timer = clock.after(config.proof.timeout, () => {
      this.#challenge = undefined
      this.#finish({ ok: false, reason: 'proof_failed', detail: 'no answer in time' }, { by: 'auth' })
    })
    this.#challenge = { it, timer }
    const properties = {
      authenticationMethod: session.authenticationMethod!,
      authenticationData: it.data,
    }
    session.towardsClient.send(auth(ReasonCode.CONTINUE_AUTHENTICATION, properties))
  }

  #answered(proof: Buffer): void {
    const { it, timer } = this.#challenge!
    timer.cancel()
    this.#challenge = undefined
    it.answer(proof)
      .then((renewed) => this.#finish(renewed, { by: 'auth' }))
      .catch((error: unknown) => this.#session.onPanic(error))
  }

  cancelTimers(): void {
    this.#challenge?.timer.cancel()
  }

  #finish(renewed: Renewed, way: Way): void {
    const session = this.#session
    this.#isUnderWay = false
    // The session may have ended meanwhile, by expiry for instance: a late token does not bring it back.
    if (!session.receiving) return
    if (!renewed.ok) return this.#failed(renewed.reason, renewed.detail, way)
    if (!session.recorder.accepting) return this.#failed('audit_unavailable', undefined, way)
    const bar = session.context.revocations.enter(session, renewed.principal)
    if (bar !== undefined) return this.#failed(bar, undefined, way)
    session.renewed(renewed.principal)
    session.recorder.renewal('ok', effectOf(way), way.by)
    if (!session.recorder.commit()) return session.end('audit_unavailable')
    session.applyRights()
    if (!session.receiving) return
    if (way.by === 'auth') {
      const authenticationMethod = session.authenticationMethod!
      session.towardsClient.send(auth(ReasonCode.SUCCESS, { authenticationMethod }))
    } else if (way.by === 'topic' && way.qos > 0) {
      if (way.qos === 2) {
        this.#unreleased ??= new Set()
        this.#unreleased.add(way.packetId)
      }
      session.towardsClient.send(ack(answerTo(way.qos), way.packetId, ReasonCode.SUCCESS))
    }
    // Another one may have come while this one was verified.
    if (way.by === 'broker') this.takeHeld()
  }

  #failed(reason: string, detail: string | undefined, way: Way): void {
    const session = this.#session
    if (way.by === 'auth') {
      const reasonCode = AUTH_FAILURE_CODES.get(reason) ?? ReasonCode.NOT_AUTHORIZED
      session.recorder.renewal(reason, `disconnect ${hex(reasonCode)}`, 'auth', detail)
      return session.end('renewal_refused', { detail: reason, reasonCode })
    }
    if (way.by === 'broker') {
      session.recorder.renewal(reason, 'not taken', 'broker', detail)
      // It acts for somebody else from now on: under that name it has to connect anew.
      if (reason === 'identity_changed') session.end('renewal_refused', { detail: reason })
      return
    }
    const goesOn = this.#refuseUpload(way, reason, detail)
    // EXP-03: whoever shows the token of somebody else is not who connected.
    if (!goesOn || reason === 'identity_changed') session.end('renewal_refused', { detail: reason })
  }

  /** @returns false at QoS 0, which has no other answer than the end */
  #refuseUpload(way: Way & { by: 'topic' }, reason: string, detail?: string): boolean {
    const session = this.#session
    const code = UNPARSABLE.has(reason) ? ReasonCode.PAYLOAD_FORMAT_INVALID : ReasonCode.NOT_AUTHORIZED
    if (way.qos === 0) {
      session.recorder.renewal(reason, `disconnect ${hex(ReasonCode.NOT_AUTHORIZED)}`, 'topic', detail)
      return false
    }
    session.recorder.renewal(reason, `ack ${hex(code)}`, 'topic', detail)
    session.towardsClient.send(ack(answerTo(way.qos), way.packetId, code))
    return true
  }
}

function effectOf(way: Way): string {
  if (way.by === 'auth') return `auth ${hex(0)}`
  return way.by === 'broker' || way.qos === 0 ? 'taken' : `ack ${hex(0)}`
}

/** What a failed AUTH ends with when it is not the token's fault. */
const AUTH_FAILURE_CODES: ReadonlyMap<string, number> = new Map([
  ['rate_limited', ReasonCode.MESSAGE_RATE_TOO_HIGH],
  ['keys_unavailable', ReasonCode.SERVER_BUSY],
  ['status_unavailable', ReasonCode.SERVER_BUSY],
  ['introspection_unavailable', ReasonCode.SERVER_BUSY],
  ['events_silent', ReasonCode.SERVER_BUSY],
  ['store_unavailable', ReasonCode.SERVER_BUSY],
])
