// Memory for lines that wait to be written: blocks that are used again, since fresh memory costs more than the lines.

const BLOCK_BYTES = 256 * 1024
/** Blocks kept for their next use. */
const MOST_SPARE = 16

export class LineBlocks {
  #current: Buffer = Buffer.alloc(0)
  #used = 0
  #full: Buffer[] = []
  #spare: Buffer[] = []

  /** A buffer that has room for so many bytes at `end`. */
  reserve(bytes: number): Buffer {
    if (this.#used + bytes > this.#current.length) {
      this.#close()
      const spare = bytes <= BLOCK_BYTES ? this.#spare.pop() : undefined
      this.#current = spare ?? Buffer.allocUnsafeSlow(Math.max(bytes, BLOCK_BYTES))
    }
    return this.#current
  }

  get end(): number {
    return this.#used
  }

  set end(end: number) {
    this.#used = end
  }

  /** All lines so far, to be given back when they are written. */
  take(): Buffer[] {
    this.#close()
    const taken = this.#full
    this.#full = []
    return taken
  }

  giveBack(blocks: readonly Buffer[]): void {
    for (const { buffer } of blocks) {
      if (buffer.byteLength === BLOCK_BYTES && this.#spare.length < MOST_SPARE)
        this.#spare.push(Buffer.from(buffer))
    }
  }

  #close(): void {
    if (this.#used > 0) this.#full.push(this.#current.subarray(0, this.#used))
    this.#current = this.#current.subarray(0, 0)
    this.#used = 0
  }
}
