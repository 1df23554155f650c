// Opens an audit file for appending: takes its lock, finds where the chain stands and what a crash left behind it.
// Decides nothing about records; audit-log.ts writes them.

import { createHash } from 'node:crypto'
import { type FileHandle, open } from 'node:fs/promises'
import { dirname } from 'node:path'
import { PosternError } from '../errors.ts'
import { lockFile } from './file-lock.ts'
import { type ChainHead, GENESIS, MAX_RECORD_BYTES } from './record.ts'
import { readRecord } from './record-reader.ts'

/** What the log needs of a file. Errors are rejections. */
export interface AuditFile {
  /** Appends; may take fewer bytes than given. */
  write(bytes: Buffer): Promise<number>
  /** Resolves when everything written is on disk. */
  sync(): Promise<void>
  close(): Promise<void>
}

/** How the file ended when it was opened. */
export interface Tail {
  head: ChainHead
  /** The last line lacks its newline. */
  unterminated: boolean
  /** Bytes behind the last record that are no record. */
  torn: { bytes: number; sha256: string } | undefined
}

const NEWLINE = 0x0a
const MODE = 0o600
/** How every record begins. A file without any record that begins otherwise was never an audit log. */
const RECORD_START = Buffer.from('{"action":"')

/**
 * Creates the file (mode 0600) or opens it to continue its chain.
 *
 * @throws PosternError `ERR_AUDIT_LOCKED`, `ERR_AUDIT_OPEN`, or `ERR_AUDIT_TAIL` when the file does not end like an
 *   audit log, so that nothing is appended to evidence of tampering or to another file.
 */
export async function openAuditFile(path: string): Promise<{ file: AuditFile; tail: Tail }> {
  let lock: ReturnType<typeof lockFile> | undefined
  let handle: FileHandle | undefined
  try {
    lock = lockFile(path)
    handle = await open(path, 'a+', MODE)
    const stat = await handle.stat()
    if (!stat.isFile()) throw tailError(path, 'is not a regular file')
    if (stat.size === 0) await syncDirectory(dirname(path))
    const tail = await readTail(handle, stat.size, path)
    return { file: new LockedFile(handle, lock), tail }
  } catch (cause) {
    await handle?.close()
    lock?.release()
    if (cause instanceof PosternError) throw cause
    const reason = (cause as NodeJS.ErrnoException).code ?? 'unknown error'
    throw new PosternError(
      'ERR_AUDIT_OPEN',
      'internal',
      `The audit log ${path} cannot be opened: ${reason}.`,
      { cause },
    )
  }
}

class LockedFile implements AuditFile {
  readonly #handle: FileHandle
  readonly #lock: { release(): void }

  constructor(handle: FileHandle, lock: { release(): void }) {
    this.#handle = handle
    this.#lock = lock
  }

  async write(bytes: Buffer): Promise<number> {
    return (await this.#handle.write(bytes)).bytesWritten
  }

  async sync(): Promise<void> {
    await this.#handle.datasync()
  }

  async close(): Promise<void> {
    await this.#handle.close().finally(() => this.#lock.release())
  }
}

/** A new name is on disk only when its directory is. */
async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r')
  await directory.sync().finally(() => directory.close())
}

/** Finds the last line that is a record. Only a bounded end of the file is read. */
async function readTail(handle: FileHandle, size: number, path: string): Promise<Tail> {
  // Room for a tear (no longer than a record), and for the record before it.
  const wanted = Math.min(size, 2 * MAX_RECORD_BYTES)
  const bytes = Buffer.alloc(wanted)
  let filled = 0
  while (filled < wanted) {
    const { bytesRead } = await handle.read(bytes, filled, wanted - filled, size - wanted + filled)
    if (bytesRead === 0) break
    filled += bytesRead
  }
  return tailOf(bytes.subarray(0, filled), path)
}

function tailOf(bytes: Buffer, path: string): Tail {
  const unterminated = bytes.length > 0 && bytes[bytes.length - 1] !== NEWLINE
  /** End of the line being looked at, without its newline. */
  let end = unterminated ? bytes.length : bytes.length - 1
  const last = end
  while (last - end <= MAX_RECORD_BYTES) {
    const start = end === 0 ? 0 : bytes.lastIndexOf(NEWLINE, end - 1) + 1
    const record = readRecord(bytes.subarray(start, end))
    if (typeof record !== 'string') {
      const head = { seq: record.seq, hash: record.hash }
      return { head, unterminated, torn: end === last ? undefined : tornBetween(bytes, end + 1, last) }
    }
    if (record !== 'not_json') throw tailError(path, 'ends with a line that is no intact audit record')
    if (start === 0) break
    end = start - 1
  }
  if (bytes.length === 0) return { head: GENESIS, unterminated: false, torn: undefined }
  const begin = bytes.subarray(0, RECORD_START.length)
  if (last > MAX_RECORD_BYTES || !RECORD_START.subarray(0, begin.length).equals(begin)) {
    throw tailError(path, 'does not end like an audit log')
  }
  return { head: GENESIS, unterminated, torn: tornBetween(bytes, 0, last) }
}

function tornBetween(bytes: Buffer, start: number, end: number): Tail['torn'] {
  const torn = bytes.subarray(start, end)
  return { bytes: torn.length, sha256: createHash('sha256').update(torn).digest('hex') }
}

function tailError(path: string, what: string): PosternError {
  return new PosternError(
    'ERR_AUDIT_TAIL',
    'internal',
    `${path} ${what}. Nothing is appended to it; look at it with 'postern audit verify', then move it away.`,
  )
}
