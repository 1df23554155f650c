// The file of an audit log, open for appending: writes, syncs, goes on in a new file, and holds the lock. Decides
// nothing about records; audit-log.ts writes them, open-log.ts finds where they go on.

import {
  closeSync,
  fdatasync,
  fdatasyncSync,
  fsyncSync,
  openSync,
  renameSync,
  write,
  writeSync,
} from 'node:fs'
import { dirname } from 'node:path'
import { promisify } from 'node:util'
import type { FileLock } from './file-lock.ts'
import { oldestKept, type Retention, SegmentKeeper, segmentPath } from './segments.ts'

/** What the log needs of a file. Errors are rejections, or throws of the methods that do not wait. */
export interface AuditFile {
  /** Appends; may take fewer bytes than given. When it resolves, `bytes` may be written over. */
  write(bytes: Buffer): Promise<number>
  /** Resolves when everything written is on disk. */
  sync(): Promise<void>
  /** The same two, returning only when done. */
  writeNow(bytes: Buffer): number
  syncNow(): void
  /** Number of the oldest segment that retention keeps when number `closing` is closed. */
  oldestKept(closing: number, nowMs: number): number
  /** Closes the file, which is on disk, as segment `number`, and goes on in an empty one. */
  rotate(number: number): void
  /** Closed segments may be compressed, and those before `oldest` removed. */
  tidy(oldest: number): void
  close(): Promise<void>
}

const MODE = 0o600
const writeAsync = promisify(write)
const syncAsync = promisify(fdatasync)

export function openForAppend(path: string): number {
  return openSync(path, 'a+', MODE)
}

/** A new name is on disk only when its directory is. */
export function syncDirectory(path: string): void {
  const directory = openSync(path, 'r')
  try {
    fsyncSync(directory)
  } finally {
    closeSync(directory)
  }
}

export class LockedFile implements AuditFile {
  readonly #path: string
  readonly #lock: FileLock
  readonly #retention: Retention
  readonly #keeper: SegmentKeeper
  #fd: number

  /** @param failed told when a closed segment cannot be compressed or removed; it stays as it is */
  constructor(
    path: string,
    fd: number,
    lock: FileLock,
    retention: Retention,
    failed: (error: Error) => void,
  ) {
    this.#path = path
    this.#fd = fd
    this.#lock = lock
    this.#retention = retention
    this.#keeper = new SegmentKeeper(path, retention.compression ?? 'gzip', failed)
  }

  async write(bytes: Buffer): Promise<number> {
    return (await writeAsync(this.#fd, bytes)).bytesWritten
  }

  async sync(): Promise<void> {
    await syncAsync(this.#fd)
  }

  writeNow(bytes: Buffer): number {
    return writeSync(this.#fd, bytes)
  }

  syncNow(): void {
    fdatasyncSync(this.#fd)
  }

  oldestKept(closing: number, nowMs: number): number {
    try {
      return oldestKept(this.#path, closing, this.#retention, nowMs)
    } catch {
      return 1 // a directory that cannot be read now: everything stays
    }
  }

  rotate(number: number): void {
    const next = `${this.#path}.next`
    const fd = openForAppend(next)
    const closed = segmentPath(this.#path, number)
    try {
      renameSync(this.#path, closed)
      try {
        renameSync(next, this.#path)
      } catch (error) {
        renameSync(closed, this.#path)
        throw error
      }
      syncDirectory(dirname(this.#path))
    } catch (error) {
      closeSync(fd)
      throw error
    }
    closeSync(this.#fd)
    this.#fd = fd
  }

  tidy(oldest: number): void {
    this.#keeper.tidy(oldest)
  }

  async close(): Promise<void> {
    await this.#keeper.done()
    try {
      closeSync(this.#fd)
    } finally {
      this.#lock.release()
    }
  }
}
