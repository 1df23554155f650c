// Logs that are being written, read on from where they were left, through rotation: one, and those of workers beside it.

import { closeSync, fstatSync, openSync, readSync, statSync } from 'node:fs'
import { Models, missingFrom } from '../../src/audit/models.ts'
import type { AuditRecord } from '../../src/audit/record.ts'
import { workerLogs } from '../../src/evidence/chains.ts'
import { looseRecord } from '../../src/evidence/log-files.ts'

const PIECE_BYTES = 256 * 1024

export class FollowedLogs {
  readonly #file: string
  readonly #logs = new Map<string, FollowedLog>()

  /** Throws when the file cannot be opened. */
  constructor(file: string) {
    this.#file = file
    this.#logs.set(file, new FollowedLog(file))
  }

  /** Entries of batches, since this was asked last, that are like records which are not there. */
  takeMissing(): number {
    let missing = 0
    for (const log of this.#logs.values()) {
      missing += log.missing
      log.missing = 0
    }
    return missing
  }

  /** What is new, in the order of time. */
  readOn(): AuditRecord[] {
    for (const file of workerLogs(this.#file)) {
      if (!this.#logs.has(file)) this.#logs.set(file, new FollowedLog(file))
    }
    const found = [...this.#logs.values()].flatMap((log) => log.readOn())
    return this.#logs.size === 1
      ? found
      : found.sort((a, b) => (a.time < b.time ? -1 : a.time > b.time ? 1 : 0))
  }

  close(): void {
    for (const log of this.#logs.values()) log.close()
  }
}

class FollowedLog {
  missing = 0
  readonly #file: string
  #fd: number
  #at = 0
  #rest: Buffer = Buffer.alloc(0)
  #models = new Models()

  constructor(file: string) {
    this.#file = file
    this.#fd = openSync(file, 'r')
  }

  readOn(): AuditRecord[] {
    const found = this.#read()
    const now = statSync(this.#file, { throwIfNoEntry: false })
    if (now === undefined || now.ino === fstatSync(this.#fd).ino) return found
    // Another segment was begun; what was written to the one before until then comes first.
    found.push(...this.#read())
    closeSync(this.#fd)
    this.#fd = openSync(this.#file, 'r')
    this.#at = 0
    this.#rest = Buffer.alloc(0)
    this.#models = new Models()
    return [...found, ...this.#read()]
  }

  close(): void {
    closeSync(this.#fd)
  }

  #read(): AuditRecord[] {
    const found: AuditRecord[] = []
    const piece = Buffer.alloc(PIECE_BYTES)
    for (;;) {
      const read = readSync(this.#fd, piece, 0, PIECE_BYTES, this.#at)
      if (read === 0) return found
      this.#at += read
      this.#rest = Buffer.concat([this.#rest, piece.subarray(0, read)])
      let start = 0
      for (let end = this.#rest.indexOf('\n'); end >= 0; end = this.#rest.indexOf('\n', start)) {
        const written = looseRecord(this.#rest.subarray(start, end))
        if (written !== undefined) {
          const records = this.#models.records(written)
          this.missing += missingFrom(records, written)
          found.push(...records)
        }
        start = end + 1
      }
      this.#rest = this.#rest.subarray(start)
    }
  }
}
