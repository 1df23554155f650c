// Standard output for containers: as the log itself, as a copy of its records, and for checkpoints. One line each.

import type { Writable } from 'node:stream'
import type { AuditFile } from './audit-file.ts'
import type { CheckpointPlace } from './checkpointer.ts'
import { MerkleTree } from './merkle.ts'
import type { Tail } from './open-log.ts'
import { GENESIS } from './record.ts'
import type { CopyPlace } from './record-copies.ts'

/** Stands for standard output in place of a path. */
export const STANDARD_OUTPUT = '-'

/** An error without a listener would end the process; each write says itself that it failed. */
const reported = (): void => {}

/** Resolves when the bytes left the process. */
function writeTo(stream: Writable, bytes: Buffer | string): Promise<void> {
  return new Promise((resolve, reject) => {
    stream.write(bytes, (error) => (error ? reject(error) : resolve()))
  })
}

/** Nothing can be read back: each start is the beginning of a chain. */
export function standardOutputLog(stream: Writable): { file: AuditFile; tail: Tail } {
  stream.on('error', reported)
  const file: AuditFile = {
    async write(bytes) {
      // A stream may still hold them when it says that it took them.
      await writeTo(stream, Buffer.from(bytes))
      return bytes.length
    },
    sync: async () => {},
    writeNow: () => {
      throw new TypeError('standard output cannot be written ahead')
    },
    syncNow: () => {},
    oldestKept: () => 1,
    rotate: () => {},
    tidy: () => {},
    close: async () => {},
  }
  const tail: Tail = {
    ...{ head: GENESIS, unterminated: false, torn: undefined, segment: 1, oldest: 1, begins: false, size: 0 },
    ...{ begunMs: undefined, tree: new MerkleTree(), signer: undefined },
  }
  return { file, tail }
}

export function recordsToOutput(stream: Writable): CopyPlace {
  stream.on('error', reported)
  return { name: 'stdout', send: (lines) => writeTo(stream, lines) }
}

/** As JSON in one line, since a collector of logs takes lines apart: `{"checkpoint":"…"}`. */
export function checkpointsToOutput(stream: Writable): CheckpointPlace {
  stream.on('error', reported)
  return { name: 'stdout', send: (note) => writeTo(stream, `${JSON.stringify({ checkpoint: note })}\n`) }
}
