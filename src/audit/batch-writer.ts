// Gathers actions at one time, each like one before it, in one line among those that wait for the disk: a batch. Knows
// no disk; the log says when a batch ends. docs/audit-format.md "Batches".
//
// Hot path: per message.

import type { PreparedRecord } from './event.ts'
import type { PendingRecords } from './pending-records.ts'
import { BATCH_END_BYTES, type Moment, type RecordEncoder } from './record.ts'
import { ENTRY_BYTES, writeEntry } from './record-bytes.ts'

/** Entries of one batch: a line stays short enough to be read, and no reader has to keep much. */
export const MOST_ENTRIES = 256
const BEGIN = Buffer.from('{"batch":')
const BRACKET = 0x5b
const NEWLINE = 0x0a

export class BatchWriter {
  readonly #encoder: RecordEncoder
  readonly #pending: PendingRecords
  /** 0: no batch is open. */
  #entries = 0
  #start = 0
  #moment: Moment | undefined

  constructor(encoder: RecordEncoder, pending: PendingRecords) {
    this.#encoder = encoder
    this.#pending = pending
  }

  /** The open batch can take this one too. */
  takes(record: PreparedRecord): boolean {
    const encoder = this.#encoder
    return this.#moment === encoder.moment && this.#entries < MOST_ENTRIES && encoder.hasModel(record)
  }

  /** To the open batch, or to a new one. The record has a model. @returns bytes */
  add(record: PreparedRecord, payloadLength: number, digest: string, packetId: number): number {
    const pending = this.#pending
    const target = pending.reserve(ENTRY_BYTES)
    const { end } = pending
    let at = end
    if (this.#entries === 0) {
      this.#start = end
      this.#moment = this.#encoder.moment
      target.set(BEGIN, end)
      at += BEGIN.length
    }
    const bytes = writeEntry(target, at, record, payloadLength, digest, packetId) - end
    if (this.#entries === 0) target[at] = BRACKET
    this.#entries += 1
    pending.added(bytes, 1, this.#encoder.seq)
    return bytes
  }

  /** Ends the open batch: it is a record of the chain now. @returns bytes; 0: none was open */
  end(): number {
    if (this.#entries === 0) return 0
    const pending = this.#pending
    const target = pending.reserve(BATCH_END_BYTES)
    const { end } = pending
    const lineEnd = this.#encoder.endBatch(target, this.#start, end, this.#moment!)
    target[lineEnd] = NEWLINE
    const bytes = lineEnd + 1 - end
    pending.added(bytes, 0, this.#encoder.seq)
    this.#entries = 0
    this.#moment = undefined
    return bytes
  }
}
