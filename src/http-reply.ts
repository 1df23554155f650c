// What the servers for machines (admin listener, token endpoint) have in common: a body that is read whole or not at all,
// and an answer that nobody keeps or guesses the type of.

import type { IncomingMessage, ServerResponse } from 'node:http'

export const TEXT = 'text/plain; charset=utf-8'

export interface Reply {
  status: number
  type: string
  body: string
  headers?: Readonly<Record<string, string>>
}

/** Resolves when the answer is on its way, or nobody waits for it. `headers` come last. */
export async function send(asked: IncomingMessage, response: ServerResponse, reply: Reply): Promise<void> {
  const { status, type, body, headers } = reply
  response.writeHead(status, {
    'content-type': type,
    'content-length': Buffer.byteLength(body),
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
    ...headers,
  })
  response.end(asked.method === 'HEAD' ? undefined : body)
  if (!response.destroyed) await new Promise((resolve) => response.once('close', resolve))
}

/** Nothing more is read of it, so the connection is of no more use. */
export function tooLarge(body: string): Reply {
  return { status: 413, type: TEXT, body, headers: { connection: 'close' } }
}

export function notAllowed(allow: string): Reply {
  const methods = allow.replace(', ', ' and ')
  const body = methods === allow ? `Only ${allow} is served here.\n` : `Only ${methods} are served here.\n`
  return { status: 405, type: TEXT, body, headers: { allow } }
}

/** undefined: it is longer, or broken off. */
export async function readBody(asked: IncomingMessage, maxBytes: number): Promise<Buffer | undefined> {
  const parts: Buffer[] = []
  let length = 0
  try {
    for await (const part of asked as AsyncIterable<Buffer>) {
      length += part.length
      if (length > maxBytes) return undefined
      parts.push(part)
    }
  } catch {
    return undefined
  }
  return Buffer.concat(parts)
}
