// The just-in-time grants of one connection: those it has handed in and not used yet, and the subscriptions that some
// have opened. A grant that is here has one use taken from the count that all processes share (JIT-03), so that using it
// needs no waiting. It satisfies `requiresGrant` and nothing else (JIT-04).

import { hash } from 'node:crypto'
import type { Timer } from '../clock.ts'
import type { Grant } from '../identity/grant-token.ts'
import { isFor } from '../identity/named.ts'
import type { Principal } from '../identity/principal.ts'
import type { Acl } from '../policy/acl.ts'
import type { PublishRequest } from '../policy/request.ts'
import { compileFilter, covers, matches, type TopicFilter } from '../policy/topic-filter.ts'
import type { PublishHead } from '../wire/heads.ts'
import { ReasonCode } from '../wire/reason-code.ts'
import { ControlUpload, type Way } from './control-upload.ts'
import { hex } from './effect.ts'
import type { MessageRights } from './message-rights.ts'
import { Outcome } from './outcome.ts'
import type { Session } from './session.ts'

/** Grants that one connection may hold or have verified at a time. */
const MOST_HELD = 16

/** A grant that is no token at all, as opposed to one that is not accepted. */
const UNPARSABLE = new Set(['malformed_token', 'duplicate_claim', 'token_too_large'])

const SHARED = /^\$share\/[^/]*\//

/** One use of a grant, in the hands of this connection. */
class Held {
  readonly grant: Grant
  /** The subscription that it has opened, as subscribed. */
  filter: string | undefined
  isRevoked = false
  readonly #grants: SessionGrants

  constructor(grant: Grant, grants: SessionGrants) {
    this.grant = grant
    this.#grants = grants
  }

  /** By revocation: at once, and for good. */
  revoke(): () => void {
    this.isRevoked = true
    this.#grants.drop(this)
    return () => {}
  }
}

export class SessionGrants {
  /** At this instant the first open subscription ends, milliseconds since the epoch. */
  endsAtMs = Number.POSITIVE_INFINITY
  /** Filters of open subscriptions: one array, which the Acl looks at. */
  readonly openFilters: TopicFilter[] = []
  readonly #session: Session
  readonly #upload: ControlUpload
  #held: Held[] = []
  #open: Held[] = []
  /** For whose actions the upload under way is. */
  #uploader: Principal | undefined
  /** Uploads that are being verified. */
  #underWay = 0
  /** What the last decision rests on. */
  #applied: Held | undefined
  #timer: Timer | undefined

  constructor(session: Session) {
    this.#session = session
    this.#upload = new ControlUpload(session)
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
   * The decision on a PUBLISH, with the grant that it needs if one is here. Hot path: without grants it costs a call.
   *
   * @param rights of a message that carries a token of its own
   * @param chunk holds the payload from `start` on, or its beginning
   */
  judgePublish(
    acl: Acl,
    request: PublishRequest,
    rights: MessageRights | undefined,
    chunk: Buffer,
    start: number,
  ): Outcome {
    request.granted = false
    this.#applied = undefined
    const outcome = acl.decidePublish(request)
    if (this.#held.length === 0 || !needsGrant(outcome, acl)) return outcome
    const { topic, topicStart, topicEnd, payloadLength } = request
    const payload =
      payloadLength <= chunk.length - start ? chunk.subarray(start, start + payloadLength) : undefined
    const held = this.#find('publish', rights?.principal, ({ filter, payloadSha256 }) => {
      if (!matches(filter, topic, topicStart, topicEnd)) return false
      return (
        payloadSha256 === undefined || (payload !== undefined && hash('sha256', payload) === payloadSha256)
      )
    })
    if (held === undefined) return outcome
    request.granted = true
    return this.#settle(acl.decidePublish(request), acl, held)
  }

  /** The same for one filter of a SUBSCRIBE; a subscription that a grant has opened needs no second one. */
  judgeSubscribe(acl: Acl, source: Buffer, start: number, end: number, qos: number, text: string): Outcome {
    this.#applied = undefined
    const outcome = acl.decideSubscribe(source, start, end, qos, this.isOpen(text))
    if (this.#held.length === 0 || !needsGrant(outcome, acl)) return outcome
    const from = start + Buffer.byteLength(SHARED.exec(text)?.[0] ?? '')
    const held = this.#find('subscribe', undefined, ({ filter }) => covers(filter, source, from, end))
    if (held === undefined) return outcome
    return this.#settle(acl.decideSubscribe(source, start, end, qos, true), acl, held)
  }

  /** The last decision takes effect. Returns the grant that it used up, if it needed one. */
  use(): Grant | undefined {
    const held = this.#applied
    if (held === undefined) return undefined
    this.#applied = undefined
    this.#held = this.#held.filter((other) => other !== held)
    this.#session.context.revocations.leave(held)
    return held.grant
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
  drop(held: Held): void {
    this.#session.context.revocations.leave(held)
    this.#held = this.#held.filter((other) => other !== held)
    if (!this.#open.includes(held)) return
    this.#open = this.#open.filter((other) => other !== held)
    this.#closed()
  }

  /** The connection ended: uses that were taken and not made are lost. */
  close(): void {
    this.#timer?.cancel()
    for (const held of [...this.#held, ...this.#open]) this.#session.context.revocations.leave(held)
    this.#held = []
    this.#open = []
  }

  /** @param bearer of a message that carries a token of its own */
  #find(
    action: Grant['action'],
    bearer: Principal | undefined,
    fits: (grant: Grant) => boolean,
  ): Held | undefined {
    const now = this.#session.context.clock.now()
    const whose = bearer ?? this.#session.principal!
    return this.#held.find(
      ({ grant }) => grant.action === action && now < grant.expiresAtMs && isFor(grant, whose) && fits(grant),
    )
  }

  /** A grant that does not help, or that only shadow mode would let through without it, is not used up. */
  #settle(outcome: Outcome, acl: Acl, held: Held): Outcome {
    if (outcome === Outcome.ALLOW && acl.shadowed === Outcome.ALLOW) this.#applied = held
    return outcome
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
    const { grants, revocations, clock } = session.context
    const answer = await grants!.check(token, bearer)
    if (!session.receiving) return
    const refuse = (reason: string, detail?: string, about?: Pick<Grant, 'issuer' | 'tokenId'>): void => {
      if (!this.#refuse(way, reason, detail, about)) session.end('publish_denied', { detail: reason })
    }
    if (!answer.ok) return refuse(answer.reason, answer.detail, answer.claimed)
    const { grant } = answer
    if (!session.recorder.accepting) return refuse('audit_unavailable', undefined, grant)
    const held = new Held(grant, this)
    const bar = revocations.enterGrant(held, grant)
    if (bar !== undefined) return refuse(bar, undefined, grant)
    const take = await grants!.take(grant)
    // A use that was taken for a connection that has gone is lost: it must not be given out twice.
    if (!session.receiving) return revocations.leave(held)
    const late = held.isRevoked
      ? 'revoked'
      : take === 'spent'
        ? 'grant_spent'
        : take === 'unavailable'
          ? 'grants_unavailable'
          : clock.now() >= grant.expiresAtMs
            ? 'expired'
            : undefined
    if (late !== undefined) {
      revocations.leave(held)
      return refuse(late, undefined, grant)
    }
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
