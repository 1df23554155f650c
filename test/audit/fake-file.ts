// An audit file in memory whose writes and syncs fail, or wait, when a test says so.
import type { AuditFile } from '../../src/audit/audit-file.ts'
import type { AuditObserver } from '../../src/audit/log-options.ts'
import type { PosternError } from '../../src/errors.ts'

export class FakeFile implements AuditFile {
  bytes = Buffer.alloc(0)
  writes = 0
  syncs = 0
  closed = false
  /** Bytes that still fit. */
  room = Number.POSITIVE_INFINITY
  syncFails = false
  /** Most bytes that one write takes. */
  atOnce = Number.POSITIVE_INFINITY
  /** When set, a write waits for it. */
  gate: Promise<void> | undefined

  /** Numbers of the files that were closed, and those before which files may go. */
  readonly rotated: number[] = []
  readonly tidied: number[] = []
  rotationFails = false
  /** The files that were closed. */
  readonly closedFiles: Buffer[] = []

  async write(bytes: Buffer): Promise<number> {
    this.writes += 1
    await this.gate
    return this.#take(bytes)
  }

  async sync(): Promise<void> {
    this.#sync()
  }

  writeNow(bytes: Buffer): number {
    this.writes += 1
    return this.#take(bytes)
  }

  syncNow(): void {
    this.#sync()
  }

  oldestKept(): number {
    return 1
  }

  rotate(number: number): void {
    if (this.rotationFails) throw Object.assign(new Error('permission denied'), { code: 'EACCES' })
    this.rotated.push(number)
    this.closedFiles.push(this.bytes)
    this.bytes = Buffer.alloc(0)
  }

  tidy(oldest: number): void {
    this.tidied.push(oldest)
  }

  #take(bytes: Buffer): number {
    const taken = Math.min(bytes.length, this.room, this.atOnce)
    if (taken === 0) throw Object.assign(new Error('no space left on device'), { code: 'ENOSPC' })
    this.room -= taken
    this.bytes = Buffer.concat([this.bytes, bytes.subarray(0, taken)])
    return taken
  }

  #sync(): void {
    this.syncs += 1
    if (this.syncFails) throw Object.assign(new Error('input/output error'), { code: 'EIO' })
  }

  async close(): Promise<void> {
    this.closed = true
  }
}

export class CountingObserver implements AuditObserver {
  writtenRecords = 0
  lostRecords = 0
  errors: PosternError[] = []
  recoveries = 0

  written(records: number): void {
    this.writtenRecords += records
  }
  lost(records: number): void {
    this.lostRecords += records
  }
  failed(error: PosternError): void {
    this.errors.push(error)
  }
  recovered(): void {
    this.recoveries += 1
  }
  segmentFailed(error: Error): void {
    throw error
  }
}
