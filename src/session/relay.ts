// One direction of an authenticated connection: reads heads, asks `decide`, forwards runs of allowed frames as
// views of the chunk, drops or replaces the others.
//
// Hot path: runs per frame. It allocates one view per run, and nothing per forwarded frame.
//
//   chunk   | tail of earlier frame | frame | frame | denied | frame | head cut by the end
//   written |<------------- run ------------------->|        |<-run->|   (in the reader's seam)

import { PacketType } from '../wire/control-packet.ts'
import type { PublishHead } from '../wire/heads.ts'
import { type PacketReader, Step } from '../wire/packet-reader.ts'
import type { Outbox } from './outbox.ts'

/** What happens to the frame whose head was just read. */
export const Disposition = {
  FORWARD: 0,
  DROP: 1,
  /** `replacement` is sent in place of the head; the body follows as it is. */
  REPLACE: 2,
  /** Nothing more of this chunk is read: the session ended, or waits. */
  STOP: 3,
  /** As DROP, but the body still to come is handed to `onBody`. */
  TAKE: 4,
  /** It cannot be decided yet: nothing from its first byte on is read, until all of that is relayed again. */
  WAIT: 5,
} as const
export type Disposition = (typeof Disposition)[keyof typeof Disposition]

export abstract class Relay {
  readonly reader: PacketReader
  /** The chunk being read; valid inside `decide` and `onBody` only. */
  protected chunk: Buffer = EMPTY
  protected replacement: Buffer = EMPTY
  /** After a `passKnown`: what goes out in place of the chunk's bytes up to `to`; undefined: they go as they are. */
  protected passed: { bytes: Buffer; to: number } | undefined
  /** After a `passKnown`: the next frame may be known too. */
  protected passesMore = false
  /** What of the chunk is to be written next. */
  #runStart = 0
  #runEnd = 0
  /** Heads decided since the last `takeDecided`, for the decision-time histogram. */
  #decided = 0
  #awaited = false
  /** The body that is still to come is of such a frame. */
  #awaitsBody = false
  #forwardingBody = false
  #takingBody = false

  constructor(reader: PacketReader) {
    this.reader = reader
  }

  /** Where forwarded bytes go. */
  protected abstract readonly out: Outbox
  /**
   * Passes frames that are known to be allowed, as they are or as `passed` says, if the next ones are such; the body of
   * the last one may go on behind the chunk.
   *
   * @returns where they end in the chunk, or it ends; 0: there are none
   */
  protected abstract passKnown(): number
  /** Decides on the head in `reader`. Never throws for what a peer sent. */
  protected abstract decide(): Disposition
  /** The reader refused the bytes: `reader.fault` says why. Frames before it have been forwarded. */
  protected abstract onFault(): void
  /** Body bytes of a forwarded or taken PUBLISH that came in a later chunk than its head. */
  protected abstract onBody(start: number, end: number, last: boolean): void

  protected addDecided(count: number): void {
    this.#decided += count
  }

  takeDecided(): number {
    const decided = this.#decided
    this.#decided = 0
    return decided
  }

  /** @param isAwaited one of the known frames that were just passed is answered; the rest of the last one passes for it */
  protected noteKnown(isAwaited: boolean): void {
    if (isAwaited) this.#awaited = true
    this.#awaitsBody = isAwaited
  }

  /**
   * Whether anything since the last call is answered, or is an answer: anything but a PUBLISH at QoS 0 that is neither
   * request nor response (MQTT 5.0 §4.10).
   */
  takeAwaited(): boolean {
    const awaited = this.#awaited
    this.#awaited = false
    return awaited
  }

  relay(chunk: Buffer): void {
    const { reader, out } = this
    const length = chunk.length
    this.chunk = chunk
    this.#runStart = 0
    this.#runEnd = 0
    if (reader.tail > 0) {
      if (this.#awaitsBody) this.#awaited = true
      this.#runEnd = Math.min(reader.tail, length)
      if (this.#forwardingBody || this.#takingBody) this.onBody(0, this.#runEnd, reader.tail <= length)
      if (!this.#forwardingBody) this.#runStart = this.#runEnd
      // Else a stream whose chunks never end at a boundary would hold up Postern's own packets for ever.
      if (out.hasWaiting && reader.tail <= length) {
        this.#writeRun()
        out.setOpen(0)
        this.#runStart = this.#runEnd
      }
    }
    reader.load(chunk)
    this.#passKnown()
    let step = reader.next()
    while (step === Step.HEAD) {
      this.#decided++
      this.#awaitsBody = reader.packetType !== PacketType.PUBLISH || isAnswered(reader.publish)
      if (this.#awaitsBody) this.#awaited = true
      const disposition = this.decide()
      if (disposition === Disposition.STOP) {
        this.#writeRun()
        out.setOpen(0)
        this.afterStop()
        return
      }
      if (disposition === Disposition.WAIT) {
        this.#decided--
        this.#writeRun()
        out.setOpen(0)
        const head = reader.fromSeam ? reader.takeSeam() : undefined
        this.onWait(head, reader.unread())
        return
      }
      const bodyEnd = reader.pos + Math.min(reader.tail, length - reader.pos)
      if (disposition === Disposition.FORWARD) {
        if (reader.fromSeam) {
          out.forward(reader.takeSeam())
          this.#runStart = reader.pos
        }
        this.#forwardingBody = true
      } else {
        this.#writeRun()
        if (disposition === Disposition.REPLACE) {
          out.forward(this.replacement)
          this.#runStart = reader.pos
          this.#forwardingBody = true
        } else {
          this.#runStart = bodyEnd
          this.#forwardingBody = false
          this.#takingBody = disposition === Disposition.TAKE
        }
      }
      this.#runEnd = bodyEnd
      this.#passKnown()
      step = reader.next()
    }
    this.#writeRun()
    out.setOpen(this.#forwardingBody ? reader.tail : 0)
    if (step === Step.FAULT) this.onFault()
  }

  #passKnown(): void {
    let end = this.passKnown()
    while (end > 0) {
      const { passed } = this
      if (passed !== undefined) {
        this.#writeRun()
        this.out.forward(passed.bytes)
        this.#runStart = passed.to
      }
      this.#runEnd = end
      this.#forwardingBody = true
      end = this.passesMore ? this.passKnown() : 0
    }
  }

  #writeRun(): void {
    if (this.#runEnd > this.#runStart) this.out.forward(this.chunk.subarray(this.#runStart, this.#runEnd))
  }

  /**
   * Called after a WAIT, when everything before it has been written.
   *
   * @param head what came of the frame before this chunk, and more; undefined: nothing
   * @param from where in the chunk the bytes after `head` begin
   */
  protected abstract onWait(head: Buffer | undefined, from: number): void

  /** Called after a STOP, when everything before it has been written. */
  protected abstract afterStop(): void
}

/** By the server, or by whoever it is for: a Response Topic makes a request, Correlation Data mostly its response. */
function isAnswered({ qos, responseTopicStart, correlationDataStart }: PublishHead): boolean {
  return qos > 0 || responseTopicStart >= 0 || correlationDataStart >= 0
}

const EMPTY = Buffer.alloc(0)
