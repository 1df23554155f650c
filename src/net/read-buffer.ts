// Where sockets read to. All quiet connections share one buffer; one that fills it gets a buffer of its own.
//
// Who owns the bytes: a chunk is lent to the session until `onBytes` returns. What the session has written by then and
// the kernel has not taken refers to the chunk, so that part of the memory is given away to that write and never
// written again; the next chunk lies behind it, or in new memory.
//
//   shared   every read is copied out (a few hundred bytes, mostly), because all sockets read to the same place
//   own      lent as it is, while reads are long

/** A read of this length shows a bulk sender: its next reads are not copied. */
const BULK_BYTES = 16 * 1024
const SHARED_BYTES = 64 * 1024
/** System calls are what forwarding costs: the more one takes, the better. */
const OWN_BYTES = 1024 * 1024
/** Short reads in a row after which an own buffer goes back. */
const PATIENCE = 16
/** Sockets that may have a buffer of their own at a time: 32 MiB in all. */
const MOST_OWNERS = 32

/** What is read before it is known how much it is. */
const shared = Buffer.allocUnsafeSlow(SHARED_BYTES)
/** Where short reads are copied to; bytes before `copyStart` are given away. */
let copies = Buffer.allocUnsafeSlow(2 * SHARED_BYTES)
let copyStart = 0
let owners = 0
/** Own buffers that nothing refers to any more: fresh memory costs as much as reading into it. */
const spare: Buffer[] = []
const MOST_SPARE = 4

/** For buffers that `giveBack` gave away, once the write that referred to them is done. */
export function recycle(buffers: Buffer[]): void {
  for (const buffer of buffers) if (spare.length < MOST_SPARE) spare.push(buffer)
  buffers.length = 0
}

function newBuffer(): Buffer {
  return spare.pop() ?? Buffer.allocUnsafeSlow(OWN_BYTES)
}

export class ReadBuffer {
  #own: Buffer | undefined
  /** Length of what was lent last. */
  #lent = 0
  #short = 0

  /** For the next read. */
  get current(): Buffer {
    return this.#own ?? shared
  }

  /** The bytes just read into `current`, as they may be lent. */
  take(length: number): Buffer {
    this.#lent = length
    if (this.#own !== undefined) {
      this.#short = length < BULK_BYTES ? this.#short + 1 : 0
      return this.#own.subarray(0, length)
    }
    if (copyStart + length > copies.length) {
      copies = Buffer.allocUnsafeSlow(2 * SHARED_BYTES)
      copyStart = 0
    }
    shared.copy(copies, copyStart, 0, length)
    return copies.subarray(copyStart, copyStart + length)
  }

  /**
   * @param isReferenced a write that is still to be done refers to what was lent last
   * @returns the buffer that was given away to that write, if it was given away whole
   */
  giveBack(isReferenced: boolean): Buffer | undefined {
    const own = this.#own
    if (own === undefined) {
      if (isReferenced) copyStart += this.#lent
      if (this.#lent >= BULK_BYTES && owners < MOST_OWNERS) {
        owners += 1
        this.#own = newBuffer()
        this.#short = 0
      }
      return undefined
    }
    if (!isReferenced) {
      if (this.#short < PATIENCE) return undefined
      if (own.length === OWN_BYTES) recycle([own])
      this.release()
      return undefined
    }
    // A short read must not hold much more memory than it has bytes.
    const rest = own.subarray(this.#lent)
    const isShort = this.#lent < SHARED_BYTES && rest.length >= SHARED_BYTES
    this.#own = isShort ? rest : newBuffer()
    return isShort || own.length < OWN_BYTES ? undefined : own
  }

  /** The socket is not read any more, or not much. */
  release(): void {
    if (this.#own === undefined) return
    owners -= 1
    this.#own = undefined
  }
}
