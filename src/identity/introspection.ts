// Asks the issuer whether a token is still active. Answers are kept for a short time, never past the token's end or the
// one in the answer. REV-14, RFC 7662.

import { readFile } from 'node:fs/promises'
import type { Clock } from '../clock.ts'
import type { IntrospectionConfig } from '../config/config.ts'
import { BoundedFetch } from './bounded-fetch.ts'
import { parseObject } from './strict-json.ts'
import type { CheckedToken, CheckFailure, TokenCheck } from './token-check.ts'

/** Answers kept; the oldest goes first. */
const MOST_ANSWERS = 20_000
const MAX_BYTES = 64 * 1024
const CONNECTIONS = 8

interface Answer {
  active: boolean
  /** Milliseconds since the epoch. */
  untilMs: number
}

export class Introspection implements TokenCheck {
  readonly #config: IntrospectionConfig
  readonly #clock: Clock
  readonly #fetch: BoundedFetch
  /** By digest of the token. */
  readonly #answers = new Map<string, Answer>()
  readonly #asking = new Map<string, Promise<Answer | undefined>>()

  constructor(config: IntrospectionConfig, clock: Clock) {
    this.#config = config
    this.#clock = clock
    this.#fetch = new BoundedFetch(clock, {
      timeout: config.timeout,
      maxBytes: MAX_BYTES,
      connections: CONNECTIONS,
    })
  }

  async check(token: CheckedToken): Promise<CheckFailure | undefined> {
    const known = this.#answers.get(token.digest)
    const answer =
      known !== undefined && this.#clock.now() < known.untilMs ? known : await this.#askOnce(token)
    if (answer === undefined) return 'introspection_unavailable'
    return answer.active ? undefined : 'not_active'
  }

  async close(): Promise<void> {
    await this.#fetch.close()
  }

  #askOnce(token: CheckedToken): Promise<Answer | undefined> {
    const { digest } = token
    let asking = this.#asking.get(digest)
    if (asking === undefined) {
      asking = this.#ask(token).finally(() => this.#asking.delete(digest))
      this.#asking.set(digest, asking)
    }
    return asking
  }

  async #ask({ token, digest, expiresAtMs }: CheckedToken): Promise<Answer | undefined> {
    const { url, clientId, secretFile, cache } = this.#config
    const secret = await readFile(secretFile, 'utf8').catch(() => undefined)
    if (secret === undefined) return undefined
    const fetched = await this.#fetch.fetch(url, {
      method: 'POST',
      headers: {
        authorization: basic(clientId, secret.replace(/\r?\n$/, '')),
        'content-type': 'application/x-www-form-urlencoded',
        accept: 'application/json',
      },
      body: new URLSearchParams({ token, token_type_hint: 'access_token' }).toString(),
    })
    if (!fetched.ok || fetched.contentType !== 'application/json') return undefined
    const read = parseObject(Buffer.from(fetched.text))
    const active = read.ok ? read.members.get('active') : undefined
    if (!read.ok || typeof active !== 'boolean') return undefined
    const exp = read.members.get('exp')
    const endMs = typeof exp === 'number' ? Math.min(exp * 1000, expiresAtMs) : expiresAtMs
    const now = this.#clock.now()
    const answer = { active: active && endMs > now, untilMs: Math.min(now + cache, endMs) }
    this.#answers.delete(digest)
    this.#answers.set(digest, answer)
    if (this.#answers.size > MOST_ANSWERS) this.#answers.delete(this.#answers.keys().next().value!)
    return answer
  }
}

/** `client_secret_basic`: both parts are form-encoded first. RFC 6749 §2.3.1 */
function basic(clientId: string, secret: string): string {
  const [id, password] = [clientId, secret].map((part) =>
    new URLSearchParams([['', part]]).toString().slice(1),
  )
  return `Basic ${Buffer.from(`${id}:${password}`).toString('base64')}`
}
