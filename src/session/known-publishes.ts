// The short way of a PUBLISH whose head was allowed before: no reading, no decision; count, audit record and the
// accounting of Packet Identifiers are the same as on the long way. Hot path: runs per frame; see known-heads.ts.

import type { Acl } from '../policy/acl.ts'
import { PacketType } from '../wire/control-packet.ts'
import type { PacketReader } from '../wire/packet-reader.ts'
import { varintLength, writeVarint } from '../wire/varint.ts'
import { type HeadChanges, type KnownHead, KnownHeads, repeatsOf } from './known-heads.ts'
import type { MessageRights } from './message-rights.ts'
import { Outcome } from './outcome.ts'
import type { PublishFacts } from './recorder.ts'
import type { Session } from './session.ts'

/** Payloads up to this are copied behind a changed head; longer ones go as they lie in the chunk. */
const COPIED_BYTES = 4096
/** Room for changed frames, shared by all sessions; none of it is used twice. */
const ROOM_BYTES = 64 * 1024
let room = Buffer.alloc(0)
let roomAt = 0

export class KnownPublishes {
  /** Every forwarded PUBLISH has a record. */
  readonly haveRecords: boolean
  /** Frames of the last `pass`. */
  passed = 0
  /** After a `pass`: what goes out in place of the chunk's bytes up to `to`; undefined: they go as they are. */
  changed: { bytes: Buffer; to: number } | undefined
  /** After a `pass`: the next frame is known as well. */
  more = false
  /** After a `pass`: somebody waits for an answer to one of the frames. */
  isAwaited = false
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
   * Passes the known frames at the reader's place in the chunk, those that go out as they came or those that are changed;
   * the body of the last one may go on behind it.
   *
   * @returns where they end, or the chunk; 0: there are none
   */
  pass(reader: PacketReader, chunk: Buffer, nowMs: number): number {
    const session = this.#session
    const heads = this.#heads
    this.changed = undefined
    this.more = false
    this.isAwaited = false
    const at = reader.nextStart
    const { recorder } = session
    if (at < 0 || this.#isFull || heads.isEmpty || !session.relaying) return 0
    heads.use(session.rights)
    const first = heads.find(chunk, at, chunk.length)
    if (first === undefined) return 0
    if (this.haveRecords) recorder.tick()
    this.passed = 0
    const end =
      first.changes === undefined
        ? this.#passSame(first, chunk, at, reader.limits.packetBytes)
        : this.#passChanged(first, chunk, at, reader.limits.packetBytes, nowMs)
    if (this.passed === 0) return 0
    recorder.countPacket(0, PacketType.PUBLISH, this.passed)
    recorder.countPublish(Outcome.ALLOW, this.passed)
    reader.skipTo(end)
    return reader.pos
  }

  #passSame(first: KnownHead, chunk: Buffer, start: number, packetBytes: number): number {
    const { packetIds, serverMaximumPacketSize } = this.#session
    const heads = this.#heads
    const mostBytes = Math.min(serverMaximumPacketSize, packetBytes)
    let known: KnownHead | undefined = first
    let at = start
    while (known !== undefined) {
      if (known.changes !== undefined) {
        this.more = true
        break
      }
      const { frameEnd, packetId } = heads
      if (frameEnd - at > mostBytes || this.#needsDigest(known, chunk)) break
      if (packetId > 0 && !packetIds.take(packetId)) break
      if (this.#hasRecord(known, chunk)) {
        at = frameEnd
        if (this.#isFull) break
      } else at = frameEnd + (packetId > 0 ? 0 : this.#repeats(known, chunk, at))
      if (at >= chunk.length) break
      known = heads.find(chunk, at, chunk.length)
    }
    return at
  }

  /** Small frames are gathered, so that many make one write; the payload of a long one goes as it lies in the chunk. */
  #passChanged(first: KnownHead, chunk: Buffer, start: number, packetBytes: number, nowMs: number): number {
    const session = this.#session
    const { packetIds, serverMaximumPacketSize } = session
    const heads = this.#heads
    let known: KnownHead | undefined = first
    let at = start
    let outStart = -1
    while (known !== undefined) {
      const { changes } = known
      const { frameEnd, payloadStart, packetId } = heads
      const payload = frameEnd - payloadStart
      const isLong = payload > COPIED_BYTES || frameEnd > chunk.length
      const head = changes === undefined ? 0 : headLength(changes, payload)
      const copied = isLong ? head : head + payload
      const hasRoom = roomAt + copied <= room.length
      if (changes === undefined || (outStart >= 0 && !hasRoom)) {
        this.more = true
        break
      }
      if (frameEnd - at > packetBytes || head + payload > serverMaximumPacketSize) break
      if (changes.rights?.mayPass(session, nowMs) === false || this.#needsDigest(known, chunk)) break
      if (packetId > 0 && !packetIds.take(packetId)) break
      if (!hasRoom) {
        room = Buffer.allocUnsafeSlow(Math.max(ROOM_BYTES, copied))
        roomAt = 0
      }
      if (outStart < 0) outStart = roomAt
      roomAt = writeHead(room, roomAt, chunk[at]!, changes, payload, packetId)
      const goesOn = !this.#hasRecord(known, chunk) || !this.#isFull
      at = frameEnd
      if (isLong) {
        this.changed = { bytes: room.subarray(outStart, roomAt), to: payloadStart }
        this.more = goesOn
        return at
      }
      roomAt += chunk.copy(room, roomAt, payloadStart, frameEnd)
      if (!goesOn || at >= chunk.length) break
      known = heads.find(chunk, at, chunk.length)
    }
    if (outStart >= 0) this.changed = { bytes: room.subarray(outStart, roomAt), to: at }
    return at
  }

  /** The digest of a payload that is not all there yet is made on the long way; what is only counted has none. */
  #needsDigest({ record }: KnownHead, chunk: Buffer): boolean {
    if (record === undefined || this.#heads.frameEnd <= chunk.length) return false
    return !this.#session.recorder.counts(record, 0, 0)
  }

  /**
   * Passes the frames behind the one at `start` that have the same head, when that one has no record of its own: they are
   * counted as it was, since the time that decides on it stands still within a chunk.
   *
   * @returns their bytes
   */
  #repeats({ record }: KnownHead, chunk: Buffer, start: number): number {
    const { frameEnd, payloadStart } = this.#heads
    const frameLength = frameEnd - start
    const repeats = repeatsOf(chunk, start, payloadStart - start, frameLength)
    if (record !== undefined && repeats > 0) {
      this.#session.recorder.counts(record, repeats * (frameEnd - payloadStart), repeats)
    }
    this.passed += repeats
    return repeats * frameLength
  }

  /** Nothing more that makes records may be taken. */
  get #isFull(): boolean {
    const { recorder } = this.#session
    return recorder.congested || !recorder.accepting
  }

  /** Counts or records the frame that was just found. @returns whether it has a record of its own */
  #hasRecord({ record, isRequest }: KnownHead, chunk: Buffer): boolean {
    const { frameEnd, payloadStart, packetId } = this.#heads
    const { recorder } = this.#session
    this.passed++
    if (packetId > 0 || isRequest) this.isAwaited = true
    if (record === undefined || recorder.counts(record, frameEnd - payloadStart, 1)) return false
    recorder.forwarded(record, chunk.subarray(payloadStart, frameEnd), packetId)
    return true
  }

