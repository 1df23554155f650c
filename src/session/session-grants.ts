// The just-in-time grants of one connection: those it has handed in and not used yet, and the subscriptions that some
// have opened. A grant that is here has one use taken from the count that all processes share (JIT-03), so that using it
// needs no waiting. It satisfies `requiresGrant` and nothing else (JIT-04).

import type { Timer } from '../clock.ts'
import type { Grant } from '../identity/grant-token.ts'
import { isFor } from '../identity/named.ts'
import type { Principal } from '../identity/principal.ts'
import type { Acl } from '../policy/acl.ts'
import type { PublishRequest } from '../policy/request.ts'
import { compileFilter, covers, type TopicFilter } from '../policy/topic-filter.ts'
import type { PublishHead } from '../wire/heads.ts'
import type { PacketReader } from '../wire/packet-reader.ts'
import { ReasonCode } from '../wire/reason-code.ts'
import type { Waiter } from './agent-input.ts'
import { CarriedGrant, type PayloadSoFar, unfitness, Wait } from './carried-grant.ts'
import { ControlUpload, type Way } from './control-upload.ts'
import { hex } from './effect.ts'
import { HeldGrant, takeUse } from './held-grant.ts'
import type { MessageProperties } from './message-properties.ts'
import { Outcome } from './outcome.ts'
import type { Session } from './session.ts'

/** Grants that one connection may hold or have verified at a time. */
const MOST_HELD = 16

/** A grant that is no token at all, as opposed to one that is not accepted. */
const UNPARSABLE = new Set(['malformed_token', 'duplicate_claim', 'token_too_large'])

const SHARED = /^\$share\/[^/]*\//

export class SessionGrants {
  /** At this instant the first open subscription ends, milliseconds since the epoch. */
  endsAtMs = Number.POSITIVE_INFINITY
  /** Filters of open subscriptions: one array, which the Acl looks at. */
  readonly openFilters: TopicFilter[] = []
  readonly #session: Session
  readonly #upload: ControlUpload
  readonly #carried: CarriedGrant
  #held: HeldGrant[] = []
  #open: HeldGrant[] = []
  /** For whose actions the upload under way is. */
  #uploader: Principal | undefined
  /** Uploads that are being verified. */
  #underWay = 0
  /** What the last decision rests on. */
  #applied: HeldGrant | undefined
  #refusal: string | undefined
  #timer: Timer | undefined

  constructor(session: Session) {
    this.#session = session
    this.#upload = new ControlUpload(session)
    this.#carried = new CarriedGrant(session)
  }

  /** @param waiter told when a message that waits for its grant can be judged anew */
  resumeWith(waiter: Waiter): void {
    this.#carried.resumeWith(waiter)
  }

  /**
   * Takes the head of a PUBLISH to the grant topic, and as much of its payload as is there.
   *
   * @param bearer for whose actions: of the token that the PUBLISH carries, or of the connection
   * @param refusal why the token that it carries is refused
   * @returns `more`: the rest is to be handed to `onPayload`; `done`; or `refused`: the session ends
   */
  onPublish(
    head: PublishHead,
    payload: Buffer,
    bearer: Principal,
    refusal: string | undefined,
  ): 'more' | 'done' | 'refused' {
    const way: Way = { qos: head.qos, packetId: head.packetId }
    if (refusal !== undefined) return this.#refuse(way, 'token_refused', refusal) ? 'done' : 'refused'
    const early = this.#whyNotNow(head)
    if (early !== undefined) return this.#refuse(way, early) ? 'done' : 'refused'
    this.#uploader = bearer
    const whole = this.#upload.begin(head, payload)
    if (whole === undefined) return 'more'
    this.#begin(whole, way)
    return 'done'
  }

  /** More of the payload; false when none is waited for. */
  onPayload(part: Buffer, last: boolean): boolean {
    const uploaded = this.#upload.more(part, last)
    if (typeof uploaded === 'object') this.#begin(uploaded.payload, uploaded.way)
    return uploaded !== false
  }

  /** Whether this PUBREL belongs to a grant; it is answered. */
  takeRelease(packetId: number): boolean {
    return this.#upload.takeRelease(packetId)
  }

