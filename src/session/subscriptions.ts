// The subscriptions of one connection: requests that the server has not answered yet, the merge of its codes with
// Postern's own, and taking away what a narrower set of rights no longer allows. MQTT 5.0 §3.8 to §3.11.

import type { CodeList } from '../wire/heads.ts'
import { ReasonCode } from '../wire/reason-code.ts'
import { unsubscribe } from '../wire/reply.ts'
import { Outcome } from './outcome.ts'
import type { Session } from './session.ts'

/** Placeholder in `codes`: the server decides. */
export const FROM_SERVER = -1

/** Bytes of one UNSUBSCRIBE of Postern's own, at most; a broker that sets a lower Maximum Packet Size gets smaller ones. */
const UNSUBSCRIBE_BYTES = 64 * 1024
/** Of an UNSUBSCRIBE up to 64 KiB: fixed header, Packet Identifier and Property Length. */
const UNSUBSCRIBE_HEAD_BYTES = 4 + 2 + 1

/** What a filter of a request costs beside its text, or a packet of tiny ones would cost nothing. */
const FILTER_BYTES = 32

const NOTHING: ReadonlySet<string> = new Set()

export interface PendingSubscribe {
  /** One per filter of the client's packet, in order: FROM_SERVER or the Reason Code Postern refused it with. */
  codes: number[]
  /** The filters that were forwarded, in order, and their requested QoS. */
  filters: string[]
  qos: number[]
  /** `Session.rights` of the decision. */
  rights: number
  /** What it costs of the session's budget; `admit` adds the text of each filter. */
  bytes: number
}

interface PendingUnsubscribe {
  filters: string[]
  bytes: number
}

// Nothing is written to these: each connection has its own from its first request on, and many make none.
const NO_SUBSCRIBES = new Map<number, PendingSubscribe>()
const NO_UNSUBSCRIBES = new Map<number, PendingUnsubscribe>()
const NONE_LEAVING = new Set<string>()

export class Subscriptions {
  readonly #session: Session
  #subscribes = NO_SUBSCRIBES
  /** Filters in `#subscribes`: they may all be granted. */
  #pendingFilters = 0
  /** Packet Identifier -> filters of an UNSUBSCRIBE; Postern's own ones too. */
  #unsubscribes = NO_UNSUBSCRIBES
  /** Filters that an UNSUBSCRIBE of Postern's own is taking away: no second one is sent. */
  #leaving = NONE_LEAVING

  constructor(session: Session) {
    this.#session = session
  }

  /** Whether a SUBSCRIBE or UNSUBSCRIBE with this Packet Identifier waits for its answer. */
  isPending(packetId: number): boolean {
    return this.#subscribes.has(packetId) || this.#unsubscribes.has(packetId)
  }

