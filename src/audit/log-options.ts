// What an audit log is told when it is opened, and whom it tells.

import type { Clock } from '../clock.ts'
import type { PosternError } from '../errors.ts'
import type { Retention } from './segments.ts'
import type { Checkpoint } from './signed-note.ts'

/** What the log tells whoever counts, reports and copies. */
export interface AuditObserver {
  /** Records that reached the disk (of a batch each entry counts); their lines, each with its newline, good during the call. */
  written(records: number, lines: Buffer): void
  /** Records that were not written and never will be; a gap record will count them. */
  lost(records: number): void
  /** A write or sync failed. It is tried again. */
  failed(error: PosternError): void
  /** Writing works again after `failed`. */
  recovered(): void
  /** A closed segment could not be compressed or removed; it stays as it is. */
  segmentFailed(error: Error): void
}

export interface AuditLogOptions {
  clock: Clock
  /** Names this process in the records. */
  instance: string
  /** Version of the policy in force; empty before one is loaded. */
  policy: string
  /** See RecordEncoder. */
  short?: boolean | undefined
  /** `async`: written in groups behind the caller's back. `write-ahead`: `commit` returns when they are on disk. */
  durability: 'async' | 'write-ahead'
  onFailure: 'deny' | 'continue'
  /** Milliseconds after which a record is on disk at the latest, while the disk works. */
  flushInterval: number
  /** Unwritten bytes above which records are lost, and `deny` stops accepting. */
  maxPending: number
  /** A file of at least this many bytes, or older than this, is closed and another one begun. */
  segments: { bytes: number; ageMs: number } & Retention
  /** Verification key of the checkpoints; undefined: none are made. */
  signer?: string | undefined
  /** The last checkpoint that was made of this log, when it is known. */
  last?: Checkpoint | undefined
  observer: AuditObserver
}
