// A transmitter of security events for tests: signs SETs, and serves a poll endpoint on loopback.
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { TestIssuer } from './tokens.ts'

export const EVENT_AUDIENCE = 'postern-events'
export const CAEP = 'https://schemas.openid.net/secevent/caep/event-type/'
export const RISC = 'https://schemas.openid.net/secevent/risc/event-type/'
export const SSF = 'https://schemas.openid.net/secevent/ssf/event-type/'

export interface SetOptions {
  /** Members of the event. */
  payload?: object
  claims?: Record<string, unknown>
  header?: Record<string, unknown>
}

/** One SET about a subject. */
export function signSet(
  idp: TestIssuer,
  type: string,
  sub_id: object | undefined,
  options: SetOptions = {},
): Promise<string> {
  const claims = {
    aud: EVENT_AUDIENCE,
    exp: undefined,
    client_id: undefined,
    sub_id,
    events: { [type]: options.payload ?? {} },
    ...options.claims,
  }
  return idp.dev.mint(claims, { header: { typ: 'secevent+jwt', ...options.header } })
}

export interface PollBody {
  ack: string[]
  setErrs: Record<string, { err: string }>
  maxEvents: number
  returnImmediately: boolean
}

export class Transmitter {
  /** jti -> SET: given out until acknowledged. */
  readonly queue = new Map<string, string>()
  /** Bodies of the polls so far. */
  readonly polls: PollBody[] = []
  /** Status of the following answers. */
  status = 200
  /** At most so many in one answer. */
  batch = 100
  authorization: string | undefined
  readonly #server: Server
  #waiting: (() => void)[] = []

  private constructor() {
    this.#server = createServer((request, response) => {
      this.authorization = request.headers.authorization
      const parts: Buffer[] = []
      request.on('data', (part) => parts.push(part))
      request.on('end', () => {
        const body = JSON.parse(Buffer.concat(parts).toString()) as PollBody
        this.polls.push(body)
        for (const jti of [...body.ack, ...Object.keys(body.setErrs)]) this.queue.delete(jti)
        const sets = Object.fromEntries([...this.queue].slice(0, this.batch))
        const moreAvailable = this.queue.size > Object.keys(sets).length
        response.writeHead(this.status, { 'content-type': 'application/json' })
        response.end(JSON.stringify({ sets, moreAvailable }))
        for (const wake of this.#waiting.splice(0)) wake()
      })
    })
  }

  static async start(): Promise<Transmitter> {
    const transmitter = new Transmitter()
    await new Promise<void>((resolve) => transmitter.#server.listen(0, '127.0.0.1', resolve))
    return transmitter
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/poll`
  }

  /** Waits until this is true of the polls so far. */
  async until(ready: () => boolean): Promise<void> {
    while (!ready()) await new Promise<void>((resolve) => this.#waiting.push(resolve))
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise<void>((resolve) => this.#server.close(() => resolve()))
  }
}
