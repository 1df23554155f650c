// The admin listener: metrics, probes and calls, for machines of the operator only (OPS-03). Shows no secret, and
// has an address of its own, by default on loopback.

import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { PosternError } from '../errors.ts'
import { notAllowed, type Reply, readBody, send, TEXT, tooLarge } from '../http-reply.ts'
import { removeAbandonedSocket } from '../socket-file.ts'

/** One condition of readiness. */
export interface ReadyCheck {
  /** Short, such as `policy`; shown in /readyz. */
  name: string
  /** true, or why not, as a sentence without secrets. */
  ok(): true | string
}

/** A call that changes something: POST only, its body read whole. Says itself who may. */
export interface Route {
  /** Longest body. */
  maxBytes: number
  answer(request: RouteRequest): Promise<RouteAnswer>
}

export interface RouteRequest {
  authorization: string | undefined
  contentType: string | undefined
  body: Buffer
}

export interface RouteAnswer {
  status: number
  /** Plain text unless `type` says otherwise. */
  body?: string
  type?: string
  headers?: Record<string, string>
}

export interface AdminOptions {
  address: { kind: 'tcp' | 'unix'; host: string; port: number; path: string }
  metrics: { readonly contentType: string; render(): Promise<string> }
  checks: readonly ReadyCheck[]
  /** Awaited before the checks are looked at. */
  refresh?: (() => Promise<void>) | undefined
  /** By path. */
  routes?: ReadonlyMap<string, Route>
}

const INDEX = `Postern admin
/metrics  Prometheus text format
/livez    200 while the process answers
/readyz   200 when agents can be served, else 503; the body says why
`
const MAX_HEADER_BYTES = 8 * 1024
const MAX_CONNECTIONS = 64
const REQUEST_TIMEOUT_MS = 5000
/** How often that is looked after. */
const CHECK_MS = 1000

export class AdminServer {
  readonly #options: AdminOptions
  readonly #server: Server
  readonly #underWay = new Set<Promise<unknown>>()
  /** In the order in which they came. */
  readonly #connections = new Set<Socket>()
  /** Those whose request has been read whole. */
  readonly #answering = new Set<Socket>()