  /**
   * The decision on a PUBLISH, with the grant that it needs if one is here. Hot path: without grants it costs two calls.
   *
   * @param message of its User Properties
   * @param reader has just read its head
   * @param chunk holds the payload from the reader's place on, or its beginning
   * @returns or what it waits for, to be judged again
   */
  judgePublish(
    acl: Acl,
    request: PublishRequest,
    message: MessageProperties,
    reader: PacketReader,
    chunk: Buffer,
  ): Outcome | Wait {
    request.granted = false
    this.#applied = undefined
    this.#refusal = undefined
    if (message.refusal !== undefined) {
      this.#carried.settle()
      return Outcome.TOKEN_REFUSED
    }
    const outcome = acl.decidePublish(request)
    if (message.grants === 0 && this.#held.length === 0) return outcome
    const judged = needsGrant(outcome, acl) ? this.#withGrant(acl, request, message, reader, chunk) : outcome
    if (judged >= 0) this.#carried.settle()
    return judged
  }

  #withGrant(
    acl: Acl,
    request: PublishRequest,
    message: MessageProperties,
    reader: PacketReader,
    chunk: Buffer,
  ): Outcome | Wait {
    request.granted = true
    const granted = acl.decidePublish(request)
    // No grant would help: then none is used up.
    if (granted !== Outcome.ALLOW || acl.shadowed !== Outcome.ALLOW) return granted
    const payload = { chunk, start: reader.pos, length: request.payloadLength }
    const bearer = message.rights?.principal ?? this.#session.principal!
    const found =
      message.grants === 0
        ? this.#inHand(request, payload, bearer)
        : message.grants === 1
          ? this.#carried.find(reader.source, message.grant, request, payload, bearer)
          : this.#twoGrants()
    if (typeof found === 'number') return found
    if (found instanceof HeldGrant) {
      this.#applied = found
      return granted
    }
    this.#refusal = found
    request.granted = false
    return acl.decidePublish(request)
  }

  /** Why the grant that the last message carried was refused. */
  get refusal(): string | undefined {
    return this.#refusal
  }

  /** The same for one filter of a SUBSCRIBE; a subscription that a grant has opened needs no second one. */
  judgeSubscribe(acl: Acl, source: Buffer, start: number, end: number, qos: number, text: string): Outcome {
    this.#applied = undefined
    const outcome = acl.decideSubscribe(source, start, end, qos, this.isOpen(text))
    if (this.#held.length === 0 || !needsGrant(outcome, acl)) return outcome
    const from = start + Buffer.byteLength(SHARED.exec(text)?.[0] ?? '')
    const held = this.#usable(this.#session.principal!).find(
      ({ grant }) => grant.action === 'subscribe' && covers(grant.filter, source, from, end),
    )
    if (held === undefined) return outcome
    const granted = acl.decideSubscribe(source, start, end, qos, true)
    // One that does not help, or that only shadow mode would let through, is not used up.
    if (granted === Outcome.ALLOW && acl.shadowed === Outcome.ALLOW) this.#applied = held
    return granted
  }