  /** A SUBSCRIBE of `count` filters, of which none is admitted yet. */
  begin(count: number): PendingSubscribe {
    return { codes: [], filters: [], qos: [], rights: this.#session.rights, bytes: count * FILTER_BYTES }
  }

  /** Whether one more filter of the SUBSCRIBE stays within the limits; its text is added to the cost if so. */
  admit(filter: string, pending: PendingSubscribe): boolean {
    const { memory, context } = this.#session
    const filters = memory.subscriptions.size + this.#pendingFilters + pending.filters.length
    if (!memory.subscriptions.has(filter) && filters >= context.config.limits.subscriptions) return false
    // A known filter waits for its answer as a new one does.
    if (!memory.hasRoomFor(pending.bytes + filter.length)) return false
    pending.bytes += filter.length
    return true
  }

  subscribeForwarded(packetId: number, pending: PendingSubscribe): void {
    if (this.#subscribes === NO_SUBSCRIBES) this.#subscribes = new Map()
    this.#subscribes.set(packetId, pending)
    this.#pendingFilters += pending.filters.length
    this.#session.memory.requested(pending.bytes)
    // It comes after what Postern sent to take the filter away: a later change must take it away anew.
    for (const filter of pending.filters) this.#leaving.delete(filter)
  }

  /** false: too much waits for an answer already, the UNSUBSCRIBE must not be forwarded. */
  unsubscribeAdmitted(packetId: number, filters: string[]): boolean {
    const { memory } = this.#session
    const bytes = filters.reduce((sum, filter) => sum + filter.length, filters.length * FILTER_BYTES)
    if (!memory.hasRoomToUnsubscribe(bytes)) return false
    memory.requested(bytes)
    this.#unsubscribeSent(packetId, { filters, bytes })
    return true
  }

  #unsubscribeSent(packetId: number, pending: PendingUnsubscribe): void {
    if (this.#unsubscribes === NO_UNSUBSCRIBES) this.#unsubscribes = new Map()
    this.#unsubscribes.set(packetId, pending)
  }

  /**
   * Takes the server's SUBACK.
   *
   * @returns codes for the client in the order of its filters; undefined when nothing need be changed; or what is
   *   wrong with the answer
   */
  subscribed(source: Buffer, answer: CodeList): number[] | undefined | 'unknown_suback' | 'suback_count' {
    const pending = this.#subscribes.get(answer.packetId)
    if (pending === undefined) return 'unknown_suback'
    if (answer.codesEnd - answer.codesStart !== pending.filters.length) return 'suback_count'
    this.#subscribes.delete(answer.packetId)
    this.#pendingFilters -= pending.filters.length
    const { memory, rights } = this.#session
    memory.answered(pending.bytes)
    const granted = pending.filters.map((_, i) => source[answer.codesStart + i]!)
    pending.filters.forEach((filter, i) => {
      if (granted[i]! < ReasonCode.UNSPECIFIED_ERROR) memory.subscribed(filter, pending.qos[i]!)
    })
    // A policy came in force between the SUBSCRIBE and its answer.
    const lost = pending.rights === rights ? NOTHING : this.judgeAgain()
    if (lost.size === 0 && granted.length === pending.codes.length) return undefined
    let next = 0
    return pending.codes.map((code) => {
      if (code !== FROM_SERVER) return code
      const i = next++
      return lost.has(pending.filters[i]!) ? ReasonCode.NOT_AUTHORIZED : granted[i]!
    })
  }

  /** Takes the server's UNSUBACK; returns what is wrong with it, if anything. */
  unsubscribed(source: Buffer, answer: CodeList): undefined | 'unsuback_count' {
    const pending = this.#unsubscribes.get(answer.packetId)
    if (pending === undefined) return undefined
    const { filters, bytes } = pending
    if (answer.codesEnd - answer.codesStart !== filters.length) return 'unsuback_count'
    this.#unsubscribes.delete(answer.packetId)
    const { memory, packetIds, grants } = this.#session
    memory.answered(bytes)
    const own = packetIds.isOwn(answer.packetId)
    filters.forEach((filter, i) => {
      if (own) this.#leaving.delete(filter)
      if (source[answer.codesStart + i]! >= ReasonCode.UNSPECIFIED_ERROR) return
      memory.unsubscribed(filter)
      grants.unsubscribed(filter)
    })
    return undefined
  }

  /**
   * Judges every subscription by the rights now in force and takes away what they do not allow, by UNSUBSCRIBE
   * packets of Postern's own, whose answers are swallowed.
   *
   * A policy that lowers the highest QoS takes a subscription away only where `denial.qosAboveLimit` is `deny`. Where
   * it is `downgrade` the subscription keeps its QoS: to subscribe anew would have the broker send retained messages
   * that the agent did not ask for, and QoS is no limit on who reads what.
   *
   * @param reason why some may be lost, for their records
   * @returns the filters that are lost
   */
  judgeAgain(reason: 'rights_narrowed' | 'grant_ended' = 'rights_narrowed'): ReadonlySet<string> {
    const { memory, acl, grants } = this.#session
    const lost = new Set<string>()
    for (const [filter, qos] of memory.subscriptions) {
      const bytes = Buffer.from(filter)
      const outcome = acl.decideSubscribe(bytes, 0, bytes.length, qos, grants.isOpen(filter))
      if (outcome !== Outcome.ALLOW) lost.add(filter)
    }
    const most = Math.min(this.#session.serverMaximumPacketSize, UNSUBSCRIBE_BYTES)
    let batch: string[] = []
    let size = UNSUBSCRIBE_HEAD_BYTES
    for (const filter of lost) {
      if (this.#leaving.has(filter)) continue
      const bytes = 2 + Buffer.byteLength(filter)
      if (batch.length > 0 && size + bytes > most) {
        this.#takeAway(batch, reason)
        batch = []
        size = UNSUBSCRIBE_HEAD_BYTES
      }
      batch.push(filter)
      size += bytes
    }
    if (batch.length > 0) this.#takeAway(batch, reason)
    return lost
  }

  #takeAway(filters: string[], reason: string): void {
    const session = this.#session
    const packetId = session.packetIds.takeOwn((id) => session.memory.releaseOf(id) !== undefined)
    // With all 65,535 identifiers in use nothing can be taken away; the delivery check still holds.
    if (packetId === 0) return
    // It costs nothing of the budget: the texts are those of the subscriptions, and each leaves once.
    this.#unsubscribeSent(packetId, { filters, bytes: 0 })
    if (this.#leaving === NONE_LEAVING) this.#leaving = new Set()
    for (const filter of filters) {
      this.#leaving.add(filter)
      session.recorder.unsubscribe(filter, packetId, 'forwarded', reason)
    }
    session.towardsServer.send(unsubscribe(packetId, filters))
  }
}
