// Lines that wait for the disk, in groups that are written at once. A group never spans two files. Knows no disk.

/** What is written with one write and one sync. */
export interface Group {
  bytes: Buffer
  /** Bytes of it that are in the file. */
  written: number
  records: number
  /** `seq` of its last record. */
  seq: number
  /** Its first record begins a new file: number of the file to close, and of the oldest one that is kept. */
  begins: { closing: number; oldest: number } | undefined
  /** That new file is open. */
  opened: boolean
}

interface Lines {
  buffer: Buffer
  /** Bytes of `buffer` that are lines. */
  bytes: number
  records: number
  seq: number
  begins: Group['begins']
}

const LEAST_BYTES = 4 * 1024

const none = (begins: Group['begins'], size: number): Lines => {
  return { buffer: Buffer.allocUnsafeSlow(size), bytes: 0, records: 0, seq: 0, begins }
}

export class PendingRecords {
  /** The last one takes new lines. */
  #waiting: Lines[] = [none(undefined, LEAST_BYTES)]
  #group: Group | undefined
  bytes = 0
  records = 0

  /** @returns bytes of the line */
  add(line: string, records: number, seq: number): number {
    const bytes = Buffer.byteLength(line)
    this.reserve(bytes).write(line, this.end)
    this.added(bytes, records, seq)
    return bytes
  }

  /** A buffer with room for so many bytes at `end`; `added` says how many were used. */
  reserve(bytes: number): Buffer {
    const last = this.#waiting.at(-1)!
    if (last.bytes + bytes > last.buffer.length) {
      const grown = Buffer.allocUnsafeSlow(Math.max(last.bytes + bytes, 2 * last.buffer.length))
      last.buffer.copy(grown, 0, 0, last.bytes)
      last.buffer = grown
    }
    return last.buffer
  }

  get end(): number {
    return this.#waiting.at(-1)!.bytes
  }

  added(bytes: number, records: number, seq: number): void {
    const last = this.#waiting.at(-1)!
    last.bytes += bytes
    last.records += records
    last.seq = seq
    this.bytes += bytes
    this.records += records
  }

  /** What is added from now on goes into another file. */
  beginFile(begins: NonNullable<Group['begins']>): void {
    const last = this.#waiting.at(-1)!
    if (last.bytes === 0 && last.begins === undefined) last.begins = begins
    else this.#waiting.push(none(begins, LEAST_BYTES))
  }

  /** The group to write next; the same one until it is done. */
  group(): Group {
    if (this.#group === undefined) {
      const { buffer, bytes, records, seq, begins } = this.#waiting.shift()!
      // As much room as was needed this time: what follows is of the same size, mostly.
      if (this.#waiting.length === 0) this.#waiting.push(none(undefined, Math.max(LEAST_BYTES, bytes)))
      this.#group = { bytes: buffer.subarray(0, bytes), written: 0, records, seq, begins, opened: false }
    }
    return this.#group
  }

  done(): void {
    this.bytes -= this.#group!.bytes.length
    this.records -= this.#group!.records
    this.#group = undefined
  }
}
