// A PUBLISH to a control topic: its payload is for Postern, and is never forwarded. Collects the payload, and answers.
// The way of RFC 9431's `authz-info`.

import type { PublishHead } from '../wire/heads.ts'
import { ReasonCode } from '../wire/reason-code.ts'
import { ack } from '../wire/reply.ts'
import { answerTo } from './outcome.ts'
import type { Session } from './session.ts'

/** How an upload is to be answered. */
export interface Way {
  qos: number
  packetId: number
}

export class ControlUpload {
  readonly #session: Session
  #current: { way: Way; parts: Buffer[] } | undefined
  /** QoS 2: Packet Identifiers that were answered with PUBREC 0x00 and not released yet. */
  #unreleased: Set<number> | undefined

  constructor(session: Session) {
    this.#session = session
  }

  /** Takes what is there of the payload. Returns all of it, if that is all. */
  begin(head: PublishHead, payload: Buffer): Buffer | undefined {
    const parts = [Buffer.from(payload)]
    if (payload.length === head.payloadLength) return parts[0]!
    this.#current = { way: { qos: head.qos, packetId: head.packetId }, parts }
    return undefined
  }

  /** More of it; `false` when none is waited for. With the last part: all of it, and how it is to be answered. */
  more(part: Buffer, last: boolean): false | 'more' | { payload: Buffer; way: Way } {
    const current = this.#current
    if (current === undefined) return false
    current.parts.push(Buffer.from(part))
    if (!last) return 'more'
    this.#current = undefined
    return { payload: Buffer.concat(current.parts), way: current.way }
  }

  /** Whether this PUBREL belongs to an upload; it is answered. */
  takeRelease(packetId: number): boolean {
    return this.#unreleased?.delete(packetId) === true
  }

  /** At QoS 0 there is no answer. */
  answer({ qos, packetId }: Way, reasonCode: number): void {
    if (qos === 0) return
    if (qos === 2 && reasonCode === ReasonCode.SUCCESS) {
      this.#unreleased ??= new Set()
      this.#unreleased.add(packetId)
    }
    this.#session.towardsClient.send(ack(answerTo(qos), packetId, reasonCode))
  }
}
