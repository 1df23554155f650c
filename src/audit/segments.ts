// The files of one chain: `FILE` is being written; closed ones are `FILE.00000001`, then `FILE.00000001.gz`. Owns their
// names, compression and removal; knows nothing of records. docs/audit-format.md, "Segments".

import { createReadStream, createWriteStream, readdirSync, rmSync, statSync } from 'node:fs'
import { open, rename, rm, utimes } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import type { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createGunzip, createGzip } from 'node:zlib'

export interface Segment {
  /** From 1. */
  number: number
  path: string
  compressed: boolean
  /** When it was last written, milliseconds since the epoch. */
  writtenMs: number
}

const READ_BYTES = 256 * 1024

export function segmentPath(file: string, number: number): string {
  return `${file}.${String(number).padStart(8, '0')}`
}

/** The closed segments of `file`, oldest first. One that exists twice is taken from its compressed form. */
export function closedSegments(file: string): Segment[] {
  const found = new Map<number, Segment>()
  for (const name of namesBeside(file)) {
    const match = /^\.(\d{8,})(\.gz)?$/.exec(name.slice(basename(file).length))
    if (match === null || !name.startsWith(basename(file))) continue
    const number = Number(match[1])
    const compressed = match[2] !== undefined
    if (found.get(number)?.compressed) continue
    const path = join(dirname(file), name)
    found.set(number, { number, path, compressed, writtenMs: statSync(path).mtimeMs })
  }
  return [...found.values()].sort((a, b) => a.number - b.number)
}

/** Bytes of a log file; `.gz` is unpacked. */
export function readLog(path: string): Readable {
  const file = createReadStream(path, { highWaterMark: READ_BYTES })
  if (!path.endsWith('.gz')) return file
  const unpacked = createGunzip({ chunkSize: READ_BYTES })
  file.on('error', (error) => unpacked.destroy(error))
  return file.pipe(unpacked)
}

/** Replaces a closed segment by its compressed form. A crash on the way leaves at least one of them whole. */
async function compress(path: string): Promise<void> {
  const draft = `${path}.gz.tmp`
  await pipeline(createReadStream(path), createGzip(), createWriteStream(draft, { mode: 0o600 }))
  const handle = await open(draft, 'r+')
  await handle.sync().finally(() => handle.close())
  const { atime, mtime } = statSync(path)
  await utimes(draft, atime, mtime)
  await rename(draft, `${path}.gz`)
  const directory = await open(dirname(path), 'r')
  await directory.sync().finally(() => directory.close())
  await rm(path)
}

/** Removes what a crash left of a compression. */
export function clearLeftovers(file: string): void {
  const start = `${basename(file)}.`
  const names = new Set(namesBeside(file))
  for (const name of names) {
    if (!name.startsWith(start)) continue
    const rest = name.slice(start.length)
    const done = /^\d{8,}$/.test(rest) && names.has(`${name}.gz`)
    if (done || /^\d{8,}\.gz\.tmp$/.test(rest) || rest === 'next')
      rmSync(join(dirname(file), name), { force: true })
  }
}

function namesBeside(file: string): string[] {
  try {
    return readdirSync(dirname(file))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw error
  }
}

export interface Retention {
  /** Closed segments that are kept; 0: all. */
  keep: number
  /** Closed segments older than this go; 0: never. */
  keepForMs: number
}

/** Number of the oldest segment that may stay when `closing` is closed now. */
export function oldestKept(file: string, closing: number, retention: Retention, nowMs: number): number {
  const { keep, keepForMs } = retention
  const byCount = keep === 0 ? 1 : closing - keep + 1
  if (keepForMs === 0) return Math.max(1, byCount)
  const tooOld = closedSegments(file).findLast((one) => one.writtenMs < nowMs - keepForMs)
  return Math.max(1, byCount, (tooOld?.number ?? 0) + 1)
}

/** Compresses closed segments and removes those before `oldest`, one after the other, in the background. */
export class SegmentKeeper {
  readonly #file: string
  readonly #failed: (error: Error) => void
  #work: Promise<void> = Promise.resolve()

  constructor(file: string, failed: (error: Error) => void) {
    this.#file = file
    this.#failed = failed
  }

  tidy(oldest: number): void {
    this.#work = this.#work.then(() => this.#tidy(oldest)).catch(this.#failed)
  }

  async #tidy(oldest: number): Promise<void> {
    for (const { number, path, compressed } of closedSegments(this.#file)) {
      if (number < oldest) await rm(path, { force: true })
      else if (!compressed) await compress(path)
    }
  }

  /** Resolves when everything begun is done. */
  done(): Promise<void> {
    return this.#work
  }
}
