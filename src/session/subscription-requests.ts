// SUBSCRIBE and UNSUBSCRIBE of the agent: each filter is decided on its own; what is left of the packet goes on.

import type { PacketReader } from '../wire/packet-reader.ts'
import { ReasonCode } from '../wire/reason-code.ts'
import { suback, unsuback } from '../wire/reply.ts'
import { narrowSubscribe } from '../wire/subscribe-rewrite.ts'
import { hex } from './effect.ts'
import { Outcome, reasonCodeOf } from './outcome.ts'
import { Disposition } from './relay.ts'
import type { Session } from './session.ts'
import { FROM_SERVER } from './subscriptions.ts'

/** Low two bits of the Subscription Options: maximum QoS. MQTT 5.0 §3.8.3.1. */
const QOS_BITS = 0b11

export class SubscriptionRequests {
  /** The packet to send instead, after a REPLACE. */
  replacement: Buffer = Buffer.alloc(0)
  readonly #session: Session
  readonly #reader: PacketReader

  constructor(session: Session, reader: PacketReader) {
    this.#session = session
    this.#reader = reader
  }

  subscribe(): Disposition {
    const { source, filters: list } = this.#reader
    const session = this.#session
    const { acl, recorder, subscriptions, grants } = session
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
      let outcome: Outcome = grants.judgeSubscribe(acl, source, start, end, qos, text)
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
      const grant = allowed ? grants.open(text) : undefined
      recorder.subscribe(outcome, acl, text, qos, list.packetId, effect, grant)
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

  unsubscribe(): Disposition {
    const { source, filters: list } = this.#reader
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
}
