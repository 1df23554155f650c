// Enforcement on what the agent sends: every PUBLISH, SUBSCRIBE, UNSUBSCRIBE and PUBREL is decided on its head.
//
// Hot path: runs per frame; see relay.ts.

import type { AuditIdentity, RunningDigest } from '../audit/event.ts'
import type { Acl } from '../policy/acl.ts'
import { PublishRequest } from '../policy/request.ts'
import { PacketType } from '../wire/control-packet.ts'
import type { PacketReader } from '../wire/packet-reader.ts'
import { rewritePublish } from '../wire/publish-rewrite.ts'
import { ReasonCode } from '../wire/reason-code.ts'
import { ack, disconnect } from '../wire/reply.ts'
import type { AgentInput, Until } from './agent-input.ts'
import { Wait } from './carried-grant.ts'
import { ControlTopics } from './control-topics.ts'
import { answered } from './effect.ts'
import { KnownPublishes } from './known-publishes.ts'
import { MessageProperties } from './message-properties.ts'
import { MessageRights } from './message-rights.ts'
import type { Outbox } from './outbox.ts'
import { answerTo, type EndCause, Outcome, reasonCodeOf, type SessionFault } from './outcome.ts'
import type { PublishFacts } from './recorder.ts'
import { Disposition, Relay } from './relay.ts'
import { retainedExpiry } from './retained-expiry.ts'
import type { Session } from './session.ts'
import { fillRequest, releaseOf } from './session-memory.ts'
import { State } from './state.ts'
import { SubscriptionRequests } from './subscription-requests.ts'
import { TopicAliasTable } from './topic-alias.ts'

const EMPTY = Buffer.alloc(0)

interface PayloadFacts {
  packetId: number
  length: number
  identity: AuditIdentity | undefined
}

export class ClientToServer extends Relay {
  readonly aliases = new TopicAliasTable()
  /** Of the chunk being judged. */
  nowMs = 0
  readonly #input: AgentInput
  readonly #message: MessageProperties
  readonly #session: Session
  readonly #request = new PublishRequest()
  readonly #facts: PublishFacts
  readonly #known: KnownPublishes
  readonly #control: ControlTopics
  readonly #requests: SubscriptionRequests
  /** What `onWait` waits for. */
  #waitsUntil: Until = 'proceed'
  /** What `afterStop` does. */
  #stop:
    | { cause: EndCause }
    | { fault: SessionFault }
    | { farewell: Buffer }
    | { opening: number }
    | { gone: true }
    | undefined
  /** Digest of a payload that arrives over several chunks. */
  #payload: { digest: RunningDigest | undefined; facts: PayloadFacts } | undefined

