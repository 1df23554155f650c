// The short way of a PUBLISH whose head was allowed before: no reading, no decision; count, audit record and the
// accounting of Packet Identifiers are the same as on the long way. Hot path: runs per frame; see known-heads.ts.

import { PacketType } from '../wire/control-packet.ts'
import type { PacketReader } from '../wire/packet-reader.ts'
import { KnownHeads } from './known-heads.ts'
import { Outcome } from './outcome.ts'
import type { PublishFacts } from './recorder.ts'
import type { Session } from './session.ts'

export class KnownPublishes {
  /** Every forwarded PUBLISH has a record. */
  readonly haveRecords: boolean
  /** Frames of the last `pass`. */
  passed = 0
  readonly #session: Session
  readonly #heads = new KnownHeads()
  /** Heads with RETAIN are changed, by an amount that depends on the time. */
  readonly #changesRetained: boolean

  constructor(session: Session) {
    this.#session = session
    const { audit, sessions } = session.context.config
    this.haveRecords = audit.publishes === 'all'
    this.#changesRetained = sessions.retainedExpiry === 'token'
  }

  /**
   * Passes the known frames at the reader's place in the chunk; the body of the last one may go on behind it.
   *
   * @returns where they end, or the chunk; 0: there are none
   */
  pass(reader: PacketReader, chunk: Buffer): number {
    const session = this.#session
    const heads = this.#heads
    let at = reader.nextStart
    const { recorder, packetIds } = session
    let isFull = recorder.congested || !recorder.accepting
    if (at < 0 || isFull || heads.isEmpty || !session.relaying) return 0
    heads.use(session.rights)
    const mostBytes = Math.min(session.serverMaximumPacketSize, reader.limits.packetBytes)
    let passed = 0
    if (this.haveRecords) recorder.tick()
    while (at < chunk.length && !isFull) {
      const known = heads.find(chunk, at, chunk.length)
      if (known === undefined) break
      const { frameEnd, payloadStart, packetId } = heads
      const { record } = known
      // The digest of a payload that is not all there yet is made on the long way.
      if (frameEnd > chunk.length && record !== undefined) break
      if (frameEnd - at > mostBytes || (packetId > 0 && !packetIds.take(packetId))) break
      if (record !== undefined && !recorder.counts(record, frameEnd - payloadStart)) {
        recorder.forwarded(record, chunk.subarray(payloadStart, frameEnd), packetId)
        isFull = recorder.congested || !recorder.accepting
      }
      at = frameEnd
      passed++
    }
    if (passed === 0) return 0
    this.passed = passed
    recorder.countPacket(0, PacketType.PUBLISH, passed)
    recorder.countPublish(Outcome.ALLOW, passed)
    reader.skipTo(at)
    return reader.pos
  }

  /** The head that was just allowed, and is forwarded as it is, takes the short way while the rights are these. */
  remember(reader: PacketReader, facts: PublishFacts): void {
    const session = this.#session
    // What shadow mode let through is a record and a count of its own each time.
    if (session.acl.shadowed !== Outcome.ALLOW) return
    if (reader.publish.retain && this.#changesRetained) return
    this.#heads.use(session.rights)
    if (!this.#heads.admits(reader)) return
    const record = this.haveRecords ? session.recorder.prepareForwarded(session.acl, facts) : undefined
    this.#heads.add(reader, !session.acl.limitsPayload, record)
  }
}
