// Enforcement on what the agent sends: every PUBLISH, SUBSCRIBE, UNSUBSCRIBE and PUBREL is decided on its head.
//
// Hot path: runs per frame; see relay.ts.

import type { RunningDigest } from '../audit/event.ts'
import { PublishRequest } from '../policy/request.ts'
import { PacketType } from '../wire/control-packet.ts'
import type { PacketReader } from '../wire/packet-reader.ts'
import { rewritePublish } from '../wire/publish-rewrite.ts'
import { ReasonCode } from '../wire/reason-code.ts'
import { ack, disconnect, suback, unsuback } from '../wire/reply.ts'
import { narrowSubscribe } from '../wire/subscribe-rewrite.ts'
import { answered, hex } from './effect.ts'
import { KnownPublishes } from './known-publishes.ts'
import type { Outbox } from './outbox.ts'
import {
  answerTo,
  type EndCause,
  LENGTH_GROWTH,
  Outcome,
  reasonCodeOf,
  type SessionFault,
} from './outcome.ts'
import type { PublishFacts } from './recorder.ts'
import { Disposition, Relay } from './relay.ts'
import { retainedExpiry } from './retained-expiry.ts'
import type { Session } from './session.ts'
import { releaseOf } from './session-memory.ts'
import { FROM_SERVER } from './subscriptions.ts'
import { TopicAliasTable } from './topic-alias.ts'

const EMPTY = Buffer.alloc(0)

/** Message Expiry Interval as a property, and what Property Length may grow by. */
const EXPIRY_PROPERTY_BYTES = 6

/** Low two bits of the Subscription Options: maximum QoS. MQTT 5.0 §3.8.3.1. */
const QOS_BITS = 0b11

export class ClientToServer extends Relay {
  readonly aliases = new TopicAliasTable()
  readonly #session: Session
  readonly #request = new PublishRequest()
  readonly #facts: PublishFacts
  readonly #known: KnownPublishes
  /** What `afterStop` does. */
  #stop: { cause: EndCause } | { fault: SessionFault } | { farewell: Buffer } | { connect: true } | undefined
  /** Digest of a payload that arrives over several chunks. */
  #payload: { digest: RunningDigest | undefined; packetId: number; length: number } | undefined

