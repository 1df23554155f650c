// Lines that wait for the disk, in groups that are written at once. A group never spans two files. Knows no disk.

/** What is written with one write and one sync. */
export interface Group {
  bytes: Buffer
  /** What `bytes` lie in. */
  buffer: Buffer
  /** Bytes of it that are in the file. */
  written: number
  /** Of a batch each entry counts. */
  records: number
  /** `seq` of its last record. */
  seq: number
  /** Its first record begins a new file: number of the file to close, and of the oldest one that is kept. */
  begins: { closing: number; oldest: number } | undefined
  /** That new file is open. */
  opened: boolean
}

interface Lines {
  /** Lines from `FIRST` on. */
  buffer: Buffer
  bytes: number
  records: number
  seq: number
  begins: Group['begins']
}

const LEAST_BYTES = 4 * 1024
/** Whoever writes a line may use the byte before it, and puts it back. */
const FIRST = 1
/** A buffer so many times as large as what was in it is given up. */
const MOST_UNUSED = 4

function noLines(begins: Group['begins'], buffer: Buffer = Buffer.allocUnsafeSlow(LEAST_BYTES)): Lines {
  return { buffer, bytes: 0, records: 0, seq: 0, begins }
}

export class PendingRecords {
  /** The last one takes new lines. */
  #waiting: Lines[] = [noLines(undefined)]
  #group: Group | undefined
  /** Of a group before: memory that is used again costs no collection of garbage. */
  #spare: Buffer | undefined
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
    const used = FIRST + last.bytes
    if (used + bytes > last.buffer.length) {
      const grown = Buffer.allocUnsafeSlow(Math.max(used + bytes, 2 * last.buffer.length))
      last.buffer.copy(grown, 0, 0, used)
      last.buffer = grown
    }
    return last.buffer
  }

  get end(): number {
    return FIRST + this.#waiting.at(-1)!.bytes
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
    else this.#waiting.push({ ...this.#next(last.bytes), begins })
  }

  /** The group to write next; the same one until it is done. */
  group(): Group {
    if (this.#group === undefined) {
      const { buffer, bytes, records, seq, begins } = this.#waiting.shift()!
      if (this.#waiting.length === 0) this.#waiting.push(this.#next(bytes))
      const lines = buffer.subarray(FIRST, FIRST + bytes)
      this.#group = { buffer, bytes: lines, written: 0, records, seq, begins, opened: false }
    }
    return this.#group
  }

  done(): void {
    this.bytes -= this.#group!.bytes.length
    this.records -= this.#group!.records
    this.#group = undefined
  }

  /** Nobody looks at the lines of this group, which is done, any more. */
  recycle({ buffer, bytes }: Group): void {
    if (buffer.length <= MOST_UNUSED * (LEAST_BYTES + bytes.length)) this.#spare = buffer
  }

  /** As much room as was needed the last time: what follows is of the same size, mostly. */
  #next(bytes: number): Lines {
    const next = this.#spare ?? Buffer.allocUnsafeSlow(LEAST_BYTES + bytes)
    this.#spare = undefined
    return noLines(undefined, next)
  }
}
