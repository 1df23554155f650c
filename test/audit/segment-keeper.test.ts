// What compressing a closed segment leaves behind, also when it cannot be done.
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { gunzipSync, zstdDecompressSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { SegmentKeeper, segmentPath } from '../../src/audit/segments.ts'
import { newLogPath } from './log-kit.ts'

const KIB = 1024
/** Bytes that no compression makes much smaller. */
const noise = (length: number): Buffer => {
  let state = 1
  const bytes = Buffer.alloc(length)
  for (let i = 0; i < length; i++) {
    state = Math.imul(state, 1103515245) + 12345
    bytes[i] = state >>> 24
  }
  return bytes
}

/** Compresses what is there; resolves with what went wrong. */
async function tidied(file: string, compression: 'zstd' | 'gzip'): Promise<(string | undefined)[]> {
  const codes: (string | undefined)[] = []
  const keeper = new SegmentKeeper(file, compression, (error) =>
    codes.push((error as NodeJS.ErrnoException).code),
  )
  keeper.tidy(1)
  await keeper.done()
  return codes
}

/** Files of this log that this process has open. */
function openFiles(file: string): string[] {
  const all = readdirSync('/proc/self/fd').map((name) => {
    try {
      return readlinkSync(`/proc/self/fd/${name}`)
    } catch {
      return ''
    }
  })
  return all.filter((path) => path.startsWith(file))
}

describe.each([
  ['zstd', '.zst', zstdDecompressSync],
  ['gzip', '.gz', gunzipSync],
] as const)('a closed segment, %s', (compression, suffix, unpack) => {
  it.each([0, 1, 256 * KIB - 1, 256 * KIB, 256 * KIB + 1, 1024 * KIB, 1024 * KIB + 17])(
    'of %i bytes is the same when it is unpacked',
    async (length) => {
      const file = newLogPath()
      const segment = segmentPath(file, 1)
      const bytes = noise(length)
      writeFileSync(segment, bytes)
      expect(await tidied(file, compression)).toEqual([])
      expect(unpack(readFileSync(`${segment}${suffix}`)).equals(bytes)).toBe(true)
      expect(existsSync(segment)).toBe(false)
    },
  )

  it.runIf(process.platform === 'linux')('that cannot be opened leaves nothing open', async () => {
    const file = newLogPath()
    const segment = segmentPath(file, 1)
    // A socket is a file that cannot be opened, by root neither.
    const server = createServer().listen(segment)
    await once(server, 'listening')
    expect(await tidied(file, compression)).toEqual(['ENXIO'])
    expect(openFiles(file)).toEqual([])
    server.close()
  })

  it.runIf(process.platform === 'linux')('whose copy cannot be written stays as it is', async () => {
    const file = newLogPath()
    const segment = segmentPath(file, 1)
    const bytes = noise(4096 * KIB)
    writeFileSync(segment, bytes)
    const draft = `${segment}${suffix}.tmp`
    execFileSync('mkfifo', [draft])
    // Takes a little, waits until all that fits has been written, and goes.
    const reader = spawn('sh', ['-c', `head -c 300000 < ${draft} > /dev/null`])
    expect(await tidied(file, compression)).toEqual(['EPIPE'])
    if (reader.exitCode === null) await once(reader, 'exit')
    expect(openFiles(file)).toEqual([])
    expect(readFileSync(segment).equals(bytes)).toBe(true)
  })
})
