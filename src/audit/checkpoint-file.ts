// The newest checkpoint beside the log, `FILE.checkpoint`, and the files with keys. What stands there was made by this
// process or an earlier one; anchors that prove something are kept elsewhere.

import { readFileSync } from 'node:fs'
import { open, rename } from 'node:fs/promises'
import { PosternError } from '../errors.ts'
import type { CheckpointPlace } from './checkpointer.ts'
import { type Checkpoint, type NoteSigner, openCheckpoint, parseSigner } from './signed-note.ts'

export function checkpointPath(file: string): string {
  return `${file}.checkpoint`
}

/** Replaces the file as a whole, so that a reader never sees half of one. */
export function checkpointFile(file: string): CheckpointPlace {
  const path = checkpointPath(file)
  return {
    name: 'file',
    async send(note) {
      const handle = await open(`${path}.tmp`, 'w', 0o600)
      try {
        await handle.writeFile(note)
        await handle.datasync()
      } finally {
        await handle.close()
      }
      await rename(`${path}.tmp`, path)
    },
  }
}

/** The checkpoint beside the log, if this key signed it. @param origin of the log */
export function lastCheckpoint(
  file: string,
  signer: NoteSigner,
  origin: string = signer.name,
): Checkpoint | undefined {
  let note: string
  try {
    note = readFileSync(checkpointPath(file), 'utf8')
  } catch {
    return undefined
  }
  const opened = openCheckpoint(note, [signer])
  return typeof opened === 'string' || opened.origin !== origin ? undefined : opened
}

/** @throws PosternError `ERR_AUDIT_KEY` */
export function readSigner(path: string): NoteSigner {
  const signer = parseSigner(readKeyFile(path).toString().trim())
  if (signer === undefined) {
    throw keyError(`${path} holds no signing key. 'postern audit keygen' makes one.`)
  }
  return signer
}

const DIGEST_KEY_BYTES = 32

/** Key of keyed digests. @throws PosternError `ERR_AUDIT_KEY` when it is too short */
export function readDigestKey(path: string): Buffer {
  const key = readKeyFile(path)
  if (key.length < DIGEST_KEY_BYTES) {
    throw keyError(
      `${path} is shorter than ${DIGEST_KEY_BYTES} bytes. 'postern audit keygen --digest' makes a key.`,
    )
  }
  return key
}

function readKeyFile(path: string): Buffer {
  try {
    return readFileSync(path)
  } catch (cause) {
    throw keyError(`The key ${path} cannot be read: ${(cause as NodeJS.ErrnoException).code}.`, cause)
  }
}

function keyError(message: string, cause?: unknown): PosternError {
  return new PosternError('ERR_AUDIT_KEY', 'internal', message, { cause })
}
