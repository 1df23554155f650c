// An issuer's JWK Set from a URL: fetched at start, again at `cacheAge`, and once per cooldown for an unknown `kid`.
// While fetches fail the last good set serves up to `staleAge`, then nothing does. KEY-01 to KEY-04, RFC 8725 §3.10.

import { Agent, request } from 'undici'
import type { Clock, Timer } from '../clock.ts'
import type { IssuerConfig } from '../config/config.ts'
import { PosternError } from '../errors.ts'
import { type KeySet, parseKeySet } from './key-set.ts'
import type { KeyAnswer, KeyLoadResult, KeySource } from './key-source.ts'

const FIRST_RETRY_MS = 1_000
const JSON_TYPE = /^application\/(?:[a-z0-9.-]+\+)?json\s*(?:;|$)/i

export interface RemoteKeysOptions extends Omit<IssuerConfig['jwks'], 'url' | 'file'> {
  url: string
  algorithms: readonly string[]
}

/** A fetch that did not yield keys; never leaves this file. */
class FetchFailure extends Error {
  readonly result: KeyLoadResult
  constructor(result: KeyLoadResult) {
    super(result)
    this.result = result
  }
}

export class RemoteKeys implements KeySource {
  readonly #options: RemoteKeysOptions
  readonly #clock: Clock
  readonly #onLoad: (result: KeyLoadResult) => void
  readonly #onReplaced: (kids: ReadonlySet<string>) => void
  readonly #agent: Agent
  #set: KeySet | undefined
  #loadedAt = 0
  #inFlight: Promise<void> | undefined
  /** Failed attempts since the last good one. */
  #failures = 0
  #lastUnknownKidFetch = Number.NEGATIVE_INFINITY
  #nextFetch: Timer | undefined
  #closed = false

  /**
   * @param onLoad called after every fetch with its result
   * @param onReplaced called with the names of the keys, whenever they were replaced
   * @throws PosternError `ERR_JWKS_URL` unless the URL is HTTPS, or HTTP to this machine
   */
  constructor(
    options: RemoteKeysOptions,
    clock: Clock,
    onLoad: (result: KeyLoadResult) => void,
    onReplaced: (kids: ReadonlySet<string>) => void = () => {},
  ) {
    this.#onReplaced = onReplaced
    assertTrustworthy(options.url)
    this.#options = options
    this.#clock = clock
    this.#onLoad = onLoad
    this.#agent = new Agent({
      connections: 1,
      connect: { timeout: options.timeout },
      headersTimeout: options.timeout,
      bodyTimeout: options.timeout,
      maxResponseSize: options.maxBytes,
    })
  }

  /** Fetches and keeps the set fresh from then on. Resolves when the attempt has ended, however it went. */
  load(): Promise<void> {
    return this.#refresh()
  }

  async keyFor(alg: string, kid: string | undefined): Promise<KeyAnswer> {
    // A set past its cache age is used without waiting only while the server is known to be failing.
    if (
      this.#inFlight !== undefined &&
      (this.#set === undefined || (this.#isOld() && this.#failures === 0))
    ) {
      await this.#inFlight
    }
    const choice = this.#choose(alg, kid)
    if (choice.ok || choice.reason !== 'unknown_key' || !this.#mayFetchForUnknownKid()) return choice
    await this.#refresh()
    return this.#choose(alg, kid)
  }

  ready(): boolean {
    return this.#usable() !== undefined
  }

  ageMs(): number | undefined {
    return this.#set === undefined ? undefined : this.#clock.monotonic() - this.#loadedAt
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#nextFetch?.cancel()
    await this.#agent.destroy()
  }

  #choose(alg: string, kid: string | undefined): KeyAnswer {
    return this.#usable()?.choose(alg, kid) ?? { ok: false, reason: 'keys_unavailable' }
  }

  #usable(): KeySet | undefined {
    return this.#clock.monotonic() - this.#loadedAt < this.#options.staleAge ? this.#set : undefined
  }

  #isOld(): boolean {
    return this.#clock.monotonic() - this.#loadedAt >= this.#options.cacheAge
  }

  /** Random `kid`s must not become a lever on the key server (KEY-02). */
  #mayFetchForUnknownKid(): boolean {
    if (this.#inFlight !== undefined) return true
    const now = this.#clock.monotonic()
    if (now - this.#lastUnknownKidFetch < this.#options.cooldown) return false
    this.#lastUnknownKidFetch = now
    return true
  }

  /** Joins the fetch in flight or starts one; afterwards the next one is scheduled. */
  #refresh(): Promise<void> {
    this.#inFlight ??= this.#attempt().finally(() => {
      this.#inFlight = undefined
    })
    return this.#inFlight
  }

  async #attempt(): Promise<void> {
    this.#nextFetch?.cancel()
    let result: KeyLoadResult = 'ok'
    try {
      const set = await this.#fetch()
      this.#set = set
      this.#loadedAt = this.#clock.monotonic()
      this.#failures = 0
      if (!this.#closed) this.#onReplaced(set.kids)
    } catch (error) {
      this.#failures++
      result = error instanceof FetchFailure ? error.result : 'unreachable'
    }
    if (this.#closed) return
    const retryMs = Math.min(FIRST_RETRY_MS * 2 ** Math.min(this.#failures - 1, 10), this.#options.cooldown)
    this.#nextFetch = this.#clock.after(result === 'ok' ? this.#options.cacheAge : retryMs, () => {
      void this.#refresh()
    })
    this.#onLoad(result)
  }

  async #fetch(): Promise<KeySet> {
    const abort = new AbortController()
    const deadline = this.#clock.after(this.#options.timeout, () => abort.abort())
    try {
      const response = await request(this.#options.url, {
        dispatcher: this.#agent,
        headers: { accept: 'application/jwk-set+json, application/json' },
        signal: abort.signal,
      })
      const refusal = refusalOf(response.statusCode, response.headers['content-type'])
      if (refusal !== undefined) {
        // undici reports the abort as an error of the body, which must have a listener.
        response.body.on('error', () => {}).destroy()
        throw new FetchFailure(refusal)
      }
      const text = await response.body.text()
      return await parseKeySet(text, this.#options.algorithms, this.#options.use)
    } catch (error) {
      throw new FetchFailure(abort.signal.aborted ? 'timeout' : resultOf(error))
    } finally {
      deadline.cancel()
    }
  }
}

function refusalOf(status: number, contentType: string | string[] | undefined): KeyLoadResult | undefined {
  if (status >= 300 && status < 400) return 'redirect'
  if (status !== 200) return 'bad_status'
  return typeof contentType === 'string' && JSON_TYPE.test(contentType) ? undefined : 'bad_content_type'
}

function resultOf(error: unknown): KeyLoadResult {
  if (error instanceof FetchFailure) return error.result
  if (error instanceof PosternError) return 'bad_key_set'
  const code = (error as { code?: unknown }).code
  if (code === 'UND_ERR_RES_EXCEEDED_MAX_SIZE') return 'too_large'
  return typeof code === 'string' && code.endsWith('_TIMEOUT') ? 'timeout' : 'unreachable'
}

function assertTrustworthy(address: string): void {
  const url = URL.canParse(address) ? new URL(address) : undefined
  const isLoopback =
    url !== undefined &&
    (/^127\.\d+\.\d+\.\d+$/.test(url.hostname) || ['localhost', '[::1]'].includes(url.hostname))
  if (url?.protocol === 'https:' || (url?.protocol === 'http:' && isLoopback)) return
  throw new PosternError('ERR_JWKS_URL', 'internal', 'jwks.url must be https, or http to a loopback address')
}
