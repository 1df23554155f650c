// The audit log: chains records, writes them in groups, and says when it can no longer promise to. Owns the rule for
// what happens when the disk does not take them (design.md 6, AUD-09), and where one segment ends. Never throws from
// `append` and `commit`.

import type { Timer } from '../clock.ts'
import { PosternError } from '../errors.ts'
import type { AuditFile } from './audit-file.ts'
import { BatchWriter } from './batch-writer.ts'
import type { AuditEvent, AuditSink, DigestPort, PreparedRecord } from './event.ts'
import type { AuditLogOptions } from './log-options.ts'
import type { MerkleTree } from './merkle.ts'
import { openAuditFile, type Tail } from './open-log.ts'
import { type Group, PendingRecords } from './pending-records.ts'
import { type ChainHead, RecordEncoder } from './record.ts'

/** A failed write is tried again after this. */
const RETRY_MS = 1000
/** Enough for one write: the group is not made to wait for its time. */
const GROUP_BYTES = 256 * 1024
const NEWLINE = 0x0a

export class AuditLog implements AuditSink {
  readonly #file: AuditFile
  readonly #encoder: RecordEncoder
  readonly #options: AuditLogOptions
  readonly #tree: MerkleTree | undefined
  readonly #pending = new PendingRecords()
  /** Ended before anything else is done to the chain, and before anybody looks at it. */
  readonly #batch: BatchWriter
  /** Last record that is known to be on disk. */
  #durableSeq: number
  /** Verification key of the checkpoints. */
  #signer: string | undefined
  #segment: number
  #oldestSegment: number
  #segmentBytes: number
  #segmentEndsMs: number
  #lost = 0
  #failure: PosternError | undefined
  #commit: Promise<boolean> | undefined
  #timer: Timer | undefined
  #closed = false
  /** Also a plain field, because it is read for each allowed action. */
  accepting = true
  congested = false
  #waiting: (() => void)[] = []

  /** Opens or creates the file and continues its chain; a torn last line is sealed. Throws as openAuditFile does. */
  static async open(path: string, options: AuditLogOptions): Promise<AuditLog> {
    const { file, tail } = await openAuditFile(path, {
      retention: options.segments,
      withTree: options.signer !== undefined,
      last: options.last,
      segmentFailed: (error) => options.observer.segmentFailed(error),
    })
    return new AuditLog(file, tail, options)
  }

  constructor(file: AuditFile, tail: Tail, options: AuditLogOptions) {
    this.#file = file
    this.#options = options
    this.#encoder = new RecordEncoder({ ...options, head: tail.head })
    this.#batch = new BatchWriter(this.#encoder, this.#pending)
    this.#tree = tail.tree
    this.#signer = options.signer
    this.#segment = tail.segment
    this.#oldestSegment = tail.oldest
    this.#segmentBytes = tail.size
    this.#segmentEndsMs = (tail.begunMs ?? options.clock.now()) + options.segments.ageMs
    // A record without its newline is not done.
    this.#durableSeq = tail.unterminated ? tail.head.seq - 1 : tail.head.seq
    if (tail.unterminated) {
      this.#segmentBytes += this.#pending.add('\n', 0, tail.head.seq)
      this.#added()
    }
    const begun = tail.begins ? this.#segmentEvent(tail.signer) : undefined
    if (tail.torn) {
      const gap = { torn_bytes: tail.torn.bytes, torn_sha256: tail.torn.sha256 }
      this.#push({ ...begun, action: 'gap', decision: 'deny', reason: 'torn_record', effect: 'sealed', gap })
    } else if (begun) this.#push(begun)
    const { signer } = options
    if (signer === undefined || signer === tail.signer) return
    this.#pushSigner(tail.signer === undefined ? 'first_key' : 'key_changed', signer)
  }

  /** The last record of the chain, written or not. */
  get head(): ChainHead {
    this.#endBatch()
    return this.#encoder.head
  }

  /** Over all records of the chain, written or not; undefined when no checkpoints are made. */
  get tree(): MerkleTree | undefined {
    this.#endBatch()
    return this.#tree
  }