  /**
   * What became of the last decision on a PUBLISH. One that another limit stopped leaves a grant in hand; one that it
   * carried is gone.
   *
   * @returns the grant that was used up
   */
  use(isAllowed: boolean): Grant | undefined {
    const held = this.#applied
    if (held === undefined) return undefined
    this.#applied = undefined
    if (!isAllowed && this.#held.includes(held)) return undefined
    this.#held = this.#held.filter((other) => other !== held)
    this.#session.context.revocations.leave(held)
    return isAllowed ? held.grant : undefined
  }

  /** The last decision takes effect, and opens this subscription until its grant ends. */
  open(filter: string): Grant | undefined {
    const held = this.#applied
    if (held === undefined) return undefined
    this.#applied = undefined
    this.#held = this.#held.filter((other) => other !== held)
    held.filter = filter
    this.#open.push(held)
    this.#opened()
    return held.grant
  }

  /** Whether a grant has opened this subscription and lasts. */
  isOpen(filter: string): boolean {
    return this.#open.some((held) => held.filter === filter)
  }

  /** The agent or Postern has unsubscribed. */
  unsubscribed(filter: string): void {
    if (this.#open.length === 0 || !this.isOpen(filter)) return
    for (const held of this.#open) if (held.filter === filter) this.#session.context.revocations.leave(held)
    this.#open = this.#open.filter((held) => held.filter !== filter)
    this.#opened()
    this.#session.standing.touch()
  }

  /** Ends the subscriptions whose grants have ended (JIT-08). */
  expire(nowMs: number): void {
    const ended = this.#open.filter(({ grant }) => nowMs >= grant.expiresAtMs)
    if (ended.length === 0) return
    for (const held of ended) this.#session.context.revocations.leave(held)
    this.#open = this.#open.filter((held) => !ended.includes(held))
    this.#closed()
  }

  /** Takes one grant away, and the subscription that it has opened. */
  drop(held: HeldGrant): void {
    this.#session.context.revocations.leave(held)
    this.#held = this.#held.filter((other) => other !== held)
    if (!this.#open.includes(held)) return
    this.#open = this.#open.filter((other) => other !== held)
    this.#closed()
  }

  /** The connection ended: uses that were taken and not made are lost. */
  close(): void {
    this.#timer?.cancel()
    this.#carried.settle()
    for (const held of [...this.#held, ...this.#open]) this.#session.context.revocations.leave(held)
    this.#held = []
    this.#open = []
  }

  #usable(bearer: Principal): HeldGrant[] {
    const now = this.#session.context.clock.now()
    return this.#held.filter(({ grant }) => now < grant.expiresAtMs && isFor(grant, bearer))
  }

  /** One that was handed in before. */
  #inHand(request: PublishRequest, payload: PayloadSoFar, bearer: Principal): HeldGrant | Wait | undefined {
    const { maxPayload } = this.#session.context.config.grants!
    let wait: Wait | undefined
    for (const held of this.#usable(bearer)) {
      const unfit = unfitness(held.grant, request, payload, maxPayload)
      if (unfit === undefined) return held
      if (unfit === Wait.FOR_PAYLOAD) wait = unfit
    }
    return wait
  }

  #twoGrants(): string {
    this.#session.recorder.grant('two_grants', 'refused', undefined)
    return 'two_grants'
  }

  #whyNotNow(head: PublishHead): string | undefined {
    const now = this.#session.context.clock.now()
    for (const held of this.#held) if (now >= held.grant.expiresAtMs) this.drop(held)
    if (this.#held.length + this.#underWay >= MOST_HELD) return 'too_many_grants'
    const { grants } = this.#session.context.config
    return head.payloadLength > grants!.maxBytes ? 'token_too_large' : undefined
  }

  #begin(token: Buffer, way: Way): void {
    this.#underWay++
    this.#admit(token, way, this.#uploader!)
      .catch((error: unknown) => this.#session.onPanic(error))
      .finally(() => {
        this.#underWay--
      })
  }

  async #admit(token: Buffer, way: Way, bearer: Principal): Promise<void> {
    const session = this.#session
    const answer = await session.context.grants!.check(token, bearer)
    if (!session.receiving) return
    const refuse = (reason: string, detail?: string, about?: Pick<Grant, 'issuer' | 'tokenId'>): void => {
      if (!this.#refuse(way, reason, detail, about)) session.end('publish_denied', { detail: reason })
    }
    if (!answer.ok) return refuse(answer.reason, answer.detail, answer.claimed)
    const { grant } = answer
    const held = await takeUse(session, grant, (revoked) => this.drop(revoked))
    if (!session.receiving) return
    if (typeof held === 'string') return refuse(held, undefined, grant)
    this.#held.push(held)
    session.recorder.grant('ok', way.qos === 0 ? 'taken' : `ack ${hex(0)}`, grant)
    if (!session.recorder.commit()) return session.discard()
    this.#upload.answer(way, ReasonCode.SUCCESS)
  }

  /** @returns false: the session is to end, for at QoS 0 there is no other answer that `denial.publishQos0` wants */
  #refuse(way: Way, reason: string, detail?: string, about?: Pick<Grant, 'issuer' | 'tokenId'>): boolean {
    const session = this.#session
    if (way.qos === 0) {
      const ends = session.context.config.denial.publishQos0 === 'disconnect'
      const effect = ends ? `disconnect ${hex(ReasonCode.NOT_AUTHORIZED)}` : 'dropped'
      session.recorder.grant(reason, effect, about, detail)
      return !ends
    }
    const code = UNPARSABLE.has(reason) ? ReasonCode.PAYLOAD_FORMAT_INVALID : ReasonCode.NOT_AUTHORIZED
    session.recorder.grant(reason, `ack ${hex(code)}`, about, detail)
    this.#upload.answer(way, code)
    return true
  }

  /** After `#open` has changed: what the Acl looks at, and when the first of them ends. */
  #opened(): void {
    const { clock } = this.#session.context
    this.openFilters.length = 0
    this.endsAtMs = Number.POSITIVE_INFINITY
    for (const { filter, grant } of this.#open) {
      this.openFilters.push(compileFilter(filter!.replace(SHARED, '')) as TopicFilter)
      this.endsAtMs = Math.min(this.endsAtMs, grant.expiresAtMs)
    }
    this.#timer?.cancel()
    this.#timer = undefined
    if (this.#open.length === 0) return
    const expire = (): void => this.expire(clock.now())
    this.#timer = clock.after(Math.max(0, this.endsAtMs - clock.now()), expire)
  }

  /** Subscriptions that were open are taken away at the broker; nothing more of them is delivered. */
  #closed(): void {
    const session = this.#session
    this.#opened()
    session.standing.touch()
    if (session.relaying) session.subscriptions.judgeAgain('grant_ended')
  }
}

/** Whether a grant would make a difference: the action is denied for want of one, or would be without shadow mode. */
function needsGrant(outcome: Outcome, acl: Acl): boolean {
  return (outcome === Outcome.ALLOW ? acl.shadowed : outcome) === Outcome.GRANT_REQUIRED
}
