// The uses of grants on disk: one JSON object per line and use, appended and synced before the use counts as taken;
// rewritten at start without the grants that have expired. One writer per file.

import { type FileHandle, open, readFile, rename } from 'node:fs/promises'
import { dirname } from 'node:path'
import { type FileLock, lockFile } from '../audit/file-lock.ts'
import type { Clock } from '../clock.ts'
import { PosternError } from '../errors.ts'
import type { Take, UsedGrants } from './used-grants.ts'

const VERSION = 1
/** Lines of expired grants after which the file is written anew. */
const SPARE_LINES = 10_000
/** A clock that was set back must not bring a grant back that was forgotten: so much longer it is remembered. */
const GRACE_MS = 3_600_000
const SWEEP_EVERY_MS = 60_000

interface Uses {
  count: number
  expiresAtMs: number
}

export class UseJournal implements UsedGrants {
  readonly #path: string
  readonly #clock: Clock
  readonly #lock: FileLock
  readonly #uses = new Map<string, Uses>()
  #file!: FileHandle
  /** Bytes and lines that are on disk. */
  #length = 0
  #lines = 0
  #pending: string[] = []
  #writing: Promise<void> = Promise.resolve()
  #nextSweepMs = 0

  private constructor(path: string, clock: Clock, lock: FileLock) {
    this.#path = path
    this.#clock = clock
    this.#lock = lock
  }

  /**
   * Reads the file, writes it anew and keeps it open. A last line without its end is the trace of a crash before
   * anybody was told that the use was taken, and is dropped.
   *
   * @throws PosternError `ERR_GRANTS` when it cannot be read or written, or is damaged
   */
  static async open(path: string, clock: Clock): Promise<UseJournal> {
    const lock = lockFile(path)
    const journal = new UseJournal(path, clock, lock)
    try {
      await journal.#read()
      await journal.#rewrite()
      return journal
    } catch (error) {
      lock.release()
      if (error instanceof PosternError) throw error
      throw unusable(path, (error as NodeJS.ErrnoException).code ?? 'unknown reason', error)
    }
  }

  async take(key: string, maxUses: number, expiresAtMs: number): Promise<Take> {
    if (this.#clock.now() >= this.#nextSweepMs) this.#sweep()
    const known = this.#uses.get(key)
    if (known !== undefined && known.count >= maxUses) return 'spent'
    // Counted before it is written, so that who asks meanwhile sees it; and not given back when that fails, for the
    // line may be on disk all the same.
    this.#count(key, expiresAtMs)
    this.#pending.push(lineOf(key, expiresAtMs))
    // A write under way may have begun before this line: only the one after it is sure to hold it.
    this.#writing = this.#writing.catch(() => {}).then(() => this.#write())
    return this.#writing.then(
      () => 'taken',
      () => 'unavailable',
    )
  }

  async close(): Promise<void> {
    await this.#writing.catch(() => {})
    await this.#file.close()
    this.#lock.release()
  }

  #count(key: string, expiresAtMs: number): void {
    const uses = this.#uses.get(key)
    if (uses === undefined) this.#uses.set(key, { count: 1, expiresAtMs })
    else uses.count += 1
  }

  #sweep(): void {
    const now = this.#clock.now()
    this.#nextSweepMs = now + SWEEP_EVERY_MS
    for (const [key, { expiresAtMs }] of this.#uses) {
      if (expiresAtMs + GRACE_MS < now) this.#uses.delete(key)
    }
  }

  async #read(): Promise<void> {
    const text = await readFile(this.#path, 'utf8').catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return ''
      throw error
    })
    for (const [i, line] of text.split('\n').slice(0, -1).entries()) {
      const use = useIn(line)
      if (use === undefined) throw unusable(this.#path, `line ${i + 1} is no entry of this version`)
      this.#count(use.grant, use.exp)
    }
    this.#sweep()
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
    } catch (error) {
      this.#pending.unshift(...lines)
      throw error
    }
    // What is on disk stays there when this fails; the next write tries again.
    if (this.#lines > this.#live() + SPARE_LINES) await this.#rewrite().catch(() => {})
  }

  #live(): number {
    let lines = 0
    for (const { count } of this.#uses.values()) lines += count
    return lines
  }

  async #rewrite(): Promise<void> {
    const lines = [...this.#uses].flatMap(([key, { count, expiresAtMs }]) =>
      new Array<string>(count).fill(lineOf(key, expiresAtMs)),
    )
    // They are counted already, and so among these lines.
    const waiting = this.#pending.splice(0)
    const bytes = Buffer.from(lines.join(''))
    const draft = `${this.#path}.new`
    try {
      const file = await open(draft, 'w', 0o600)
      await file.write(bytes, 0, bytes.length, 0)
      await file.sync()
      await rename(draft, this.#path)
      await syncDirectory(dirname(this.#path))
      await this.#file?.close()
      this.#file = file
    } catch (error) {
      this.#pending.unshift(...waiting)
      throw error
    }
    this.#length = bytes.length
    this.#lines = lines.length
  }
}

function lineOf(grant: string, exp: number): string {
  return `${JSON.stringify({ v: VERSION, grant, exp })}\n`
}

function useIn(line: string): { grant: string; exp: number } | undefined {
  try {
    const use = JSON.parse(line) as { v: unknown; grant: unknown; exp: unknown }
    const known = use.v === VERSION && typeof use.grant === 'string' && Number.isFinite(use.exp)
    return known ? (use as { grant: string; exp: number }) : undefined
  } catch {
    return undefined
  }
}

function unusable(path: string, why: string, cause?: unknown): PosternError {
  return new PosternError('ERR_GRANTS', 'internal', `${path} cannot be used: ${why}`, { cause })
}

async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r')
  try {
    await directory.sync()
  } finally {
    await directory.close()
  }
}
