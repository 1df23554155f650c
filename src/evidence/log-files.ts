// The files of audit logs as one stream of records: closed segments first, compressed ones unpacked. Proves nothing.

import { MAX_RECORD_BYTES, type WrittenRecord } from '../audit/record.ts'
import { closedSegments, readLog } from '../audit/segments.ts'

/** Each log with the closed segments beside it, oldest first; what is named twice stands where it is named. */
export function withSegments(files: readonly string[]): string[] {
  const named = new Set(files)
  return files.flatMap((file) => [
    ...closedSegments(file)
      .map(({ path }) => path)
      .filter((path) => !named.has(path)),
    file,
  ])
}

/** Lines without their newline, each valid until the next is asked for. Not readline, which also splits at U+2028. */
export async function* linesOf(path: string): AsyncGenerator<Buffer> {
  let rest: Buffer = Buffer.alloc(0)
  for await (const chunk of readLog(path)) {
    rest = rest.length === 0 ? (chunk as Buffer) : Buffer.concat([rest, chunk as Buffer])
    let start = 0
    for (let end = rest.indexOf('\n'); end >= 0; end = rest.indexOf('\n', start)) {
      yield rest.subarray(start, end)
      start = end + 1
    }
    rest = rest.subarray(start)
    if (rest.length > MAX_RECORD_BYTES) break
  }
  if (rest.length > 0) yield rest
}

/** A line as the record that it seems to be; undefined when it is none. */
export function looseRecord(line: Buffer): WrittenRecord | undefined {
  try {
    const value = JSON.parse(line.toString()) as WrittenRecord
    const isOne = value.action === undefined ? isBatch(value.batch) : typeof value.action === 'string'
    return isOne && typeof value.time === 'string' ? value : undefined
  } catch {
    return undefined
  }
}

function isBatch(value: unknown): boolean {
  return Array.isArray(value) && value.every((entry) => typeof entry === 'object' && entry !== null)
}