  constructor(options: AdminOptions) {
    this.#options = options
    this.#server = createServer(
      {
        maxHeaderSize: MAX_HEADER_BYTES,
        headersTimeout: REQUEST_TIMEOUT_MS,
        requestTimeout: REQUEST_TIMEOUT_MS,
        connectionsCheckingInterval: CHECK_MS,
      },
      (asked, response) => {
        const answered = this.#serve(asked, response).finally(() => this.#underWay.delete(answered))
        this.#underWay.add(answered)
      },
    )
    this.#server.on('connection', (socket) => this.#admit(socket))
  }

  /**
   * Whoever connects and asks nothing, or not wholly, makes room for the next: else anybody who reaches this port could
   * keep probes and orders to revoke out.
   */
  #admit(socket: Socket): void {
    this.#connections.add(socket)
    socket.once('close', () => this.#connections.delete(socket))
    if (this.#connections.size <= MAX_CONNECTIONS) return
    for (const oldest of this.#connections) {
      if (this.#answering.has(oldest)) continue
      this.#connections.delete(oldest)
      oldest.destroy()
      return
    }
  }

  /** Port it listens on (useful when 0 was asked for); 0 for a Unix socket. */
  get port(): number {
    const bound = this.#server.address()
    return bound !== null && typeof bound === 'object' ? (bound as AddressInfo).port : 0
  }

  /** Where it answers, such as `http://127.0.0.1:9464`. */
  get url(): string {
    const { kind, host, path } = this.#options.address
    if (kind === 'unix') return `unix:${path}`
    return `http://${host.includes(':') ? `[${host}]` : host}:${this.port}`
  }

  /** @throws PosternError `ERR_ADMIN_LISTEN` */
  async listen(): Promise<void> {
    const { address } = this.#options
    try {
      if (address.kind === 'tcp') return await this.#bind({ host: address.host, port: address.port })
      await removeAbandonedSocket(address.path)
      await this.#bind({ path: address.path })
    } catch (cause) {
      const where = address.kind === 'tcp' ? `${address.host}:${address.port}` : address.path
      const reason = (cause as NodeJS.ErrnoException).code ?? 'unknown error'
      throw new PosternError(
        'ERR_ADMIN_LISTEN',
        'internal',
        `The admin listener cannot use ${where}: ${reason}.`,
        {
          cause,
        },
      )
    }
  }

  /** Waits for the answers under way, not for connections that ask nothing. */
  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()))
    await Promise.all(this.#underWay)
    this.#server.closeAllConnections()
    await closed
  }

  #bind(where: { host: string; port: number } | { path: string }): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject)
      this.#server.listen(where, () => {
        this.#server.off('error', reject)
        resolve()
      })
    })
  }

  async #serve(asked: IncomingMessage, response: ServerResponse): Promise<void> {
    const { socket } = asked
    const reply = await this.#answer(asked)
    this.#answering.delete(socket)
    await send(asked, response, reply)
  }

  async #answer(asked: IncomingMessage): Promise<Reply> {
    const path = asked.url?.split('?', 1)[0] ?? ''
    const route = this.#options.routes?.get(path)
    if (route !== undefined) return this.#call(route, asked)
    this.#answering.add(asked.socket)
    if (asked.method !== 'GET' && asked.method !== 'HEAD') return notAllowed('GET, HEAD')
    switch (path) {
      case '/':
        return { status: 200, type: TEXT, body: INDEX }
      case '/livez':
        return { status: 200, type: TEXT, body: 'ok\n' }
      case '/readyz':
        return this.#readiness()
      case '/metrics':
        return this.#metrics()
      default:
        return { status: 404, type: TEXT, body: 'Not found; / lists what is here.\n' }
    }
  }

  async #call(route: Route, asked: IncomingMessage): Promise<Reply> {
    if (asked.method !== 'POST') return notAllowed('POST')
    const { authorization, 'content-type': contentType } = asked.headers
    const body = await readBody(asked, route.maxBytes)
    if (body === undefined) return tooLarge('The body is too large.\n')
    this.#answering.add(asked.socket)
    try {
      const answer = await route.answer({ authorization, contentType, body })
      return { type: TEXT, body: '', ...answer }
    } catch {
      return { status: 500, type: TEXT, body: 'It could not be done; the log says why.\n' }
    }
  }

  async #readiness(): Promise<Reply> {
    await this.#options.refresh?.()
    const checks = this.#options.checks.map((check) => {
      const result = run(check)
      return result === true
        ? { name: check.name, ok: true }
        : { name: check.name, ok: false, message: result }
    })
    const ready = checks.every((check) => check.ok)
    return {
      status: ready ? 200 : 503,
      type: 'application/json',
      body: `${JSON.stringify({ ready, checks })}\n`,
    }
  }

  async #metrics(): Promise<Reply> {
    const { metrics } = this.#options
    try {
      return { status: 200, type: metrics.contentType, body: await metrics.render() }
    } catch {
      return { status: 500, type: TEXT, body: 'The metrics could not be collected.\n' }
    }
  }
}

/**
 * Asks the admin listener of a running Postern.
 *
 * @returns status and body; status 0 and the reason when nobody answers
 */
export function askAdmin(
  address: AdminOptions['address'],
  path: string,
): Promise<{ status: number; body: string }> {
  const where =
    address.kind === 'unix'
      ? { socketPath: address.path }
      : { host: reachable(address.host), port: address.port }
  return new Promise((resolve) => {
    const asked = request({ ...where, path, timeout: REQUEST_TIMEOUT_MS }, (response) => {
      let body = ''
      response.setEncoding('utf8')
      response.on('data', (part: string) => {
        body += part
      })
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body }))
    })
    asked.on('timeout', () => asked.destroy(new Error('no answer in time')))
    asked.on('error', (error) => resolve({ status: 0, body: error.message }))
    asked.end()
  })
}

/** Every interface is no address to connect to. */
function reachable(host: string): string {
  if (host === '0.0.0.0') return '127.0.0.1'
  return host === '::' ? '::1' : host
}

/** All checks at once, for the `postern_ready` gauge. */
export function isReady(checks: readonly ReadyCheck[]): boolean {
  return checks.every((check) => run(check) === true)
}

/** A check that fails to run is a failed check. */
function run(check: ReadyCheck): true | string {
  try {
    return check.ok()
  } catch {
    return 'The check itself failed.'
  }
}
