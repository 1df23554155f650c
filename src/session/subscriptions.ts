// The subscriptions of one connection: requests that the server has not answered yet, the merge of its codes with
// Postern's own, and taking away what a narrower set of rights no longer allows. MQTT 5.0 §3.8 to §3.11.

import type { CodeList } from '../wire/heads.ts'
import { ReasonCode } from '../wire/reason-code.ts'
import { unsubscribe } from '../wire/reply.ts'
import { Outcome } from './outcome.ts'
import type { Session } from './session.ts'

/** Placeholder in `codes`: the server decides. */
export const FROM_SERVER = -1

/** Filters in one UNSUBSCRIBE of Postern's own. */
const FILTERS_PER_UNSUBSCRIBE = 50

export interface PendingSubscribe {
  /** One per filter of the client's packet, in order: FROM_SERVER or the Reason Code Postern refused it with. */
  codes: number[]
  /** The filters that were forwarded, in order, and their requested QoS. */
  filters: string[]
  qos: number[]
  /** `Session.rights` of the decision. */
  rights: number
}

export class Subscriptions {
  readonly #session: Session
  readonly #subscribes = new Map<number, PendingSubscribe>()
  /** Filters in `#subscribes`: they may all be granted. */
  #pendingFilters = 0
  /** Packet Identifier -> filters of an UNSUBSCRIBE; Postern's own ones too. */
  readonly #unsubscribes = new Map<number, string[]>()

  constructor(session: Session) {
    this.#session = session
  }

  /** Whether a SUBSCRIBE or UNSUBSCRIBE with this Packet Identifier waits for its answer. */
  isPending(packetId: number): boolean {
    return this.#subscribes.has(packetId) || this.#unsubscribes.has(packetId)
  }

  /** Whether one more filter, beside `requested` others of the same packet, stays within the limit. */
  hasRoomFor(filter: string, requested: number): boolean {
    const { memory, context } = this.#session
    return (
      memory.subscriptions.has(filter) ||
      (memory.subscriptions.size + this.#pendingFilters + requested < context.config.limits.subscriptions &&
        memory.hasRoomFor(filter.length))
    )
  }

  subscribeForwarded(packetId: number, pending: PendingSubscribe): void {
    this.#subscribes.set(packetId, pending)
    this.#pendingFilters += pending.filters.length
  }

  unsubscribeForwarded(packetId: number, filters: string[]): void {
    this.#unsubscribes.set(packetId, filters)
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
    const granted = pending.filters.map((_, i) => source[answer.codesStart + i]!)
    pending.filters.forEach((filter, i) => {
      if (granted[i]! < ReasonCode.UNSPECIFIED_ERROR) memory.subscribed(filter, pending.qos[i]!)
    })
    // A policy came in force between the SUBSCRIBE and its answer.
    const lost = pending.rights === rights ? [] : this.judgeAgain()
    if (lost.length === 0 && granted.length === pending.codes.length) return undefined
    let next = 0
    return pending.codes.map((code) => {
      if (code !== FROM_SERVER) return code
      const i = next++
      return lost.includes(pending.filters[i]!) ? ReasonCode.NOT_AUTHORIZED : granted[i]!
    })
  }

  /** Takes the server's UNSUBACK. */
  unsubscribed(source: Buffer, answer: CodeList): void {
    const filters = this.#unsubscribes.get(answer.packetId) ?? []
    this.#unsubscribes.delete(answer.packetId)
    filters.forEach((filter, i) => {
      const code = source[answer.codesStart + i] ?? ReasonCode.UNSPECIFIED_ERROR
      if (code < ReasonCode.UNSPECIFIED_ERROR) this.#session.memory.unsubscribed(filter)
    })
  }

  /**
   * Judges every subscription by the rights now in force and takes away what they do not allow, by UNSUBSCRIBE
   * packets of Postern's own, whose answers are swallowed.
   *
   * @returns the filters that are lost
   */
  judgeAgain(): string[] {
    const { memory, acl } = this.#session
    const lost: string[] = []
    for (const [filter, qos] of memory.subscriptions) {
      const bytes = Buffer.from(filter)
      if (acl.decideSubscribe(bytes, 0, bytes.length, qos) !== Outcome.ALLOW) lost.push(filter)
    }
    for (let i = 0; i < lost.length; i += FILTERS_PER_UNSUBSCRIBE) {
      this.#takeAway(lost.slice(i, i + FILTERS_PER_UNSUBSCRIBE))
    }
    return lost
  }

  #takeAway(filters: string[]): void {
    const session = this.#session
    const packetId = session.packetIds.takeOwn()
    // With all 65,535 identifiers in use nothing can be taken away; the delivery check still holds.
    if (packetId === 0) return
    this.#unsubscribes.set(packetId, filters)
    for (const filter of filters)
      session.recorder.unsubscribe(filter, packetId, 'forwarded', 'rights_narrowed')
    session.towardsServer.send(unsubscribe(packetId, filters))
  }
}
