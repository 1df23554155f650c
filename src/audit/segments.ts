// The files of one chain: `FILE` is being written; closed ones are `FILE.00000001`, then `FILE.00000001.zst` or `.gz`.
// Owns their names, compression and removal; knows nothing of records. docs/audit-format.md, "Segments".

import { createReadStream, createWriteStream, readdirSync, rmSync, statSync } from 'node:fs'
import { type FileHandle, open, rename, rm, utimes } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import type { Readable, Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { constants, createGunzip, createGzip, createZstdCompress, createZstdDecompress } from 'node:zlib'

/** How closed segments are compressed; `zstd` where Node has it, `gzip` else. */
export type Compression = 'zstd' | 'gzip' | 'none'

/** Node has it from 22.15 on. A fifth of what gzip costs, for a somewhat smaller file. */
const HAS_ZSTD = typeof createZstdCompress === 'function'

const SUFFIX = { zstd: '.zst', gzip: '.gz' } as const

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
    const match = /^\.(\d{8,})(\.gz|\.zst)?$/.exec(name.slice(basename(file).length))
    if (match === null || !name.startsWith(basename(file))) continue
    const number = Number(match[1])
    const compressed = match[2] !== undefined
    if (found.get(number)?.compressed) continue
    const path = join(dirname(file), name)
    found.set(number, { number, path, compressed, writtenMs: statSync(path).mtimeMs })
  }
  return [...found.values()].sort((a, b) => a.number - b.number)
}

/** Bytes of a log file; `.gz` and `.zst` are unpacked. An error names the file, also one of reading or unpacking. */
export function readLog(path: string): Readable {
  const file = createReadStream(path, { highWaterMark: READ_BYTES })
  const name = (error: NodeJS.ErrnoException): void => {
    error.path ??= path
  }
  file.on('error', name)
  const isZstd = path.endsWith(SUFFIX.zstd)
  if (!isZstd && !path.endsWith(SUFFIX.gzip)) return file
  if (isZstd && !HAS_ZSTD) {
    file.destroy(
      Object.assign(new Error(), { path, code: 'zstd needs Node 22.15; unpack it with `zstd -d`' }),
    )
    return file
  }
  const unpacked = (isZstd ? createZstdDecompress : createGunzip)({ chunkSize: READ_BYTES })
  unpacked.on('error', name)
  file.on('error', (error) => unpacked.destroy(error))
  return file.pipe(unpacked)
}

/** Replaces a closed segment by its compressed form. A crash on the way leaves at least one of them whole. */
async function compress(path: string, wanted: keyof typeof SUFFIX): Promise<void> {
  const compression = HAS_ZSTD ? wanted : 'gzip'
  const suffix = SUFFIX[compression]
  const draft = `${path}${suffix}.tmp`
  // Half of a record is hashes, which nothing makes smaller: more effort would not either.
  const packing =
    compression === 'gzip'
      ? createGzip({ level: 1 })
      : createZstdCompress({ params: { [constants.ZSTD_c_compressionLevel]: 1 } })
  const source = await open(path, 'r')
  try {
    const packed = pipeline(packing, createWriteStream(draft, { mode: 0o600 }))
    await Promise.all([packed, feed(source, packing, packed)])
  } finally {
    await source.close()
  }
  const handle = await open(draft, 'r+')
  await handle.sync().finally(() => handle.close())
  const { atime, mtime } = statSync(path)
  await utimes(draft, atime, mtime)
  await rename(draft, `${path}${suffix}`)
  const directory = await open(dirname(path), 'r')
  await directory.sync().finally(() => directory.close())
  await rm(path)
}

/** Through one buffer: a stream would make a new one for each piece, and with them work for the collector of garbage. */
async function feed(source: FileHandle, packing: Transform, packed: Promise<void>): Promise<void> {
  try {
    const buffer = Buffer.allocUnsafeSlow(READ_BYTES)
    for (;;) {
      const { bytesRead } = await source.read(buffer)
      if (bytesRead === 0) break
      const taken = new Promise<void>((resolve, reject) => {
        packing.write(buffer.subarray(0, bytesRead), (error) => (error ? reject(error) : resolve()))
      })
      // What waits for room behind a writer that failed is never called.
      await Promise.race([taken, packed])
    }
    packing.end()
  } catch (error) {
    packing.destroy(error as Error)
    throw error
  }
}

/** Removes what a crash left of a compression. */
export function clearLeftovers(file: string): void {
  const start = `${basename(file)}.`
  const names = new Set(namesBeside(file))
  for (const name of names) {
    if (!name.startsWith(start)) continue
    const rest = name.slice(start.length)
    const done =
      /^\d{8,}$/.test(rest) && Object.values(SUFFIX).some((suffix) => names.has(`${name}${suffix}`))
    if (done || /^\d{8,}\.(gz|zst)\.tmp$/.test(rest) || rest === 'next')
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
  compression?: Compression | undefined
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
  readonly #compression: Compression
  readonly #failed: (error: Error) => void
  #work: Promise<void> = Promise.resolve()

  constructor(file: string, compression: Compression, failed: (error: Error) => void) {
    this.#file = file
    this.#compression = compression
    this.#failed = failed
  }

  tidy(oldest: number): void {
    this.#work = this.#work.then(() => this.#tidy(oldest)).catch(this.#failed)
  }

  async #tidy(oldest: number): Promise<void> {
    for (const { number, path, compressed } of closedSegments(this.#file)) {
      if (number < oldest) await rm(path, { force: true })
      else if (!compressed && this.#compression !== 'none') await compress(path, this.#compression)
    }
  }

  /** Resolves when everything begun is done. */
  done(): Promise<void> {
    return this.#work
  }
}
