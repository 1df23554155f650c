// The files under `revocation`: secrets, and the operator's list. Each is read whole and judged before it is used.

import { readFile } from 'node:fs/promises'
import { PosternError } from '../errors.ts'
import { readOrderOf } from './order.ts'
import type { Selector } from './selector.ts'

/** Shortest bearer secret, characters. */
const SHORTEST_SECRET = 16

/** @throws PosternError `ERR_REVOCATIONS` */
export async function readSecret(file: string): Promise<string> {
  const secret = (await readText(file)).trim()
  if (secret.length >= SHORTEST_SECRET && !/\s/.test(secret)) return secret
  throw bad(file, `a secret has at least ${SHORTEST_SECRET} characters, without blanks`)
}

/**
 * A JSON list of `sub_id`: all of them are barred for as long as they stand there.
 *
 * @param issuers whose subjects may be named
 * @throws PosternError `ERR_REVOCATIONS`
 */
export async function readList(file: string, issuers: ReadonlySet<string>): Promise<Selector[]> {
  const text = await readText(file)
  let list: unknown
  try {
    list = JSON.parse(text)
  } catch {
    throw bad(file, 'it is not JSON')
  }
  if (!Array.isArray(list)) throw bad(file, 'it is no list of subjects')
  return list.map((subject, i) => {
    const read = readOrderOf(new Map([['sub_id', subject as unknown]]), { issuers })
    if (!read.ok) throw bad(file, `entry ${i + 1}: ${read.message}`)
    return read.order.selector
  })
}

async function readText(file: string): Promise<string> {
  return readFile(file, 'utf8').catch((cause: NodeJS.ErrnoException) => {
    throw bad(file, `it cannot be read (${cause.code ?? 'unknown reason'})`, cause)
  })
}

function bad(file: string, why: string, cause?: unknown): PosternError {
  return new PosternError('ERR_REVOCATIONS', 'internal', `${file} cannot be used: ${why}`, { cause })
}
