// A file of lines that outlives the process: appended and synced before anybody is told, rewritten at start and now and
// then without what is of no more use. One writer per file. What the lines say is the matter of their owner.

import { type FileHandle, open, readFile, rename } from 'node:fs/promises'
import { dirname } from 'node:path'
import { type FileLock, lockFile } from './audit/file-lock.ts'
import { PosternError } from './errors.ts'

/** Lines beyond what is needed after which the file is written anew. */
const SPARE_LINES = 10_000

export interface Entries {
  /** Takes a line of the file, at the start. @returns false: it is no entry of this version */
  restore(line: string): boolean
  /** What is to be in a new file, each with its end. What is appended is among it from that moment on. */
  lines(): string[]
  /** How many lines may be of use. */
  needed(): number
}

export class JournalFile {
  readonly #path: string
  readonly #entries: Entries
  readonly #lock: FileLock
  #file!: FileHandle
  /** Bytes and lines that are on disk. */
  #length = 0
  #lines = 0
  /** The directory has the new file under its name only in memory. */
  #isRenamed = false
  #pending: string[] = []
  #writing: Promise<void> = Promise.resolve()

  private constructor(path: string, entries: Entries, lock: FileLock) {
    this.#path = path
    this.#entries = entries
    this.#lock = lock
  }

  /**
   * Reads the file, writes it anew and keeps it open. A last line without its end is the trace of a crash before anybody
   * was told, and is dropped.
   *
   * @throws PosternError of this code when it cannot be read or written, or is damaged
   */
  static async open(
    path: string,
    code: 'ERR_GRANTS' | 'ERR_REVOCATIONS',
    entries: Entries,
  ): Promise<JournalFile> {
    const unusable = (why: string, cause?: unknown): PosternError =>
      new PosternError(code, 'internal', `${path} cannot be used: ${why}`, { cause })
    const lock = lockFile(path)
    const journal = new JournalFile(path, entries, lock)
    try {
      for (const [i, line] of (await linesIn(path)).entries()) {
        if (!entries.restore(line)) throw unusable(`line ${i + 1} is no entry of this version`)
      }
      await journal.#rewrite()
      return journal
    } catch (error) {
      lock.release()
      if (error instanceof PosternError) throw error
      throw unusable((error as NodeJS.ErrnoException).code ?? 'unknown reason', error)
    }
  }

  /** Resolves when the line, which has its end, is on disk; lines that come together share one sync. */
  append(line: string): Promise<void> {
    this.#pending.push(line)
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
      await writeAll(this.#file, bytes, this.#length)
      await this.#file.datasync()
      await this.#syncName()
      this.#length += bytes.length
      this.#lines += lines.length
    } catch (error) {
      this.#pending.unshift(...lines)
      throw error
    }
    // What is on disk stays there when this fails; the next write tries again.
    if (this.#lines > this.#entries.needed() + SPARE_LINES) await this.#rewrite().catch(() => {})
  }

  async #rewrite(): Promise<void> {
    const lines = this.#entries.lines()
    // They are among these lines already.
    const waiting = this.#pending.splice(0)
    const bytes = Buffer.from(lines.join(''))
    const draft = `${this.#path}.new`
    let file: FileHandle | undefined
    try {
      file = await open(draft, 'w', 0o600)
      await writeAll(file, bytes, 0)
      await file.sync()
      await rename(draft, this.#path)
    } catch (error) {
      this.#pending.unshift(...waiting)
      await file?.close().catch(() => {})
      throw error
    }
    // From here on it is the file, whatever fails: what is written to the former one is lost.
    const former = this.#file as FileHandle | undefined
    this.#file = file
    this.#length = bytes.length
    this.#lines = lines.length
    this.#isRenamed = true
    await former?.close().catch(() => {})
    await this.#syncName()
  }

  async #syncName(): Promise<void> {
    if (!this.#isRenamed) return
    await syncDirectory(dirname(this.#path))
    this.#isRenamed = false
  }
}

/** A full disk may take a part, and say nothing. */
async function writeAll(file: FileHandle, bytes: Buffer, position: number): Promise<void> {
  for (let written = 0; written < bytes.length; ) {
    const { bytesWritten } = await file.write(bytes, written, bytes.length - written, position + written)
    if (bytesWritten === 0) throw new RangeError('nothing was written')
    written += bytesWritten
  }
}

async function linesIn(path: string): Promise<string[]> {
  const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return ''
    throw error
  })
  return text.split('\n').slice(0, -1)
}

async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r')
  try {
    await directory.sync()
  } finally {
    await directory.close()
  }
}