  /** Bytes that are not on disk yet. */
  get pendingBytes(): number {
    return this.#pending.bytes
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

  /** Verification key of the checkpoints from here on, in place of another one. */
  useSigner(signer: string): void {
    this.#signer = signer
    this.#pushSigner('key_changed', signer)
  }

  whenRoom(call: () => void): void {
    this.#waiting.push(call)
  }

  append(event: AuditEvent): void {
    if (this.#isReady()) this.#push(event)
  }

  prepare(event: AuditEvent, digest: DigestPort['name'] | undefined): PreparedRecord {
    return this.#encoder.prepare(event, digest)
  }

  /** Every action has a record of its own. */
  count(): boolean {
    return false
  }

  appendPrepared(record: PreparedRecord, payloadLength: number, digest: string, packetId: number): void {
    const goesOn = this.#batch.takes(record)
    if (goesOn ? !this.#hasRoom() : !this.#isReady()) return
    if (!goesOn) this.#endBatch()
    if (goesOn || this.#encoder.hasModel(record)) {
      this.#segmentBytes += this.#batch.add(record, payloadLength, digest, packetId)
    } else {
      const pending = this.#pending
      const target = pending.reserve(this.#encoder.roomFor(record) + 1)
      const start = pending.end
      const end = this.#encoder.encodePrepared(target, start, record, payloadLength, digest, packetId)
      target[end] = NEWLINE
      const bytes = end + 1 - start
      pending.added(bytes, 1, this.#encoder.seq)
      this.#linked(bytes)
    }
    this.#added()
  }

  tick(): void {
    this.#encoder.tick()
  }

  commit(): boolean {
    if (this.#options.durability === 'async') return true
    return this.#commitNow() || this.#options.onFailure === 'continue'
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
      this.#options.observer.lost(this.#pending.records)
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

  /** Whether a record can be taken now, at the right place; one that cannot is lost, and counted. */
  #isReady(): boolean {
    if (!this.#hasRoom()) return false
    if (this.#segmentIsFull()) this.#beginSegment()
    return true
  }

  #hasRoom(): boolean {
    if (!this.#closed && this.pendingBytes <= this.#options.maxPending) return true
    this.#lost += 1
    this.#options.observer.lost(1)
    return false
  }

  #segmentIsFull(): boolean {
    const { segments, clock } = this.#options
    if (this.#segmentBytes === 0) return false
    return this.#segmentBytes >= segments.bytes || clock.now() >= this.#segmentEndsMs
  }

  #beginSegment(): void {
    this.#endBatch()
    const closing = this.#segment
    this.#segment += 1
    this.#segmentBytes = 0
    this.#segmentEndsMs = this.#options.clock.now() + this.#options.segments.ageMs
    const event = this.#segmentEvent(this.#signer)
    this.#encoder.beginFile()
    this.#pending.beginFile({ closing, oldest: event.segment!.oldest })
    this.#push(event)
  }

  #segmentEvent(signer: string | undefined): AuditEvent {
    const number = this.#segment
    const kept = this.#file.oldestKept(number - 1, this.#options.clock.now())
    this.#oldestSegment = Math.max(this.#oldestSegment, kept)
    const oldest = this.#oldestSegment
    const tree = this.#tree === undefined ? {} : { tree: [...this.#tree.edge] }
    const segment = { number, oldest, ...tree }
    return { action: 'segment', decision: 'allow', reason: 'ok', effect: 'begun', segment, signer }
  }

  #pushSigner(reason: string, signer: string): void {
    this.#push({ action: 'signer', decision: 'allow', reason, effect: 'in force', signer })
  }

  #push(event: AuditEvent): void {
    this.#endBatch()
    const line = `${this.#encoder.encode(event)}\n`
    this.#linked(this.#pending.add(line, 1, this.#encoder.seq))
    this.#added()
  }

  #endBatch(): void {
    const bytes = this.#batch.end()
    if (bytes > 0) this.#linked(bytes)
  }

  /** The chain has a new last record. @param bytes of it that were not counted yet */
  #linked(bytes: number): void {
    this.#segmentBytes += bytes
    this.#tree?.append(this.#encoder.hash)
  }

  #added(): void {
    this.#judge()
    this.#schedule()
  }

  /** `deny` accepts while nothing has failed and there is room; `continue` always does. */
  #judge(): void {
    this.accepting =
      !this.#closed &&
      (this.#options.onFailure === 'continue' ||
        (this.#failure === undefined && this.pendingBytes <= this.#options.maxPending))
    // Half is left for those that cannot wait. A disk that fails makes nobody wait: then `onFailure` decides. With
    // `write-ahead` the caller itself waits.
    const { durability, maxPending } = this.#options
    const mayWait = durability === 'async' && this.#failure === undefined && !this.#closed
    this.congested = mayWait && this.pendingBytes > maxPending / 2
    if (this.congested || this.#waiting.length === 0) return
    const waiting = this.#waiting
    this.#waiting = []
    for (const call of waiting) call()
  }

  #schedule(): void {
    if (this.#commit || this.#closed || this.pendingBytes === 0) return
    const { flushInterval, clock } = this.#options
    // Nobody is made to wait for room while the log itself waits for its time; nor are records lost meanwhile, with
    // `write-ahead`, where denials make no commit.
    const group = Math.min(GROUP_BYTES, this.#options.maxPending / 4)
    if (this.#failure === undefined && this.pendingBytes >= group) {
      void this.#commitGroup()
      return
    }
    const wait = this.#failure ? RETRY_MS : flushInterval
    this.#timer ??= clock.after(wait, () => void this.#commitGroup())
  }

  /** Writes and syncs one group, the failed one first. Resolves to false on failure; never rejects. */
  #commitGroup(): Promise<boolean> {
    this.#timer?.cancel()
    this.#timer = undefined
    if (this.#options.durability === 'write-ahead') return Promise.resolve(this.#commitNow())
    this.#commit ??= this.#writeGroup().then((done) => {
      this.#commit = undefined
      this.#judge()
      this.#schedule()
      return done
    })
    return this.#commit
  }

  async #writeGroup(): Promise<boolean> {
    const group = this.#nextGroup()
    try {
      this.#openNext(group)
      while (group.written < group.bytes.length) {
        this.#took(group, await this.#file.write(group.bytes.subarray(group.written)))
      }
      // After a failed sync the kernel may call the next one good although pages were dropped (fsync(2), "NOTES");
      // nothing better than trying again exists, and `deny` has refused everything meanwhile.
      await this.#file.sync()
    } catch (cause) {
      return this.#failed(cause)
    }
    return this.#done(group)
  }

  /** The same without waiting for anything but the disk, until nothing is pending. */
  #commitNow(): boolean {
    this.#timer?.cancel()
    this.#timer = undefined
    let good = true
    while (good && this.pendingBytes > 0) good = this.#writeGroupNow()
    this.#judge()
    this.#schedule()
    return good
  }

