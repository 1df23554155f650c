// Enforcement on what the broker sends: every delivery is judged by today's rights, answers to SUBSCRIBE are merged
// with Postern's own, and answers to Postern's own requests are swallowed.
//
// Hot path: runs per frame; see relay.ts.

import { SHADOWED } from '../audit/event.ts'
import { PacketType } from '../wire/control-packet.ts'
import type { PacketReader } from '../wire/packet-reader.ts'
import { rewritePublish } from '../wire/publish-rewrite.ts'
import { ReasonCode } from '../wire/reason-code.ts'
import { ack, suback } from '../wire/reply.ts'
import { withCodes } from '../wire/suback-rewrite.ts'
import { KnownHeads, repeatsOf } from './known-heads.ts'
import type { Outbox } from './outbox.ts'
import { type EndCause, LENGTH_GROWTH, Outcome, reasonCodeOf, type SessionFault } from './outcome.ts'
import type { PublishFacts } from './recorder.ts'
import { Disposition, Relay } from './relay.ts'
import type { Session } from './session.ts'
import { TopicAliasTable } from './topic-alias.ts'

const EMPTY = Buffer.alloc(0)

export class ServerToClient extends Relay {
  readonly aliases = new TopicAliasTable()
  readonly #session: Session
  readonly #facts: PublishFacts
  readonly #known = new KnownHeads()
  /** Packet Identifiers of dropped QoS 2 messages whose PUBREL is to come; the Receive Maximum bounds them. */
  #taken: Set<number> | undefined
  #stop: { cause: EndCause } | { fault: SessionFault } | { farewell: Buffer } | undefined

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
      grant: undefined,
      identity: undefined,
      detail: undefined,
    }
  }

  protected get out(): Outbox {
    return this.#session.towardsClient
  }

  protected passKnown(): number {
    const session = this.#session
    const { reader, chunk } = this
    const heads = this.#known
    let at = reader.nextStart
    if (at < 0 || heads.isEmpty || !session.relaying) return 0
    heads.use(session.rights)
    let count = 0
    let isAwaited = false
    for (;;) {
      const known = at < chunk.length ? heads.find(chunk, at, chunk.length) : undefined
      if (known === undefined) break
      const { frameEnd, payloadStart, packetId } = heads
      const frameLength = frameEnd - at
      if (frameLength > reader.limits.packetBytes) break
      const frames = packetId > 0 ? 1 : 1 + repeatsOf(chunk, at, payloadStart - at, frameLength)
      isAwaited ||= packetId > 0 || known.isRequest
      at += frames * frameLength
      count += frames
    }
    if (count === 0) return 0
    session.recorder.countPacket(1, PacketType.PUBLISH, count)
    session.recorder.countDelivery(Outcome.ALLOW, count)
    this.addDecided(count)
    this.noteKnown(isAwaited)
    reader.skipTo(at)
    return reader.pos
  }

  protected decide(): Disposition {
    const session = this.#session
    const { reader } = this
    const type = reader.packetType
    session.recorder.countPacket(1, type)
    if (!session.relaying) {
      if (type !== PacketType.CONNACK) return this.#violation('first_packet_not_connack')
      const connack = session.onConnack(reader)
      if (connack === undefined) return Disposition.STOP
      this.replacement = connack
      return Disposition.REPLACE
    }
    switch (type) {
      case PacketType.PUBLISH:
        return this.#delivery()
      case PacketType.PUBACK:
        session.packetIds.release(reader.ack.packetId)
        return Disposition.FORWARD
      case PacketType.PUBREC:
        if (reader.ack.reasonCode >= ReasonCode.UNSPECIFIED_ERROR) this.#messageDone(reader.ack.packetId)
        return Disposition.FORWARD
      case PacketType.PUBCOMP:
        this.#messageDone(reader.ack.packetId)
        return Disposition.FORWARD
      case PacketType.PUBREL:
        return this.#release()
      case PacketType.SUBACK:
        return this.#suback()
      case PacketType.UNSUBACK:
        return this.#unsuback()
      case PacketType.PINGRESP:
        return session.keepAlive.takeAnswer() ? Disposition.DROP : Disposition.FORWARD
      case PacketType.DISCONNECT:
        this.#stop = {
          farewell: reader.fromSeam
            ? reader.takeSeam()
            : reader.source.subarray(reader.frameStart, reader.headEnd),
        }
        return Disposition.STOP
      case PacketType.AUTH:
        return this.#violation('unexpected_auth')
      default:
        return this.#violation('second_connack')
    }
  }

  protected onFault(): void {
    this.#session.serverFault(this.reader.fault)
  }

  protected onBody(): void {
    // Payloads of deliveries are neither kept nor digested: allowed deliveries have no record of their own.
  }

  protected onWait(): void {
    // Deliveries are decided at once.
  }

  protected afterStop(): void {
    const stop = this.#stop
    this.#stop = undefined
    const session = this.#session
    if (stop === undefined) return
    if ('fault' in stop) session.serverFault(stop.fault)
    else if ('cause' in stop) session.end(stop.cause)
    else {
      session.towardsClient.forward(stop.farewell)
      session.end('server_disconnected')
    }
  }

  #violation(fault: SessionFault): Disposition {
    this.#stop = { fault }
    return Disposition.STOP
  }

  #messageDone(packetId: number): void {
    this.#session.packetIds.release(packetId)
    this.#session.memory.released(packetId)
  }

  #delivery(): Disposition {
    const { reader } = this
    const session = this.#session
    const head = reader.publish
    const fault = this.aliases.resolve(head, reader.source)
    if (fault !== undefined) return this.#violation(fault)
    const { topic, start, end, nameMissing } = this.aliases
    const alias = head.topicAlias
    let outcome: Outcome = session.acl.decideDelivery(topic, start, end)
    if (
      outcome === Outcome.ALLOW &&
      nameMissing &&
      reader.frameLength + end - start + LENGTH_GROWTH > this.out.maximumPacketSize
    ) {
      outcome = Outcome.TOO_LARGE_FOR_RECEIVER
    }
    if (outcome === Outcome.ALLOW) {
      const shadowed = session.acl.shadowed !== Outcome.ALLOW
      if (!shadowed) session.recorder.countDelivery(outcome)
      else session.recorder.deliveryRefused(outcome, session.acl, this.#factsOf(topic, start, end), SHADOWED)
      if (head.qos === 2) this.#taken?.delete(head.packetId)
      if (alias > 0) this.aliases.markRelayed(alias)
      if (!nameMissing) {
        this.#known.use(session.rights)
        if (!shadowed && this.#known.admits(reader)) this.#known.add(reader, true, undefined, undefined)
        return Disposition.FORWARD
      }
      this.replacement = rewritePublish(reader.source, reader, head, { topic })
      return Disposition.REPLACE
    }
    const facts = this.#factsOf(topic, start, end)
    if (session.context.config.denial.delivery === 'disconnect') {
      session.recorder.deliveryRefused(outcome, session.acl, facts, 'disconnect 0x87')
      this.#stop = { cause: 'delivery_denied' }
      return Disposition.STOP
    }
    session.recorder.deliveryRefused(outcome, session.acl, facts, 'dropped')
    // The broker's window (Receive Maximum) must not jam.
    if (head.qos === 1) {
      session.towardsServer.send(ack(PacketType.PUBACK, head.packetId, reasonCodeOf(outcome, false)))
    } else if (head.qos === 2) {
      // A negative PUBREC would end the flow [MQTT-4.3.3-4], but Mosquitto 2.0 never gives that place in its window
      // back (§4.9). So the message is taken in the agent's place, to the PUBCOMP.
      this.#taken ??= new Set()
      this.#taken.add(head.packetId)
      session.towardsServer.send(ack(PacketType.PUBREC, head.packetId, ReasonCode.SUCCESS))
    }
    return Disposition.DROP
  }

  /** PUBREL: the agent knows nothing of a message that was dropped. */
  #release(): Disposition {
    const { packetId } = this.reader.ack
    if (this.#taken?.delete(packetId) !== true) return Disposition.FORWARD
    this.#session.towardsServer.send(ack(PacketType.PUBCOMP, packetId, ReasonCode.SUCCESS))
    return Disposition.DROP
  }

  #factsOf(topic: Buffer, start: number, end: number): PublishFacts {
    const { reader } = this
    const facts = this.#facts
    facts.source = reader.source
    facts.topic = topic
    facts.topicStart = start
    facts.topicEnd = end
    const whole = reader.tail <= this.chunk.length - reader.pos
    facts.payloadDigest = whole
      ? this.#session.context.digest?.of(this.chunk.subarray(reader.pos, reader.pos + reader.tail))
      : undefined
    return facts
  }

  #suback(): Disposition {
    const { source, codes } = this.reader
    const session = this.#session
    const answer = session.subscriptions.subscribed(source, codes)
    if (typeof answer === 'string') return this.#violation(answer)
    session.packetIds.release(codes.packetId)
    if (answer === undefined) return Disposition.FORWARD
    const { maximumPacketSize } = this.out
    const packet = [withCodes(source, codes, answer), suback(codes.packetId, answer)].find(
      (form) => form.length <= maximumPacketSize,
    )
    if (packet === undefined) {
      this.#stop = { cause: 'answer_too_large' }
      return Disposition.STOP
    }
    this.replacement = packet
    return Disposition.REPLACE
  }

  #unsuback(): Disposition {
    const { source, codes } = this.reader
    const session = this.#session
    const fault = session.subscriptions.unsubscribed(source, codes)
    if (fault !== undefined) return this.#violation(fault)
    if (session.packetIds.releaseOwn(codes.packetId)) return Disposition.DROP
    session.packetIds.release(codes.packetId)
    return Disposition.FORWARD
  }
}
