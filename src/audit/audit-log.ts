// The audit log: chains records, writes them in groups, and says when it can no longer promise to. Owns the rule for
// what happens when the disk does not take them (design.md 6, AUD-09). Never throws from `append`.

import type { Clock, Timer } from '../clock.ts'
import { PosternError } from '../errors.ts'
import { type AuditFile, openAuditFile, type Tail } from './audit-file.ts'
import type { AuditEvent, AuditSink, PreparedRecord } from './event.ts'
import { LineBlocks } from './line-blocks.ts'
import { type ChainHead, RecordEncoder } from './record.ts'

/** What the log tells whoever counts and reports. */
export interface AuditObserver {
  /** Records that reached the disk. */
  written(records: number): void
  /** Records that were not written and never will be; a gap record will count them. */
  lost(records: number): void
  /** A write or sync failed. It is tried again. */
  failed(error: PosternError): void
  /** Writing works again after `failed`. */
  recovered(): void
}

export interface AuditLogOptions {
  clock: Clock
  /** Names this process in the records. */
  instance: string
  /** Version of the policy in force; empty before one is loaded. */
  policy: string
  onFailure: 'deny' | 'continue'
  /** Milliseconds after which a record is on disk at the latest, while the disk works. */
  flushInterval: number
  /** Unwritten bytes above which records are lost, and `deny` stops accepting. */
  maxPending: number
  observer: AuditObserver
}

/** A failed write is tried again after this. */
const RETRY_MS = 1000
/** Enough for one write: the group is not made to wait for its time. */
const GROUP_BYTES = 256 * 1024
const NEWLINE = 0x0a

export class AuditLog implements AuditSink {
  readonly #file: AuditFile
  readonly #encoder: RecordEncoder
  readonly #options: AuditLogOptions
  /** Lines that wait for the next write. */
  readonly #lines = new LineBlocks()
  #lineBytes = 0
  #lineRecords = 0
  /** The group being written; `#written` bytes of its first block are in the file. Empty: none is. */
  #group: Buffer[] = []
  #groupBytes = 0
  #written = 0
  #groupRecords = 0
  #groupSeq = 0
  /** Last record that is known to be on disk. */
  #durableSeq: number
  #lost = 0
  #failure: PosternError | undefined
  #commit: Promise<boolean> | undefined
  #timer: Timer | undefined
  #closed = false
  /** Also plain fields, because they are read for each allowed action. */
  accepting = true
  congested = false
  #waiting: (() => void)[] = []

  /** Opens or creates the file and continues its chain; a torn last line is sealed. Throws as openAuditFile does. */
  static async open(path: string, options: AuditLogOptions): Promise<AuditLog> {
    const { file, tail } = await openAuditFile(path)
    return new AuditLog(file, tail, options)
  }

  constructor(file: AuditFile, tail: Tail, options: AuditLogOptions) {
    this.#file = file
    this.#options = options
    this.#encoder = new RecordEncoder({ ...options, head: tail.head })
    // A record without its newline is not done.
    this.#durableSeq = tail.unterminated ? tail.head.seq - 1 : tail.head.seq
    if (tail.unterminated) this.#add('\n', 0)
    if (tail.torn) {
      const gap = { torn_bytes: tail.torn.bytes, torn_sha256: tail.torn.sha256 }
      this.#push({ action: 'gap', decision: 'deny', reason: 'torn_record', effect: 'sealed', gap })
    }
  }

  /** The last record of the chain, written or not. */
  get head(): ChainHead {
    return this.#encoder.head
  }

  /** Bytes that are not on disk yet. */
  get pendingBytes(): number {
    return this.#lineBytes + this.#groupBytes
  }

  /** Records that were lost since the last gap record. */
  get lost(): number {
    return this.#lost
  }

  /** Why the last write failed, while it is not repaired. */
  get failure(): PosternError | undefined {
    return this.#failure
  }

  /** Version that the following records carry. */
  set policy(version: string) {
    this.#encoder.policy = version
  }

  whenRoom(call: () => void): void {
    this.#waiting.push(call)
  }

