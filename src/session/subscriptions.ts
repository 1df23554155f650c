// SUBSCRIBE and UNSUBSCRIBE that the server has not answered yet, and the merge of its codes with Postern's own.
// MQTT 5.0 §3.8 to §3.11.

import type { CodeList } from '../wire/heads.ts'

/** Placeholder in `codes`: the server decides. */
export const FROM_SERVER = -1

export interface PendingSubscribe {
  /** One per filter of the client's packet, in order: FROM_SERVER or the Reason Code Postern refused it with. */
  codes: number[]
  /** The filters that were forwarded, in order, and their requested QoS. */
  filters: string[]
  qos: number[]
  /** `Rights.serial` of the decision. */
  rights: number
}

export class PendingRequests {
  readonly subscribes = new Map<number, PendingSubscribe>()
  /** Packet Identifier -> filters of an UNSUBSCRIBE; Postern's own ones too. */
  readonly unsubscribes = new Map<number, string[]>()

  has(packetId: number): boolean {
    return this.subscribes.has(packetId) || this.unsubscribes.has(packetId)
  }
}

/**
 * Codes for the client's SUBACK, in the order of its filters, or undefined when the server answered with another
 * number of codes than it was asked for.
 */
export function mergeCodes(
  pending: PendingSubscribe,
  source: Buffer,
  answer: CodeList,
): number[] | undefined {
  if (answer.codesEnd - answer.codesStart !== pending.filters.length) return undefined
  let next = answer.codesStart
  return pending.codes.map((code) => (code === FROM_SERVER ? source[next++]! : code))
}
