// One HTTP request to a configured place: bounded in time and size, no redirects, no shared connections.

import { Agent, request } from 'undici'
import type { Clock } from '../clock.ts'

export type Fetched =
  | { ok: true; contentType: string; text: string }
  | { ok: false; reason: 'unreachable' | 'timeout' | 'bad_status' | 'too_large' }

export interface Asked {
  method: 'GET' | 'POST'
  headers: Record<string, string>
  body?: string
}

export class BoundedFetch {
  readonly #clock: Clock
  readonly #timeoutMs: number
  readonly #agent: Agent

  constructor(clock: Clock, limits: { timeout: number; maxBytes: number; connections: number }) {
    const { timeout, maxBytes, connections } = limits
    this.#clock = clock
    this.#timeoutMs = timeout
    this.#agent = new Agent({
      connections,
      connect: { timeout },
      headersTimeout: timeout,
      bodyTimeout: timeout,
      maxResponseSize: maxBytes,
    })
  }

  /** Never rejects. Anything but 200 is a failure. */
  async fetch(url: string, asked: Asked): Promise<Fetched> {
    const abort = new AbortController()
    const deadline = this.#clock.after(this.#timeoutMs, () => abort.abort())
    try {
      const response = await request(url, { ...asked, dispatcher: this.#agent, signal: abort.signal })
      if (response.statusCode !== 200) {
        response.body.on('error', () => {}).destroy()
        return { ok: false, reason: 'bad_status' }
      }
      const { 'content-type': type } = response.headers
      return { ok: true, contentType: mediaType(type), text: await response.body.text() }
    } catch (error) {
      if (abort.signal.aborted) return { ok: false, reason: 'timeout' }
      const { code } = error as { code?: unknown }
      return { ok: false, reason: code === 'UND_ERR_RES_EXCEEDED_MAX_SIZE' ? 'too_large' : 'unreachable' }
    } finally {
      deadline.cancel()
    }
  }

  async close(): Promise<void> {
    await this.#agent.destroy()
  }
}

function mediaType(header: string | string[] | undefined): string {
  return typeof header === 'string' ? header.split(';', 1)[0]!.trim().toLowerCase() : ''
}