  append(event: AuditEvent): void {
    if (!this.#isFull()) this.#push(event)
  }

  /**
   * Resolves when every record appended before the call is on disk.
   *
   * @throws PosternError `ERR_AUDIT_WRITE` when a write fails; the records are kept and tried again
   */
  async flush(): Promise<void> {
    const { seq } = this.head
    while (this.#durableSeq < seq) {
      if (!(await this.#commitGroup())) throw this.#failure
    }
  }

  /** Writes what waits, closes the file and gives the lock back. Throws as flush does, after closing. */
  async close(): Promise<void> {
    if (this.#closed) return
    this.#countLost()
    this.#closed = true
    this.accepting = false
    try {
      await this.flush()
    } catch (error) {
      this.#options.observer.lost(this.#lineRecords + this.#groupRecords)
      throw error
    } finally {
      this.#timer?.cancel()
      await this.#file.close()
    }
  }

  /** Called as soon as there is room again, so that the gap record stands where the lost records would have stood. */
  #countLost(): void {
    if (this.#lost === 0) return
    const gap = { lost: this.#lost }
    this.#lost = 0
    this.#push({ action: 'gap', decision: 'deny', reason: 'records_lost', effect: 'counted', gap })
  }

  prepare(event: AuditEvent): PreparedRecord {
    return this.#encoder.prepare(event)
  }

  appendPrepared(
    record: PreparedRecord,
    payloadLength: number,
    payloadSha256: string | undefined,
    packetId: number,
  ): void {
    if (this.#isFull()) return
    const lines = this.#lines
    const block = lines.reserve(this.#encoder.roomFor(record) + 1)
    const start = lines.end
    const end = this.#encoder.encodePrepared(block, start, record, payloadLength, payloadSha256, packetId)
    block[end] = NEWLINE
    lines.end = end + 1
    this.#added(end + 1 - start, 1)
  }

  tick(): void {
    this.#encoder.tick()
  }

  #push(event: AuditEvent): void {
    this.#add(`${this.#encoder.encode(event)}\n`, 1)
  }

  #add(line: string, records: number): void {
    const bytes = Buffer.byteLength(line)
    this.#lines.reserve(bytes).write(line, this.#lines.end)
    this.#lines.end += bytes
    this.#added(bytes, records)
  }

  #added(bytes: number, records: number): void {
    this.#lineBytes += bytes
    this.#lineRecords += records
    // Between the marks that are looked for, nothing can change.
    if (records === 1 && this.#failure === undefined && this.#timer !== undefined) {
      if (this.#lineBytes < GROUP_BYTES && this.pendingBytes <= this.#options.maxPending / 2) return
    }
    this.#judge()
    this.#schedule()
  }

  /** Records that find no room are lost, and counted. */
  #isFull(): boolean {
    if (!this.#closed && this.pendingBytes <= this.#options.maxPending) return false
    this.#lost += 1
    this.#options.observer.lost(1)
    return true
  }

  /** `deny` accepts while nothing has failed and there is room; `continue` always does. */
  #judge(): void {
    this.accepting =
      !this.#closed &&
      (this.#options.onFailure === 'continue' ||
        (this.#failure === undefined && this.pendingBytes <= this.#options.maxPending))
    // Half is left for those that cannot wait. A disk that fails makes nobody wait: then `onFailure` decides.
    this.congested =
      !this.#closed && this.#failure === undefined && this.pendingBytes > this.#options.maxPending / 2
    if (this.congested || this.#waiting.length === 0) return
    const waiting = this.#waiting
    this.#waiting = []
    for (const call of waiting) call()
  }

  #schedule(): void {
    if (this.#commit || this.#closed || this.pendingBytes === 0) return
    if (this.#failure === undefined && (this.#lineBytes >= GROUP_BYTES || this.congested)) {
      void this.#commitGroup()
      return
    }
    const wait = this.#failure ? RETRY_MS : this.#options.flushInterval
    this.#timer ??= this.#options.clock.after(wait, () => void this.#commitGroup())
  }

  /** Writes and syncs one group, the failed one first. Resolves to false on failure; never rejects. */
  #commitGroup(): Promise<boolean> {
    this.#timer?.cancel()
    this.#timer = undefined
    this.#commit ??= this.#writeGroup().then((done) => {
      this.#commit = undefined
      this.#judge()
      this.#schedule()
      return done
    })
    return this.#commit
  }

  async #writeGroup(): Promise<boolean> {
    if (this.#groupBytes === 0) this.#takeLines()
    try {
      for (let block = this.#group[0]; block !== undefined; block = this.#group[0]) {
        const taken = await this.#file.write(block.subarray(this.#written))
        if (taken <= 0) throw new RangeError('nothing was written')
        this.#written += taken
        if (this.#written < block.length) continue
        this.#written = 0
        this.#lines.giveBack(this.#group.splice(0, 1))
      }
      // After a failed sync the kernel may call the next one good although pages were dropped (fsync(2), "NOTES");
      // nothing better than trying again exists, and `deny` has refused everything meanwhile.
      await this.#file.sync()
    } catch (cause) {
      const reason = (cause as NodeJS.ErrnoException).code ?? 'unknown error'
      const message = `The audit log cannot be written: ${reason}.`
      this.#failure = new PosternError('ERR_AUDIT_WRITE', 'internal', message, { cause })
      this.#options.observer.failed(this.#failure)
      return false
    }
    const records = this.#groupRecords
    this.#groupBytes = 0
    this.#groupRecords = 0
    this.#durableSeq = this.#groupSeq
    this.#options.observer.written(records)
    if (this.#failure) {
      this.#failure = undefined
      this.#options.observer.recovered()
    }
    if (!this.#closed) this.#countLost()
    return true
  }

  #takeLines(): void {
    this.#group = this.#lines.take()
    this.#groupBytes = this.#lineBytes
    this.#written = 0
    this.#groupRecords = this.#lineRecords
    this.#groupSeq = this.head.seq
    this.#lineBytes = 0
    this.#lineRecords = 0
  }
}
