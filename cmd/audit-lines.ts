// Reads audit logs line by line, for the commands that do. Not readline, which also splits at U+2028.

import { createReadStream } from 'node:fs'
import { MAX_RECORD_BYTES } from '../src/audit/record.ts'

export const READ_BYTES = 256 * 1024

/** Lines without their newline, each valid until the next is asked for. */
export async function* linesOf(file: string): AsyncGenerator<Buffer> {
  let rest: Buffer = Buffer.alloc(0)
  for await (const chunk of createReadStream(file, { highWaterMark: READ_BYTES })) {
    rest = Buffer.concat([rest, chunk as Buffer])
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
