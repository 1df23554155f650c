// What an issuer says of its tokens after it has issued them: a status list and an introspection endpoint, on loopback.
import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { deflateSync } from 'node:zlib'
import type { TestIssuer } from './tokens.ts'

export class TokenStatus {
  /** Status of each index, two bits; what is not there is valid. */
  readonly statuses = new Map<number, number>()
  /** `jti`s that are no longer active. */
  readonly inactive = new Set<string>()
  /** Further claims of the list. */
  listClaims: Record<string, unknown> = {}
  /** Of introspection, besides `active`. */
  answer: Record<string, unknown> = {}
  /** Everything is answered with 500. */
  isDown = false
  /** Paths asked for so far. */
  readonly asked: string[] = []
  authorization: string | undefined
  readonly #idp: TestIssuer
  readonly #server: Server

  private constructor(idp: TestIssuer) {
    this.#idp = idp
    this.#server = createServer((request, response) => void this.#serve(request, response))
  }

  static async start(idp: TestIssuer): Promise<TokenStatus> {
    const status = new TokenStatus(idp)
    status.#server.listen(0, '127.0.0.1')
    await once(status.#server, 'listening')
    return status
  }

  get origin(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  /** The `status` claim of a token. */
  claim(index: number): object {
    return { status_list: { idx: index, uri: `${this.origin}/status/1` } }
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise<void>((resolve) => this.#server.close(() => resolve()))
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = request.url ?? ''
    this.asked.push(path)
    this.authorization = request.headers.authorization
    let body = ''
    for await (const part of request) body += String(part)
    if (this.isDown) return void response.writeHead(500).end()
    if (path.startsWith('/status/')) {
      const list = await this.#list(`${this.origin}${path}`)
      return void response.writeHead(200, { 'content-type': 'application/statuslist+jwt' }).end(list)
    }
    const token = new URLSearchParams(body).get('token') ?? ''
    const { jti } = JSON.parse(Buffer.from(token.split('.')[1]!, 'base64url').toString()) as { jti: string }
    const answer = this.inactive.has(jti) ? { active: false } : { active: true, ...this.answer }
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(answer))
  }

  #list(uri: string): Promise<string> {
    const bytes = Buffer.alloc(16)
    for (const [index, status] of this.statuses) bytes[index >> 2]! |= status << ((index & 3) * 2)
    const claims = {
      ...{ aud: undefined, client_id: undefined, exp: undefined, jti: undefined, sub: uri },
      status_list: { bits: 2, lst: deflateSync(bytes).toString('base64url') },
      ...this.listClaims,
    }
    return this.#idp.dev.mint(claims, { header: { typ: 'statuslist+jwt' } })
  }
}
