// One request to a transmitter that is polled for security events. RFC 8936. Bounded in time and size, no redirects.

import { Agent, request } from 'undici'
import type { Clock } from '../clock.ts'
import type { SetError } from './event-token.ts'

export interface PollRequest {
  maxEvents: number
  returnImmediately: true
  /** `jti` of what is done. */
  ack: string[]
  /** `jti` of what cannot be used -> why. */
  setErrs: Record<string, { err: SetError; description: string }>
}

export type PollAnswer =
  | { ok: true; sets: ReadonlyMap<string, string>; moreAvailable: boolean }
  | { ok: false; reason: 'unreachable' | 'timeout' | 'bad_status' | 'bad_answer' | 'too_large' }

export interface PollerOptions {
  url: string
  /** Bearer secret; asked at every request. */
  secret: () => string
  timeout: number
  maxBytes: number
}

export class EventPoller {
  readonly #options: PollerOptions
  readonly #clock: Clock
  readonly #agent: Agent

  constructor(options: PollerOptions, clock: Clock) {
    this.#options = options
    this.#clock = clock
    const { timeout, maxBytes } = options
    this.#agent = new Agent({
      connections: 1,
      connect: { timeout },
      headersTimeout: timeout,
      bodyTimeout: timeout,
      maxResponseSize: maxBytes,
    })
  }

  /** Never rejects. */
  async poll(body: PollRequest): Promise<PollAnswer> {
    const abort = new AbortController()
    const deadline = this.#clock.after(this.#options.timeout, () => abort.abort())
    try {
      const response = await request(this.#options.url, {
        method: 'POST',
        dispatcher: this.#agent,
        headers: {
          authorization: `Bearer ${this.#options.secret()}`,
          'content-type': 'application/json',
          accept: 'application/json',
        },
        body: JSON.stringify(body),
        signal: abort.signal,
      })
      if (response.statusCode !== 200) {
        response.body.on('error', () => {}).destroy()
        return { ok: false, reason: 'bad_status' }
      }
      return answerIn(await response.body.text())
    } catch (error) {
      if (abort.signal.aborted) return { ok: false, reason: 'timeout' }
      const code = (error as { code?: unknown }).code
      if (code === 'UND_ERR_RES_EXCEEDED_MAX_SIZE') return { ok: false, reason: 'too_large' }
      return { ok: false, reason: 'unreachable' }
    } finally {
      deadline.cancel()
    }
  }

  async close(): Promise<void> {
    await this.#agent.destroy()
  }
}

function answerIn(text: string): PollAnswer {
  try {
    const { sets, moreAvailable = false } = JSON.parse(text) as { sets?: unknown; moreAvailable?: unknown }
    if (
      typeof sets === 'object' &&
      sets !== null &&
      !Array.isArray(sets) &&
      typeof moreAvailable === 'boolean'
    ) {
      const entries = Object.entries(sets)
      if (entries.every((entry): entry is [string, string] => typeof entry[1] === 'string')) {
        return { ok: true, sets: new Map(entries), moreAvailable }
      }
    }
  } catch {
    // As below.
  }
  return { ok: false, reason: 'bad_answer' }
}
