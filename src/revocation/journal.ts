// The marks on disk: one JSON object per line, appended and synced before anybody is told that a revocation is done,
// rewritten at start without what is of no more use. One writer per file.

import { type FileHandle, open, readFile, rename } from 'node:fs/promises'
import { dirname } from 'node:path'
import { type FileLock, lockFile } from '../audit/file-lock.ts'
import { PosternError } from '../errors.ts'
import type { Marks } from './marks.ts'
import type { Selector } from './selector.ts'

/** One line: what was done to a selector. */
export interface Entry {
  do: 'revoke' | 'disable' | 'enable'
  selector: Selector
  /** With `revoke`: tokens issued at or before this instant, milliseconds since the epoch. */
  before?: number
}

const VERSION = 1

/** Lines beyond what is needed after which the file is written anew. */
const SPARE_LINES = 10_000

export class Journal {
  readonly #path: string
  readonly #marks: Marks
  readonly #lock: FileLock
  #file!: FileHandle
  /** Bytes and lines that are on disk. */
  #length = 0
  #lines = 0
  #pending: string[] = []
  #writing: Promise<void> = Promise.resolve()

  private constructor(path: string, marks: Marks, lock: FileLock) {
    this.#path = path
    this.#marks = marks
    this.#lock = lock
  }

  /**
   * Reads the file into `marks`, writes it anew and keeps it open. A last line without its end is the trace of a crash
   * before anybody was told, and is dropped.
   *
   * @throws PosternError `ERR_REVOCATIONS` when it cannot be read or written, or is damaged
   */
  static async open(path: string, marks: Marks): Promise<Journal> {
    const lock = lockFile(path)
    const journal = new Journal(path, marks, lock)
    try {
      for (const entry of await read(path)) apply(marks, entry)
      await journal.#rewrite()
      return journal
    } catch (error) {
      lock.release()
      if (error instanceof PosternError) throw error
      throw unusable(path, (error as NodeJS.ErrnoException).code ?? 'unknown reason', error)
    }
  }

  /** Resolves when the line is on disk; lines that come together share one sync. */
  append(entry: Entry): Promise<void> {
    this.#pending.push(lineOf(entry))
    // A write under way may have begun before this line: only the one after it is sure to hold it.
    this.#writing = this.#writing.catch(() => {}).then(() => this.#write())
    return this.#writing
  }

  async close(): Promise<void> {
    await this.#writing.catch(() => {})
    await this.#file.close()
    this.#lock.release()
  }

  async #write(): Promise<void> {
    const lines = this.#pending.splice(0)
    if (lines.length === 0) return
    const bytes = Buffer.from(lines.join(''))
    try {
      // At a fixed place, so that what a full disk has cut off is written over.
      await this.#file.write(bytes, 0, bytes.length, this.#length)
      await this.#file.datasync()
      this.#length += bytes.length
      this.#lines += lines.length
      if (this.#lines > 2 * this.#marks.size + SPARE_LINES) await this.#rewrite()
    } catch (cause) {
      this.#pending.unshift(...lines)
      throw new PosternError('ERR_REVOCATIONS', 'internal', 'a revocation cannot be written to disk', {
        cause,
      })
    }
  }

  async #rewrite(): Promise<void> {
    const lines = this.#marks.entries().flatMap(entriesOf).map(lineOf)
    const bytes = Buffer.from(lines.join(''))
    const draft = `${this.#path}.new`
    const file = await open(draft, 'w', 0o600)
    await file.write(bytes, 0, bytes.length, 0)
    await file.sync()
    await rename(draft, this.#path)
    await syncDirectory(dirname(this.#path))
    await this.#file?.close()
    this.#file = file
    this.#length = bytes.length
    this.#lines = lines.length
  }
}

export function apply(marks: Marks, entry: Entry): void {
  if (entry.do === 'revoke') marks.revoke(entry.selector, entry.before!)
  else marks[entry.do](entry.selector)
}

function entriesOf(mark: ReturnType<Marks['entries']>[number]): Entry[] {
  const { selector, beforeMs, disabled } = mark
  return [
    ...(beforeMs === undefined ? [] : [{ do: 'revoke', selector, before: beforeMs } as const]),
    ...(disabled ? [{ do: 'disable', selector } as const] : []),
  ]
}

function lineOf(entry: Entry): string {
  return `${JSON.stringify({ v: VERSION, ...entry })}\n`
}

async function read(path: string): Promise<Entry[]> {
  const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return ''
    throw error
  })
  const lines = text.split('\n').slice(0, -1)
  return lines.map((line, i) => entryIn(line) ?? fail(path, i + 1))
}

function entryIn(line: string): Entry | undefined {
  try {
    const entry = JSON.parse(line) as Entry & { v: unknown }
    const known = entry.v === VERSION && typeof entry.selector === 'object' && entry.selector !== null
    if (!known || Object.keys(entry.selector).length === 0) return undefined
    if (entry.do === 'revoke') return Number.isFinite(entry.before) ? entry : undefined
    return entry.do === 'disable' || entry.do === 'enable' ? entry : undefined
  } catch {
    return undefined
  }
}

function fail(path: string, line: number): never {
  throw unusable(path, `line ${line} is no entry of this version`)
}

function unusable(path: string, why: string, cause?: unknown): PosternError {
  return new PosternError('ERR_REVOCATIONS', 'internal', `${path} cannot be used: ${why}`, { cause })
}

async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r')
  try {
    await directory.sync()
  } finally {
    await directory.close()
  }
}
