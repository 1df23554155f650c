// Enforcement on what the agent sends: every PUBLISH, SUBSCRIBE, UNSUBSCRIBE and PUBREL is decided on its head.
//
// Hot path: runs per frame; see relay.ts.

import { createHash, type Hash, hash } from 'node:crypto'
import { PublishRequest } from '../policy/request.ts'
import { PacketType } from '../wire/control-packet.ts'
import type { FilterList } from '../wire/heads.ts'
import type { PacketReader } from '../wire/packet-reader.ts'
import { rewritePublish } from '../wire/publish-rewrite.ts'
import { ReasonCode } from '../wire/reason-code.ts'
import { ack, suback, unsuback } from '../wire/reply.ts'
import { narrowSubscribe } from '../wire/subscribe-rewrite.ts'
import { KnownPublishes } from './known-publishes.ts'
import type { Outbox } from './outbox.ts'
import { answerTo, type EndCause, Outcome, reasonCodeOf, type SessionFault } from './outcome.ts'
import type { PublishFacts } from './recorder.ts'
import { Disposition, Relay } from './relay.ts'
import type { Session } from './session.ts'
import { askAgain } from './session-memory.ts'
import { FROM_SERVER } from './subscriptions.ts'
import { TopicAliasTable } from './topic-alias.ts'

const EMPTY = Buffer.alloc(0)

/** Message Expiry Interval as a property, and what two lengths may grow by. */
const EXPIRY_PROPERTY_BYTES = 7

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
  #payload: { hash: Hash | undefined; packetId: number; length: number } | undefined

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
      payloadSha256: undefined,
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
    session.countPacket(0, type)
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
    payload.hash?.update(this.chunk.subarray(start, end))
    if (!last) return
    this.#payload = undefined
    this.#session.recorder.payload(payload.packetId, payload.length, payload.hash?.digest('hex'), true)
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

    const messageExpiryInterval = head.retain ? this.#retainedExpiry(head.messageExpiryInterval) : undefined
    const growth =
      (nameMissing ? end - start : 0) + (messageExpiryInterval === undefined ? 0 : EXPIRY_PROPERTY_BYTES)

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
    const recorded = outcome !== Outcome.ALLOW || this.#known.haveRecords
    const digest = recorded && this.#known.haveDigests
    facts.payloadSha256 =
      digest && whole
        ? hash('sha256', this.chunk.subarray(reader.pos, reader.pos + reader.tail), 'hex')
        : undefined
    if (outcome !== Outcome.ALLOW) return this.#denyPublish(outcome)

    if (recorded) session.recorder.publish(outcome, session.acl, facts, 'forwarded')
    else session.recorder.countPublish(outcome)
    if (recorded && !whole) {
      this.#payload = {
        hash: digest ? createHash('sha256').update(this.chunk.subarray(reader.pos)) : undefined,
        packetId: head.packetId,
        length: head.payloadLength,
      }
    }
    if (head.qos === 2) {
      session.memory.forwarded(head.packetId, {
        topic: Buffer.from(topic.subarray(start, end)),
        response:
          head.responseTopicStart < 0
            ? undefined
            : Buffer.from(reader.source.subarray(head.responseTopicStart, head.responseTopicEnd)),
        retain: head.retain,
        payloadLength: head.payloadLength,
        rights: session.rights,
      })
    }
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

  /**
   * ACL-14: by option a retained message lives no longer than the right to publish it. RFC 9431 §2.2.3
   *
   * @param asked Message Expiry Interval of the PUBLISH, seconds; -1: none
   * @returns the interval to set, or undefined to leave the message as it is
   */
  #retainedExpiry(asked: number): number | undefined {
    const { context, principal } = this.#session
    if (context.config.sessions.retainedExpiry === 'keep') return undefined
    const leftS = Math.max(1, Math.floor((principal!.endsAtMs - context.clock.now()) / 1000))
    return asked >= 0 && asked <= leftS ? undefined : leftS
  }

  #denyPublish(outcome: Outcome): Disposition {
    const session = this.#session
    const head = this.reader.publish
    const { denial } = session.context.config
    const answer = answerTo(head.qos)
    if (answer > 0) {
      const code = reasonCodeOf(outcome, denial.hideTopics)
      session.recorder.publish(outcome, session.acl, this.#facts, effectOf(answer, code))
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
      askAgain(request, release)
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
    const codes: number[] = []
    const keep: boolean[] = []
    const options: number[] = []
    const filters: string[] = []
    const requested: number[] = []
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
        else if (!subscriptions.hasRoomFor(text, filters.length)) outcome = Outcome.SUBSCRIPTION_LIMIT
      }
      const allowed = outcome === Outcome.ALLOW
      const code = reasonCodeOf(outcome, denial.hideTopics)
      keep.push(allowed)
      codes.push(allowed ? FROM_SERVER : code)
      options.push((list.options[i]! & ~QOS_BITS) | granted)
      if (!allowed || granted !== qos) changed = true
      if (allowed) {
        filters.push(text)
        requested.push(granted)
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
    subscriptions.subscribeForwarded(list.packetId, {
      codes,
      filters,
      qos: requested,
      rights: session.rights,
    })
    if (!changed) return Disposition.FORWARD
    this.replacement = narrowSubscribe(source, list, keep, options)
    return Disposition.REPLACE
  }

  #unsubscribe(): Disposition {
    const { source, filters: list } = this.reader
    const session = this.#session
    const filters = textsOf(source, list)
    const fresh = session.packetIds.take(list.packetId) && !session.subscriptions.isPending(list.packetId)
    const effect = fresh ? 'forwarded' : `unsuback ${hex(ReasonCode.PACKET_IDENTIFIER_IN_USE)}`
    for (const filter of filters) session.recorder.unsubscribe(filter, list.packetId, effect)
    if (!fresh) {
      const codes = filters.map(() => ReasonCode.PACKET_IDENTIFIER_IN_USE)
      session.towardsClient.send(unsuback(list.packetId, codes))
      return Disposition.DROP
    }
    session.subscriptions.unsubscribeForwarded(list.packetId, filters)
    return Disposition.FORWARD
  }

  #disconnect(): Disposition {
    const { reader } = this
    if (reader.ack.sessionExpiryInterval >= 0) {
      this.#session.sessionExpiryInterval = reader.ack.sessionExpiryInterval
    }
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

function textsOf(source: Buffer, list: FilterList): string[] {
  const texts: string[] = []
  for (let i = 0; i < list.count; i++) {
    texts.push(source.toString('utf8', list.filterStart[i]!, list.filterEnd[i]!))
  }
  return texts
}

function effectOf(answer: number, code: number): string {
  return `${answer === PacketType.PUBACK ? 'puback' : 'pubrec'} ${hex(code)}`
}

export function hex(code: number): string {
  return `0x${code.toString(16).padStart(2, '0')}`
}