  constructor(session: Session, reader: PacketReader, input: AgentInput) {
    super(reader)
    this.#session = session
    this.#input = input
    this.#message = new MessageProperties(session, input)
    session.grants.resumeWith(input)
    this.#known = new KnownPublishes(session)
    this.#control = new ControlTopics(session)
    this.#requests = new SubscriptionRequests(session, reader)
    this.#facts = {
      source: EMPTY,
      head: reader.publish,
      topic: EMPTY,
      topicStart: 0,
      topicEnd: 0,
      payloadDigest: undefined,
      grant: undefined,
      identity: undefined,
      detail: undefined,
    }
  }

  protected get out(): Outbox {
    return this.#session.towardsServer
  }

  protected passKnown(): number {
    const known = this.#known
    const end = known.pass(this.reader, this.chunk, this.nowMs)
    if (end > 0) {
      this.addDecided(known.passed)
      this.noteKnown(known.isAwaited)
    }
    this.passed = known.changed
    this.passesMore = known.more
    return end
  }

  protected decide(): Disposition {
    const session = this.#session
    const type = this.reader.packetType
    if (session.relaying) {
      if (session.recorder.congested) return this.#wait('room')
      const isKnown = type !== PacketType.PUBLISH || this.#message.read(this.reader, this.nowMs)
      if (!isKnown) return this.#wait('proceed')
    }
    session.recorder.countPacket(0, type)
    if (!session.relaying) return this.#beforeConnack(type)
    switch (type) {
      case PacketType.PUBLISH:
        return this.#publish()
      case PacketType.PUBACK:
      case PacketType.PUBREC:
      case PacketType.PUBCOMP:
      case PacketType.PINGREQ:
        return Disposition.FORWARD
      case PacketType.PUBREL:
        return this.#release()
      case PacketType.SUBSCRIBE:
        return this.#requested(this.#requests.subscribe())
      case PacketType.UNSUBSCRIBE:
        return this.#requested(this.#requests.unsubscribe())
      case PacketType.DISCONNECT:
        return this.#disconnect()
      case PacketType.AUTH:
        return this.#auth()
      default:
        return this.#violation('second_connect')
    }
  }

  #wait(until: Until): Disposition {
    this.#waitsUntil = until
    return Disposition.WAIT
  }

  /** A CONNECT, and then, if it is challenged, an AUTH. MQTT 5.0 §4.12 */
  #beforeConnack(type: number): Disposition {
    const { state } = this.#session
    const isChallenged = state === State.CHALLENGED
    if (isChallenged && type === PacketType.DISCONNECT) this.#stop = { gone: true }
    else if (type !== (isChallenged ? PacketType.AUTH : PacketType.CONNECT)) {
      return this.#violation(isChallenged ? 'not_auth' : 'first_packet_not_connect')
    } else this.#stop = { opening: type }
    return Disposition.STOP
  }

  protected onFault(): void {
    const session = this.#session
    // A second CONNECT is wrong whatever is in it, and DISCONNECT has no Reason Code for its version.
    const isConnect = session.relaying && this.reader.packetType === PacketType.CONNECT
    session.clientFault(isConnect ? 'second_connect' : this.reader.fault)
  }

  protected onBody(start: number, end: number, last: boolean): void {
    if (this.#control.onPayload(this.chunk.subarray(start, end), last)) return
    const payload = this.#payload
    if (payload === undefined) return
    payload.digest?.update(this.chunk.subarray(start, end))
    if (!last) return
    this.#payload = undefined
    this.#session.recorder.payload(payload.facts, payload.digest?.digest('hex'), true)
  }

  /** The connection ended; a payload that was on its way is recorded as incomplete. */
  abandon(): void {
    const payload = this.#payload
    this.#payload = undefined
    if (payload !== undefined) this.#session.recorder.payload(payload.facts, undefined, false)
  }

  /** The connection is closed. */
  close(): void {
    this.#message.close()
  }

  protected onWait(head: Buffer | undefined, from: number): void {
    this.#input.hold(head, from, this.#waitsUntil)
  }

  protected afterStop(): void {
    const stop = this.#stop!
    this.#stop = undefined
    const session = this.#session
    if ('opening' in stop) session.onOpening(stop.opening, this.chunk)
    else if ('gone' in stop) session.onClose()
    else if ('fault' in stop) session.clientFault(stop.fault)
    else if ('cause' in stop) session.end(stop.cause)
    else {
      session.towardsServer.forward(stop.farewell)
      session.leave('client_disconnected')
    }
  }

  #requested(disposition: Disposition): Disposition {
    this.replacement = this.#requests.replacement
    return disposition
  }

  #violation(fault: SessionFault): Disposition {
    this.#stop = { fault }
    return Disposition.STOP
  }

  #publish(): Disposition {
    const { reader } = this
    const session = this.#session
    const head = reader.publish
    const fault = this.aliases.resolve(head, reader.source)
    if (fault !== undefined) return this.#violation(fault)
    const { topic, start, end, nameMissing } = this.aliases
    const alias = head.topicAlias
    const taken = this.#control.take(topic, start, end, reader, this.chunk, this.#message)
    if (taken !== undefined) return typeof taken === 'string' ? this.#end(taken) : taken

    const { rights, refusal, identity, without, added } = this.#message
    const acl = rights?.acl ?? session.acl
    const messageExpiryInterval = head.retain
      ? retainedExpiry(session, head.messageExpiryInterval, rights)
      : undefined
    const request = this.#request
    request.topic = topic
    request.topicStart = start
    request.topicEnd = end
    request.qos = head.qos
    request.retain = head.retain
    request.payloadLength = head.payloadLength
    request.response = reader.source
    request.responseStart = head.responseTopicStart
    request.responseEnd = head.responseTopicEnd
    let outcome: Outcome = session.grants.judgePublish(acl, request, this.#message, reader, this.chunk)
    if (outcome < 0) return this.#waitForGrant(outcome)
    let changed: Buffer | undefined
    if (outcome === Outcome.ALLOW) {
      const isChanged = nameMissing || (messageExpiryInterval ?? without ?? added) !== undefined
      if (isChanged) {
        const name = nameMissing ? topic : undefined
        const changes = { topic: name, messageExpiryInterval, without, added }
        changed = rewritePublish(reader.source, reader, head, changes)
      }
      const length = changed === undefined ? reader.frameLength : changed.length + head.payloadLength
      if (!session.recorder.accepting) outcome = Outcome.AUDIT_UNAVAILABLE
      else if (head.qos === 2 && !session.memory.isFreeFor(head.packetId, request, rights?.principal))
        outcome = Outcome.PACKET_ID_IN_USE
      else if (head.qos === 2 && !session.memory.hasRoomFor(end - start))
        outcome = Outcome.TOO_MANY_UNRELEASED
      else if (length > session.serverMaximumPacketSize) outcome = Outcome.TOO_LARGE_FOR_RECEIVER
      else if (head.qos > 0 && !session.packetIds.take(head.packetId)) outcome = Outcome.PACKET_ID_IN_USE
    }

    const facts = this.#facts
    facts.source = reader.source
    facts.topic = topic
    facts.topicStart = start
    facts.topicEnd = end
    facts.identity = identity
    facts.detail = refusal ?? session.grants.refusal
    const whole = reader.tail <= this.chunk.length - reader.pos
    const denied = outcome !== Outcome.ALLOW || acl.shadowed !== Outcome.ALLOW
    facts.grant = session.grants.use(outcome === Outcome.ALLOW)
    const recorded = denied || this.#known.haveRecords || facts.grant !== undefined
    const digest = recorded ? session.context.digest : undefined
    facts.payloadDigest = whole
      ? digest?.of(this.chunk.subarray(reader.pos, reader.pos + reader.tail))
      : undefined
    if (outcome !== Outcome.ALLOW) return this.#denyPublish(outcome, acl)

    if (recorded) session.recorder.publish(outcome, acl, facts, 'forwarded')
    else session.recorder.countPublish(outcome)
    if (recorded && !whole) {
      this.#payload = {
        digest: digest?.begin(),
        facts: { packetId: head.packetId, length: head.payloadLength, identity },
      }
      this.#payload.digest?.update(this.chunk.subarray(reader.pos))
    }
    if (head.qos === 2)
      session.memory.forwarded(head.packetId, releaseOf(request, session.rights, rights?.principal))
    if (alias > 0) this.aliases.markRelayed(alias)
    if (facts.grant === undefined) this.#known.remember(reader, facts, acl, changed, rights)
    if (changed === undefined) return Disposition.FORWARD
    this.replacement = changed
    return Disposition.REPLACE
  }

  /** A PUBLISH whose grant is to be verified or counted, or for which one is bound to all of its payload. */
  #waitForGrant(what: number): Disposition {
    this.#session.recorder.countPacket(0, PacketType.PUBLISH, -1)
    return this.#wait(what === Wait.FOR_PAYLOAD ? this.reader.frameLength : 'proceed')
  }

  #denyPublish(outcome: Outcome, acl: Acl): Disposition {
    const session = this.#session
    const head = this.reader.publish
    const { denial } = session.context.config
    const answer = answerTo(head.qos)
    if (answer > 0) {
      const code = reasonCodeOf(outcome, denial.hideTopics)
      session.recorder.publish(outcome, acl, this.#facts, answered(answer, code))
      session.towardsClient.send(ack(answer, head.packetId, code))
      return Disposition.DROP
    }
    const disconnect = denial.publishQos0 === 'disconnect'
    session.recorder.publish(outcome, acl, this.#facts, disconnect ? 'disconnect 0x87' : 'dropped')
    if (!disconnect) return Disposition.DROP
    return this.#end('publish_denied')
  }

  /** PUBREL lets the server publish a QoS 2 message: it is judged again if rights changed since. */
  #release(): Disposition {
    const session = this.#session
    const id = this.reader.ack.packetId
    const release = session.memory.releaseOf(id)
    const rights = release?.bearer && new MessageRights(session, release.bearer)
    const refusal = rights?.refusalAt(session, this.nowMs)
    let outcome: Outcome = Outcome.ALLOW
    if (release === undefined) {
      if (this.#control.takeRelease(id)) {
        session.towardsClient.send(ack(PacketType.PUBCOMP, id, ReasonCode.SUCCESS))
        return Disposition.DROP
      }
      if (session.context.config.sessions.unknownRelease === 'forward') return Disposition.FORWARD
      outcome = Outcome.UNKNOWN_RELEASE
    } else if (refusal !== undefined) outcome = Outcome.TOKEN_REFUSED
    else if (release.serial !== session.rights) {
      const request = this.#request
      fillRequest(request, release)
      outcome = (rights?.acl ?? session.acl).decidePublish(request)
    }
    // Not answered: the message stays where it is, and the agent asks again when it is back.
    if (outcome === Outcome.ALLOW && !session.recorder.accepting) return this.#end('audit_unavailable')
    if (outcome === Outcome.ALLOW) {
      release!.releasing = true
      return Disposition.FORWARD
    }
    const { identity } = rights ?? {}
    session.recorder.release(outcome, id, release?.topic.toString(), 'pubcomp 0x92', identity, refusal)
    session.towardsClient.send(ack(PacketType.PUBCOMP, id, ReasonCode.PACKET_IDENTIFIER_NOT_FOUND))
    // The broker would keep the message, its identifier and a place in its window for as long as the session lives.
    return release === undefined ? Disposition.DROP : this.#end('release_denied')
  }

  #disconnect(): Disposition {
    const { reader } = this
    const { reasonCode, sessionExpiryInterval } = reader.ack
    if (sessionExpiryInterval > 0 && this.#session.forcedFresh) {
      // The agent was told 0 in its CONNACK; more would be a Protocol Error at the broker (§3.14.2.2.2).
      this.#stop = { farewell: disconnect(reasonCode) }
      return Disposition.STOP
    }
    if (sessionExpiryInterval >= 0) this.#session.sessionExpiryInterval = sessionExpiryInterval
    this.#stop = {
      farewell: reader.fromSeam
        ? reader.takeSeam()
        : reader.source.subarray(reader.frameStart, reader.headEnd),
    }
    return Disposition.STOP
  }

  /** AUTH ends at Postern. */
  #auth(): Disposition {
    const answer = this.#session.renewal.onAuth(this.reader)
    if (answer === 'unexpected') return this.#violation('unexpected_auth')
    return answer === 'refused' ? this.#end('renewal_refused') : Disposition.DROP
  }

  #end(cause: EndCause): Disposition {
    this.#stop = { cause }
    return Disposition.STOP
  }
}