  /**
   * The head that was just allowed takes the short way while the rights are these.
   *
   * @param acl by which it was allowed
   * @param forwarded the head as it goes out, if it is changed: always like this
   * @param rights of the message, if it has its own
   */
  remember(
    reader: PacketReader,
    facts: PublishFacts,
    acl: Acl,
    forwarded: Buffer | undefined,
    rights: MessageRights | undefined,
  ): void {
    const session = this.#session
    // What shadow mode let through is a record and a count of its own each time.
    if (acl.shadowed !== Outcome.ALLOW) return
    if (reader.publish.retain && this.#changesRetained) return
    this.#heads.use(session.rights)
    if (!this.#heads.admits(reader)) return
    const record = this.haveRecords ? session.recorder.prepareForwarded(acl, facts) : undefined
    const changes = forwarded && { forwarded: variablePart(forwarded), idAt: idAtOf(reader), rights }
    this.#heads.add(reader, !acl.limitsPayload, record, changes)
  }
}

/** Of a head: what follows Remaining Length. */
function variablePart(head: Buffer): Buffer {
  let at = 1
  while (head[at]! >= 0x80) at++
  return head.subarray(at + 1)
}

/** Where the Packet Identifier stands behind Remaining Length; 0 at QoS 0. */
function idAtOf({ publish }: PacketReader): number {
  return publish.qos === 0 ? 0 : 2 + publish.topicEnd - publish.topicStart
}

/** The whole head before a payload of so many bytes. */
function headLength({ forwarded }: HeadChanges, payload: number): number {
  return 1 + varintLength(forwarded.length + payload) + forwarded.length
}

function writeHead(
  out: Buffer,
  start: number,
  firstByte: number,
  { forwarded, idAt }: HeadChanges,
  payload: number,
  packetId: number,
): number {
  out[start] = firstByte
  const at = writeVarint(out, forwarded.length + payload, start + 1)
  forwarded.copy(out, at)
  if (idAt > 0) {
    out[at + idAt] = packetId >> 8
    out[at + idAt + 1] = packetId & 0xff
  }
  return at + forwarded.length
}
