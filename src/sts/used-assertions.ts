// Which assertions were used, until they could not be used anyway: in memory, and in a file that outlives a restart. One
// digest a line, appended and synced before a token is issued. One writer per file. RFC 7523 §3, `jti`.

import { createHash } from 'node:crypto'
import { type FileHandle, open, readFile, rename } from 'node:fs/promises'
import { type FileLock, lockFile } from '../audit/file-lock.ts'
import type { Clock } from '../clock.ts'
import { PosternError } from '../errors.ts'

interface Line {
  v: 1
  /** SHA-256 of kind, issuer and `jti`, base64url. */
  id: string
  /** Milliseconds since the epoch. */
  until: number
}

/** Lines of no more use after which the file is written anew. */
const SPARE_LINES = 10_000

export class UsedAssertions {
  readonly #path: string
  readonly #clock: Clock
  readonly #lock: FileLock
  readonly #until = new Map<string, number>()
  #file!: FileHandle
  /** Bytes and lines that are on disk. */
  #length = 0
  #lines = 0
  #writing: Promise<void> = Promise.resolve()

  private constructor(path: string, clock: Clock, lock: FileLock) {
    this.#path = path
    this.#clock = clock
    this.#lock = lock
  }

  /**
   * Reads the file, writes it anew without what has expired, and keeps it open. A last line without its end is the trace
   * of a crash before any token was issued for it, and is dropped.
   *
   * @throws PosternError `ERR_STS_REPLAY` when it cannot be read or written, or is damaged
   */
  static async open(path: string, clock: Clock): Promise<UsedAssertions> {
    let lock: FileLock | undefined
    try {
      lock = lockFile(path)
      const used = new UsedAssertions(path, clock, lock)
      for (const { id, until } of await read(path)) used.#until.set(id, until)
      await used.#rewrite()
      return used
    } catch (error) {
      lock?.release()
      if (error instanceof PosternError && error.code === 'ERR_STS_REPLAY') throw error
      const isLocked = error instanceof PosternError
      const code = (error as NodeJS.ErrnoException).code ?? 'unknown reason'
      throw unusable(path, isLocked ? 'another process has it' : code, error)
    }
  }

  /** Assertions that are remembered. */
  get size(): number {
    return this.#until.size
  }

  /**
   * Takes an assertion for its one use. Of several calls for the same one exactly one is told true, when that is on disk.
   *
   * @param kind tells grants from authentications of clients
   * @param untilMs after which it is refused for its age, milliseconds since the epoch
   * @throws PosternError `ERR_STS_REPLAY`; it counts as used
   */
  async take(kind: 'grant' | 'client', issuer: string, jti: string, untilMs: number): Promise<boolean> {
    const id = createHash('sha256')
      .update(JSON.stringify([kind, issuer, jti]))
      .digest('base64url')
    if ((this.#until.get(id) ?? 0) > this.#clock.now()) return false
    this.#until.set(id, untilMs)
    this.#writing = this.#writing.catch(() => {}).then(() => this.#append({ v: 1, id, until: untilMs }))
    await this.#writing
    return true
  }

  async close(): Promise<void> {
    await this.#writing.catch(() => {})
    await this.#file.close()
    this.#lock.release()
  }

  async #append(line: Line): Promise<void> {
    const bytes = bytesOf([line])
    try {
      // At a fixed place, so that what a full disk has cut off is written over.
      await this.#file.write(bytes, 0, bytes.length, this.#length)
      await this.#file.datasync()
      this.#length += bytes.length
      this.#lines++
      if (this.#lines > 2 * SPARE_LINES && this.#lines > 2 * this.#live().length) await this.#rewrite()
    } catch (cause) {
      throw new PosternError('ERR_STS_REPLAY', 'internal', 'a used assertion cannot be written to disk', {
        cause,
      })
    }
  }

  #live(): Line[] {
    const now = this.#clock.now()
    for (const [id, until] of this.#until) if (until <= now) this.#until.delete(id)
    return [...this.#until].map(([id, until]) => ({ v: 1, id, until }))
  }

  async #rewrite(): Promise<void> {
    const lines = this.#live()
    const bytes = bytesOf(lines)
    const draft = `${this.#path}.new`
    const file = await open(draft, 'w', 0o600)
    await file.write(bytes, 0, bytes.length, 0)
    await file.sync()
    await rename(draft, this.#path)
    await this.#file?.close()
    this.#file = file
    this.#length = bytes.length
    this.#lines = lines.length
  }
}

function bytesOf(lines: readonly Line[]): Buffer {
  return Buffer.from(lines.map((line) => `${JSON.stringify(line)}\n`).join(''))
}

async function read(path: string): Promise<Line[]> {
  const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return ''
    throw error
  })
  return text
    .split('\n')
    .slice(0, -1)
    .map((line, i) => lineIn(line) ?? fail(path, i + 1))
}

function lineIn(text: string): Line | undefined {
  try {
    const line = JSON.parse(text) as Partial<Line> | null
    const isGood = line?.v === 1 && typeof line.id === 'string' && Number.isFinite(line.until)
    return isGood ? (line as Line) : undefined
  } catch {
    return undefined
  }
}

function fail(path: string, line: number): never {
  throw unusable(path, `line ${line} is no entry of this version`)
}

function unusable(path: string, why: string, cause?: unknown): PosternError {
  return new PosternError('ERR_STS_REPLAY', 'internal', `${path} cannot be used: ${why}`, { cause })
}