  constructor(session: Session, reader: PacketReader) {
    super(reader)
    this.#session = session
    this.#known = new KnownPublishes(session)
    this.#facts = {
      source: EMPTY,
      head: reader.publish,
      topic: EMPTY,
      topicStart: 0,
      topicEnd: 0,
      payloadDigest: undefined,
    }
  }

  protected get out(): Outbox {
    return this.#session.towardsServer
  }

  protected passKnown(): number {
    const end = this.#known.pass(this.reader, this.chunk)
    if (end > 0) this.addDecided(this.#known.passed)
    return end
  }

  protected decide(): Disposition {
    const session = this.#session
    const type = this.reader.packetType
    session.recorder.countPacket(0, type)
    if (!session.relaying) {
      if (type !== PacketType.CONNECT) return this.#violation('first_packet_not_connect')
      this.#stop = { connect: true }
      return Disposition.STOP
    }
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
        return this.#subscribe()
      case PacketType.UNSUBSCRIBE:
        return this.#unsubscribe()
      case PacketType.DISCONNECT:
        return this.#disconnect()
      case PacketType.AUTH:
        return this.#auth()
      default:
        return this.#violation('second_connect')
    }
  }

  protected onFault(): void {
    const session = this.#session
    // A second CONNECT is wrong whatever is in it, and DISCONNECT has no Reason Code for its version.
    if (session.relaying && this.reader.packetType === PacketType.CONNECT) {
      session.clientViolation('second_connect')
    } else session.clientFault(this.reader.fault)
  }

  protected onBody(start: number, end: number, last: boolean): void {
    const payload = this.#payload
    if (payload === undefined) return
    payload.digest?.update(this.chunk.subarray(start, end))
    if (!last) return
    this.#payload = undefined
    this.#session.recorder.payload(payload.packetId, payload.length, payload.digest?.digest('hex'), true)
  }

  /** The connection ended; a payload that was on its way is recorded as incomplete. */
  abandon(): void {
    const payload = this.#payload
    this.#payload = undefined
    if (payload !== undefined) {
      this.#session.recorder.payload(payload.packetId, payload.length, undefined, false)
    }
  }

  protected afterStop(): void {
    const stop = this.#stop!
    this.#stop = undefined
    const session = this.#session
    if ('connect' in stop) session.onConnect(this.chunk)
    else if ('fault' in stop) session.clientViolation(stop.fault)
    else if ('cause' in stop) session.end(stop.cause)
    else {
      session.towardsServer.forward(stop.farewell)
      session.leave('client_disconnected')
    }
  }

  #violation(fault: SessionFault): Disposition {
    this.#stop = { fault }
    return Disposition.STOP
  }

  #publish(): Disposition {
    const { reader } = this
    const session = this.#session
    const head = reader.publish
    let topic = reader.source
    let start = head.topicStart
    let end = head.topicEnd
    const alias = head.topicAlias
    if (alias > 0) {
      if (alias > this.aliases.maximum) return this.#violation('topic_alias_above_maximum')
      if (end > start) this.aliases.define(alias, topic, start, end)
      else {
        const name = this.aliases.nameOf(alias)
        if (name === undefined) return this.#violation('unknown_topic_alias')
        topic = name
        start = 0
        end = name.length
      }
    }
    const nameMissing = alias > 0 && head.topicEnd === head.topicStart && !this.aliases.isRelayed(alias)

    const messageExpiryInterval = head.retain
      ? retainedExpiry(session, head.messageExpiryInterval)
      : undefined
    const growth =
      (nameMissing ? end - start + LENGTH_GROWTH : 0) +
      (messageExpiryInterval === undefined ? 0 : EXPIRY_PROPERTY_BYTES + LENGTH_GROWTH)

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
    let outcome: Outcome = session.acl.decidePublish(request)
    if (outcome === Outcome.ALLOW) {
      if (!session.recorder.accepting) outcome = Outcome.AUDIT_UNAVAILABLE
      else if (head.qos === 2 && !session.memory.isFreeFor(head.packetId, request))
        outcome = Outcome.PACKET_ID_IN_USE
      else if (head.qos === 2 && !session.memory.hasRoomFor(end - start))
        outcome = Outcome.TOO_MANY_UNRELEASED
      else if (reader.frameLength + growth > session.serverMaximumPacketSize) {
        outcome = Outcome.TOO_LARGE_FOR_RECEIVER
      } else if (head.qos > 0 && !session.packetIds.take(head.packetId)) outcome = Outcome.PACKET_ID_IN_USE
    }

    const facts = this.#facts
    facts.source = reader.source
    facts.topic = topic
    facts.topicStart = start
    facts.topicEnd = end
    const whole = reader.tail <= this.chunk.length - reader.pos
    const denied = outcome !== Outcome.ALLOW || session.acl.shadowed !== Outcome.ALLOW
    const recorded = denied || this.#known.haveRecords
    const digest = recorded ? session.context.digest : undefined
    facts.payloadDigest = whole
      ? digest?.of(this.chunk.subarray(reader.pos, reader.pos + reader.tail))
      : undefined
    if (outcome !== Outcome.ALLOW) return this.#denyPublish(outcome)

    if (recorded) session.recorder.publish(outcome, session.acl, facts, 'forwarded')
    else session.recorder.countPublish(outcome)
    if (recorded && !whole) {
      this.#payload = {
        digest: digest?.begin(),
        packetId: head.packetId,
        length: head.payloadLength,
      }
      this.#payload.digest?.update(this.chunk.subarray(reader.pos))
    }
    if (head.qos === 2) session.memory.forwarded(head.packetId, releaseOf(request, session.rights))
    if (alias > 0) this.aliases.markRelayed(alias)
    if (!nameMissing && messageExpiryInterval === undefined) {
      this.#known.remember(reader, facts)
      return Disposition.FORWARD
    }
    this.replacement = rewritePublish(reader.source, reader, head, {
      topic: nameMissing ? topic : undefined,
      messageExpiryInterval,
    })
    return Disposition.REPLACE
  }

  #denyPublish(outcome: Outcome): Disposition {
    const session = this.#session
    const head = this.reader.publish
    const { denial } = session.context.config
    const answer = answerTo(head.qos)
    if (answer > 0) {
      const code = reasonCodeOf(outcome, denial.hideTopics)
      session.recorder.publish(outcome, session.acl, this.#facts, answered(answer, code))
      session.towardsClient.send(ack(answer, head.packetId, code))
      return Disposition.DROP
    }
    const disconnect = denial.publishQos0 === 'disconnect'
    session.recorder.publish(outcome, session.acl, this.#facts, disconnect ? 'disconnect 0x87' : 'dropped')
    if (!disconnect) return Disposition.DROP
    this.#stop = { cause: 'publish_denied' }
    return Disposition.STOP
  }

  /** PUBREL lets the server publish a QoS 2 message: it is judged again if rights changed since. */
  #release(): Disposition {
    const session = this.#session
    const id = this.reader.ack.packetId
    const release = session.memory.releaseOf(id)
    let outcome: Outcome = Outcome.ALLOW
    if (release === undefined) {
      if (session.context.config.sessions.unknownRelease === 'forward') return Disposition.FORWARD
      outcome = Outcome.UNKNOWN_RELEASE
    } else if (release.rights !== session.rights) {
      const request = this.#request
      request.topic = release.topic
      request.topicStart = 0
      request.topicEnd = release.topic.length
      request.qos = 2
      request.retain = release.retain
      request.payloadLength = release.payloadLength
      request.response = release.response ?? EMPTY
      request.responseStart = release.response === undefined ? -1 : 0
      request.responseEnd = release.response === undefined ? -1 : release.response.length
      outcome = session.acl.decidePublish(request)
    }
    if (outcome === Outcome.ALLOW && !session.recorder.accepting) outcome = Outcome.AUDIT_UNAVAILABLE
    if (outcome === Outcome.ALLOW) return Disposition.FORWARD
    session.recorder.release(outcome, id, release?.topic.toString(), 'pubcomp 0x92')
    session.towardsClient.send(ack(PacketType.PUBCOMP, id, ReasonCode.PACKET_IDENTIFIER_NOT_FOUND))
    return Disposition.DROP
  }

  #subscribe(): Disposition {
    const { source, filters: list } = this.reader
    const session = this.#session
    const { acl, recorder, subscriptions } = session
    const { denial } = session.context.config
    const fresh = session.packetIds.take(list.packetId) && !subscriptions.isPending(list.packetId)
    const pending = subscriptions.begin(list.count)
    const { codes, filters } = pending
    const keep: boolean[] = []
    const options: number[] = []
    let changed = false
    for (let i = 0; i < list.count; i++) {
      const start = list.filterStart[i]!
      const end = list.filterEnd[i]!
      const qos = list.options[i]! & QOS_BITS
      const text = source.toString('utf8', start, end)
      let outcome: Outcome = acl.decideSubscribe(source, start, end, qos)
      const granted = acl.grantedQos
      if (outcome === Outcome.ALLOW) {
        if (!fresh) outcome = Outcome.PACKET_ID_IN_USE
        else if (!recorder.accepting) outcome = Outcome.AUDIT_UNAVAILABLE
        else if (!subscriptions.admit(text, pending)) outcome = Outcome.SUBSCRIPTION_LIMIT
      }
      const allowed = outcome === Outcome.ALLOW
      const code = reasonCodeOf(outcome, denial.hideTopics)
      keep.push(allowed)
      codes.push(allowed ? FROM_SERVER : code)
      options.push((list.options[i]! & ~QOS_BITS) | granted)
      if (!allowed || granted !== qos) changed = true
      if (allowed) {
        filters.push(text)
        pending.qos.push(granted)
      }
      const effect = allowed
        ? granted === qos
          ? 'forwarded'
          : `forwarded at qos ${granted}`
        : `suback ${hex(code)}`
      recorder.subscribe(outcome, acl, text, qos, list.packetId, effect)
    }
    if (filters.length === 0) {
      if (fresh) session.packetIds.release(list.packetId)
      session.towardsClient.send(suback(list.packetId, codes))
      return Disposition.DROP
    }
    subscriptions.subscribeForwarded(list.packetId, pending)
    if (!changed) return Disposition.FORWARD
    this.replacement = narrowSubscribe(source, list, keep, options)
    return Disposition.REPLACE
  }

  #unsubscribe(): Disposition {
    const { source, filters: list } = this.reader
    const session = this.#session
    const filters = list.texts(source)
    const refusal = this.#unsubscribeRefusal(list.packetId, filters)
    const effect = refusal === ReasonCode.SUCCESS ? 'forwarded' : `unsuback ${hex(refusal)}`
    const allowed = refusal === ReasonCode.SUCCESS
    const reason = allowed ? 'ok' : 'unsubscribe_refused'
    for (const filter of filters) {
      session.recorder.unsubscribe(filter, list.packetId, effect, reason, allowed)
    }
    if (allowed) return Disposition.FORWARD
    const codes = filters.map(() => refusal)
    session.towardsClient.send(unsuback(list.packetId, codes))
    return Disposition.DROP
  }

  /** SUCCESS, or the Reason Code for every filter. UNSUBACK has no 0x97. MQTT 5.0 §3.11.3 */
  #unsubscribeRefusal(packetId: number, filters: string[]): number {
    const { packetIds, subscriptions, recorder } = this.#session
    if (!recorder.accepting) return reasonCodeOf(Outcome.AUDIT_UNAVAILABLE, false)
    if (!packetIds.take(packetId) || subscriptions.isPending(packetId))
      return ReasonCode.PACKET_IDENTIFIER_IN_USE
    if (subscriptions.unsubscribeAdmitted(packetId, filters)) return ReasonCode.SUCCESS
    packetIds.release(packetId)
    return ReasonCode.IMPLEMENTATION_SPECIFIC_ERROR
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

  /** AUTH ends at Postern. Re-authentication is not offered yet: it fails as §4.12.1 says, with DISCONNECT 0x87. */
  #auth(): Disposition {
    const reauthentication =
      this.#session.authenticationMethod !== undefined &&
      this.reader.ack.reasonCode === ReasonCode.RE_AUTHENTICATE
    if (!reauthentication) return this.#violation('unexpected_auth')
    this.#stop = { cause: 'reauthentication_refused' }
    return Disposition.STOP
  }
}