  #writeGroupNow(): boolean {
    const group = this.#nextGroup()
    try {
      this.#openNext(group)
      while (group.written < group.bytes.length) {
        this.#took(group, this.#file.writeNow(group.bytes.subarray(group.written)))
      }
      this.#file.syncNow()
    } catch (cause) {
      return this.#failed(cause)
    }
    return this.#done(group)
  }

  #nextGroup(): Group {
    this.#endBatch()
    return this.#pending.group()
  }

  #openNext(group: Group): void {
    if (group.begins === undefined || group.opened) return
    this.#file.rotate(group.begins.closing)
    group.opened = true
  }

  #took(group: Group, bytes: number): void {
    if (bytes <= 0) throw new RangeError('nothing was written')
    group.written += bytes
  }

  #failed(cause: unknown): false {
    const reason = (cause as NodeJS.ErrnoException).code ?? 'unknown error'
    const message = `The audit log cannot be written: ${reason}.`
    this.#failure = new PosternError('ERR_AUDIT_WRITE', 'internal', message, { cause })
    this.#options.observer.failed(this.#failure)
    return false
  }

  #done(group: Group): true {
    this.#pending.done()
    this.#durableSeq = group.seq
    this.#options.observer.written(group.records, group.bytes)
    this.#pending.recycle(group)
    // Only now is it on disk which of them may go.
    if (group.begins !== undefined) this.#file.tidy(group.begins.oldest)
    if (this.#failure) {
      this.#failure = undefined
      this.#options.observer.recovered()
    }
    if (!this.#closed) this.#countLost()
    return true
  }
}
