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
import { fillRequest, releaseOf } from './session-memory.ts'
import { State } from './state.ts'
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
  /** What `afterStop` does. */
  #stop:
    | { cause: EndCause }
    | { fault: SessionFault }
    | { farewell: Buffer }
    | { opening: number }
    | { gone: true }
    | undefined
  /** Digest of a payload that arrives over several chunks. */
  #payload: { digest: RunningDigest | undefined; packetId: number; length: number } | undefined

  constructor(session: Session, reader: PacketReader) {
    super(reader)
    this.#session = session
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

  protected decide(): Disposition {
    const session = this.#session
    const type = this.reader.packetType
    session.recorder.countPacket(0, type)
    if (!session.relaying) {
      return this.#beforeConnack(type)
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
    if (this.#session.renewal.onPayload(this.chunk.subarray(start, end), last)) return
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
    if ('opening' in stop) session.onOpening(stop.opening, this.chunk)
    else if ('gone' in stop) session.onClose()
    else if ('fault' in stop) session.clientFault(stop.fault)
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
    const { tokenTopic } = session.context
    if (tokenTopic?.length === end - start && tokenTopic.compare(topic, start, end) === 0)
      return this.#token()
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
    const { digest } = session.context
    facts.payloadDigest = whole
      ? digest?.of(this.chunk.subarray(reader.pos, reader.pos + reader.tail))
      : undefined
    if (outcome !== Outcome.ALLOW) return this.#denyPublish(outcome)

    session.recorder.publish(outcome, session.acl, facts, 'forwarded')
    if (!whole) {
      this.#payload = {
        digest: digest?.begin(),
        packetId: head.packetId,
        length: head.payloadLength,
      }
      this.#payload.digest?.update(this.chunk.subarray(reader.pos))
    }
    if (head.qos === 2) session.memory.forwarded(head.packetId, releaseOf(request, session.rights))
    if (alias > 0) this.aliases.markRelayed(alias)
    if (!nameMissing && messageExpiryInterval === undefined) return Disposition.FORWARD
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
    return this.#end('publish_denied')
  }

  /** PUBREL lets the server publish a QoS 2 message: it is judged again if rights changed since. */
  #release(): Disposition {
    const session = this.#session
    const id = this.reader.ack.packetId
    const release = session.memory.releaseOf(id)
    let outcome: Outcome = Outcome.ALLOW
    if (release === undefined) {
      if (session.renewal.takeRelease(id)) {
        session.towardsClient.send(ack(PacketType.PUBCOMP, id, ReasonCode.SUCCESS))
        return Disposition.DROP
      }
      if (session.context.config.sessions.unknownRelease === 'forward') return Disposition.FORWARD
      outcome = Outcome.UNKNOWN_RELEASE
    } else if (release.rights !== session.rights) {
      const request = this.#request
      fillRequest(request, release)
      outcome = session.acl.decidePublish(request)
    }
    if (outcome === Outcome.ALLOW && !session.recorder.accepting) outcome = Outcome.AUDIT_UNAVAILABLE
    if (outcome === Outcome.ALLOW) {
      release!.releasing = true
      return Disposition.FORWARD
    }
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

  /** AUTH ends at Postern. */
  #auth(): Disposition {
    const answer = this.#session.renewal.onAuth(this.reader)
    if (answer === 'unexpected') return this.#violation('unexpected_auth')
    return answer === 'refused' ? this.#end('renewal_refused') : Disposition.DROP
  }

  /** A PUBLISH to the token topic ends at Postern too, whatever the policy says. */
  #token(): Disposition {
    const { pos, tail, publish } = this.reader
    const answer = this.#session.renewal.onPublish(publish, this.chunk.subarray(pos, pos + tail))
    if (answer === 'refused') return this.#end('renewal_refused')
    return answer === 'more' ? Disposition.TAKE : Disposition.DROP
  }

  #end(cause: EndCause): Disposition {
    this.#stop = { cause }
    return Disposition.STOP
  }
}
