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
  lines: string[]
  bytes: number
  records: number
  seq: number
  begins: Group['begins']
}

const none = (begins: Group['begins']): Lines => ({ lines: [], bytes: 0, records: 0, seq: 0, begins })

export class PendingRecords {
  /** The last one takes new lines. */
  #waiting: Lines[] = [none(undefined)]
  #group: Group | undefined
  bytes = 0
  records = 0

  /** @returns bytes of the line */
  add(line: string, records: number, seq: number): number {
    const last = this.#waiting.at(-1)!
    const bytes = Buffer.byteLength(line)
    last.lines.push(line)
    last.bytes += bytes
    last.records += records
    last.seq = seq
    this.bytes += bytes
    this.records += records
    return bytes
  }

  /** What is added from now on goes into another file. */
  beginFile(begins: NonNullable<Group['begins']>): void {
    const last = this.#waiting.at(-1)!
    if (last.lines.length === 0 && last.begins === undefined) last.begins = begins
    else this.#waiting.push(none(begins))
  }

  /** The group to write next; the same one until it is done. */
  group(): Group {
    if (this.#group === undefined) {
      const { lines, records, seq, begins } = this.#waiting.shift()!
      if (this.#waiting.length === 0) this.#waiting.push(none(undefined))
      this.#group = { bytes: Buffer.from(lines.join('')), written: 0, records, seq, begins, opened: false }
    }
    return this.#group
  }

  done(): void {
    this.bytes -= this.#group!.bytes.length
    this.records -= this.#group!.records
    this.#group = undefined
  }
}
