// The marks on disk: one JSON object per line, appended and synced before anybody is told that a revocation is done,
// rewritten at start without what is of no more use. One writer per file.

import { type FileHandle, open, readFile, rename } from 'node:fs/promises'
import { dirname } from 'node:path'
import { type FileLock, lockFile } from '../audit/file-lock.ts'
import { PosternError } from '../errors.ts'
import type { Mark, Marks } from './marks.ts'
import type { SeenEvents } from './seen-events.ts'
import type { Selector } from './selector.ts'

/** One line: what was done to a selector. Times are milliseconds since the epoch. */
export interface Entry {
  do: 'revoke' | 'disable' | 'enable'
  selector: Selector
  /** With `revoke`: tokens issued at or before this instant. */
  before?: number
  /** When the order was given. */
  at?: number
}

/** One line: a security event that was acted on. */
export interface Seen {
  do: 'seen'
  event: string
  at: number
}

const VERSION = 1

/** Lines beyond what is needed after which the file is written anew. */
const SPARE_LINES = 10_000

export class Journal {
  readonly #path: string
  readonly #marks: Marks
  readonly #seen: SeenEvents
  readonly #lock: FileLock
  #file!: FileHandle
  /** Bytes and lines that are on disk. */
  #length = 0
  #lines = 0
  #pending: string[] = []
  #writing: Promise<void> = Promise.resolve()

  private constructor(path: string, marks: Marks, seen: SeenEvents, lock: FileLock) {
    this.#path = path
    this.#marks = marks
    this.#seen = seen
    this.#lock = lock
  }

  /**
   * Reads the file into `marks` and `seen`, writes it anew and keeps it open. A last line without its end is the trace of a crash
   * before anybody was told, and is dropped.
   *
   * @throws PosternError `ERR_REVOCATIONS` when it cannot be read or written, or is damaged
   */
  static async open(path: string, marks: Marks, seen: SeenEvents): Promise<Journal> {
    const lock = lockFile(path)
    const journal = new Journal(path, marks, seen, lock)
    try {
      for (const entry of await read(path)) {
        if (entry.do === 'seen') seen.add(entry.event, entry.at)
        else apply(marks, entry)
      }
      await journal.#rewrite()
      return journal
    } catch (error) {
      lock.release()
      if (error instanceof PosternError) throw error
      throw unusable(path, (error as NodeJS.ErrnoException).code ?? 'unknown reason', error)
    }
  }

  /** Resolves when the line is on disk; lines that come together share one sync. */
  append(entry: Entry | Seen): Promise<void> {
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
      if (this.#lines > 2 * (this.#marks.size + this.#seen.size) + SPARE_LINES) await this.#rewrite()
    } catch (cause) {
      this.#pending.unshift(...lines)
      throw new PosternError('ERR_REVOCATIONS', 'internal', 'a revocation cannot be written to disk', {
        cause,
      })
    }
  }

  async #rewrite(): Promise<void> {
    const seen = this.#seen.entries().map(([event, at]): Seen => ({ do: 'seen', event, at }))
    const lines = [...this.#marks.entries().flatMap(entriesOf), ...seen].map(lineOf)
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

export function apply(marks: Marks, { do: what, selector, before, at }: Entry): void {
  if (what === 'revoke') marks.revoke(selector, before!, at)
  else marks[what](selector, at)
}

/** What makes this mark of nothing. */
export function entriesOf({ selector, beforeMs, atMs, disabled, wordMs }: Mark): Entry[] {
  const entries: Entry[] = []
  if (beforeMs !== undefined) entries.push({ do: 'revoke', selector, before: beforeMs, at: atMs })
  // Whoever is enabled has been disabled before: only so is it a mark at all.
  if (wordMs > 0) entries.push({ do: 'disable', selector, at: disabled ? wordMs : wordMs - 1 })
  if (wordMs > 0 && !disabled) entries.push({ do: 'enable', selector, at: wordMs })
  return entries
}

function lineOf(entry: Entry | Seen): string {
  return `${JSON.stringify({ v: VERSION, ...entry })}\n`
}

async function read(path: string): Promise<(Entry | Seen)[]> {
  const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return ''
    throw error
  })
  const lines = text.split('\n').slice(0, -1)
  return lines.map((line, i) => entryIn(line) ?? fail(path, i + 1))
}

function entryIn(line: string): Entry | Seen | undefined {
  try {
    const entry = JSON.parse(line) as (Entry | Seen) & { v: unknown }
    if (entry.v !== VERSION) return undefined
    if (entry.do === 'seen')
      return typeof entry.event === 'string' && Number.isFinite(entry.at) ? entry : undefined
    if (entry.at !== undefined && !Number.isFinite(entry.at)) return undefined
    if (typeof entry.selector !== 'object' || entry.selector === null) return undefined
    if (Object.keys(entry.selector).length === 0) return undefined
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
