// HTTP(S) of the token endpoint: bounded in connections, time and size. Knows paths and methods, not what they mean.

import { readFile } from 'node:fs/promises'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { createServer as createTlsServer, type Server as TlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import type { StsConfig } from '../config/sts-config.ts'
import { PosternError } from '../errors.ts'
import { notAllowed, type Reply, readBody, send, TEXT, tooLarge } from '../http-reply.ts'
import { removeAbandonedSocket } from '../socket-file.ts'
import type { TokenAnswer, TokenRequest } from './token-endpoint.ts'

const MAX_HEADER_BYTES = 16 * 1024
/** How often sockets that exceed their time are looked for. */
const CHECK_MS = 1000
const JSON_TYPE = 'application/json'

export interface HttpParts {
  config: Pick<StsConfig, 'address' | 'tls' | 'limits'>
  /** Documents by path; asked for at each GET. */
  documents: ReadonlyMap<string, () => unknown>
  tokenPath: string
  token(request: TokenRequest): Promise<TokenAnswer>
  /** true, or why no tokens can be issued. */
  ready(): true | string
  /** A mistake of ours. */
  onPanic(error: unknown): void
}

export class HttpServer {
  readonly #parts: HttpParts
  #server: Server | TlsServer | undefined
  readonly #underWay = new Set<Promise<void>>()

  constructor(parts: HttpParts) {
    this.#parts = parts
  }

  /** Where it listens, such as `127.0.0.1:9465`; known after `listen`. */
  get address(): string {
    const bound = (this.#server?.address() ?? '') as AddressInfo | string
    if (typeof bound === 'string') return `unix:${bound}`
    return `${bound.family === 'IPv6' ? `[${bound.address}]` : bound.address}:${bound.port}`
  }

  /** @throws PosternError `ERR_STS_LISTEN`, `ERR_TLS` */
  async listen(): Promise<void> {
    const { address, tls, limits } = this.#parts.config
    const options = {
      maxHeaderSize: MAX_HEADER_BYTES,
      headersTimeout: limits.requestTimeout,
      requestTimeout: limits.requestTimeout,
      connectionsCheckingInterval: CHECK_MS,
    }
    const serve = (asked: IncomingMessage, response: ServerResponse): void => {
      const served = this.#reply(asked)
        .then((reply) => send(asked, response, reply))
        .catch(this.#parts.onPanic)
        .finally(() => this.#underWay.delete(served))
      this.#underWay.add(served)
    }
    const server =
      tls === undefined
        ? createServer(options, serve)
        : createTlsServer(
            { ...options, ...(await contextOf(tls)), handshakeTimeout: limits.requestTimeout },
            serve,
          )
    server.maxConnections = limits.connections
    this.#server = server
    if (address.kind === 'unix') await removeAbandonedSocket(address.path)
    const where =
      address.kind === 'unix' ? { path: address.path } : { host: address.host, port: address.port }
    await new Promise<void>((resolve, reject) => {
      server.once('error', (cause: NodeJS.ErrnoException) => {
        const message = `the token endpoint cannot listen: ${cause.code ?? cause.message}`
        reject(new PosternError('ERR_STS_LISTEN', 'internal', message, { cause }))
      })
      server.listen(where, () => {
        server.removeAllListeners('error').on('error', this.#parts.onPanic)
        resolve()
      })
    })
  }

  /** Reads certificate and key again. @throws PosternError `ERR_TLS`; the former ones stay in use */
  async reloadTls(): Promise<void> {
    const { tls } = this.#parts.config
    if (tls === undefined) return
    const context = await contextOf(tls)
    try {
      ;(this.#server as TlsServer).setSecureContext(context)
    } catch (cause) {
      throw tlsError(cause as Error)
    }
  }

  /** Waits for the answers under way, not for connections that ask nothing. */
  async close(): Promise<void> {
    const server = this.#server
    if (server === undefined) return
    const closed = new Promise<void>((resolve) => server.close(() => resolve()))
    await Promise.all(this.#underWay)
    server.closeAllConnections()
    await closed
  }

  async #reply(asked: IncomingMessage): Promise<Reply> {
    const { documents, tokenPath, ready } = this.#parts
    const path = asked.url?.split('?', 1)[0] ?? ''
    if (path === tokenPath) return this.#token(asked)
    if (asked.method !== 'GET' && asked.method !== 'HEAD') return notAllowed('GET, HEAD')
    const document = documents.get(path)
    if (document !== undefined) {
      const headers = { 'cache-control': 'public, max-age=60' }
      return { status: 200, type: JSON_TYPE, body: JSON.stringify(document()), headers }
    }
    if (path === '/livez') return { status: 200, type: TEXT, body: 'ok\n' }
    if (path !== '/readyz') return { status: 404, type: TEXT, body: 'Not found.\n' }
    const state = ready()
    return { status: state === true ? 200 : 503, type: TEXT, body: `${state === true ? 'ok' : state}\n` }
  }

  async #token(asked: IncomingMessage): Promise<Reply> {
    if (asked.method !== 'POST') return notAllowed('POST')
    const body = await readBody(asked, this.#parts.config.limits.bodyBytes)
    if (body === undefined) return tooLarge('The request is too large.\n')
    const { authorization, 'content-type': contentType } = asked.headers
    const { address } = this.#parts.config
    // A connection that was reset has no address any more: nobody is there to answer, and nobody to count tries against.
    const peer = asked.socket.remoteAddress ?? (address.kind === 'unix' ? 'unix' : undefined)
    if (peer === undefined) return { status: 400, type: TEXT, body: 'The connection is gone.\n' }
    const answer = await this.#parts.token({ authorization, contentType, body, peer })
    return { ...answer, type: JSON_TYPE, body: JSON.stringify(answer.body) }
  }
}

async function contextOf(tls: NonNullable<StsConfig['tls']>) {
  try {
    const [cert, key] = await Promise.all([readFile(tls.certFile), readFile(tls.keyFile)])
    return { cert, key, minVersion: tls.minVersion }
  } catch (cause) {
    throw tlsError(cause as Error)
  }
}

function tlsError(cause: Error): PosternError {
  const message = `the token endpoint cannot use its certificate or key: ${cause.message}`
  return new PosternError('ERR_TLS', 'internal', message, { cause })
}
