// Looks tokens up in the status lists of their issuer. A list is fetched from configured places only, whatever a token
// names, kept as long as it says, and asked for again while its tokens are in use. What cannot be read is no answer, and
// without an answer a token is refused. REV-13, draft-ietf-oauth-status-list-21.

import type { Clock } from '../clock.ts'
import type { IssuerConfig, StatusListConfig } from '../config/config.ts'
import { BoundedFetch } from './bounded-fetch.ts'
import type { KeySource } from './key-source.ts'
import { readStatusList, referenceIn, type StatusList, statusAt } from './status-list.ts'
import type { CheckedToken, CheckFailure, TokenCheck } from './token-check.ts'

const TYPE = 'application/statuslist+jwt'
/** Lists kept; the one unused for longest goes first. */
const MOST_LISTS = 256
/** After a fetch that failed. */
const RETRY_MS = 1_000
const VALID = 0

interface Kept {
  list: StatusList | undefined
  /** Asked for again from then on; monotonic milliseconds. */
  dueMs: number
  /** Not to be used from then on; monotonic milliseconds. */
  staleMs: number
  fetching: Promise<void> | undefined
}

export class StatusLists implements TokenCheck {
  readonly #config: StatusListConfig
  readonly #issuer: Pick<IssuerConfig, 'issuer' | 'algorithms'>
  readonly #keys: KeySource
  readonly #clock: Clock
  readonly #fetch: BoundedFetch
  /** By URI, in order of last use. */
  readonly #lists = new Map<string, Kept>()

  constructor(
    config: StatusListConfig,
    issuer: Pick<IssuerConfig, 'issuer' | 'algorithms'>,
    keys: KeySource,
    clock: Clock,
  ) {
    this.#config = config
    this.#issuer = issuer
    this.#keys = keys
    this.#clock = clock
    this.#fetch = new BoundedFetch(clock, { ...config, connections: 2 })
  }

  async check({ claims }: CheckedToken): Promise<CheckFailure | undefined> {
    const reference = referenceIn(claims)
    if (reference === undefined) return this.#config.required ? 'status_missing' : undefined
    if (reference === 'bad' || !this.#isConfigured(reference.uri)) return 'status_bad_reference'
    const list = await this.#listAt(reference.uri)
    if (list === undefined) return 'status_unavailable'
    const status = statusAt(list, reference.index)
    if (status === undefined) return 'status_bad_reference'
    return status === VALID ? undefined : 'status_not_valid'
  }

  async close(): Promise<void> {
    await this.#fetch.close()
  }

  /** A token must not lead this process anywhere but to its issuer's lists. */
  #isConfigured(uri: string): boolean {
    return this.#config.uris.some((start) => uri.startsWith(start)) && URL.parse(uri)?.href === uri
  }

  async #listAt(uri: string): Promise<StatusList | undefined> {
    const kept = this.#lists.get(uri) ?? { list: undefined, dueMs: 0, staleMs: 0, fetching: undefined }
    this.#lists.delete(uri)
    this.#lists.set(uri, kept)
    if (this.#lists.size > MOST_LISTS) this.#lists.delete(this.#lists.keys().next().value!)
    if (this.#clock.monotonic() >= kept.dueMs) {
      kept.fetching ??= this.#refresh(uri, kept).finally(() => {
        kept.fetching = undefined
      })
    }
    await kept.fetching
    if (kept.list === undefined || this.#clock.now() >= kept.list.expiresAtMs) return undefined
    return this.#clock.monotonic() < kept.staleMs ? kept.list : undefined
  }

  async #refresh(uri: string, kept: Kept): Promise<void> {
    const { maxAge, maxBytes, maxListBytes } = this.#config
    const fetched = await this.#fetch.fetch(uri, { method: 'GET', headers: { accept: TYPE } })
    const { issuer, algorithms } = this.#issuer
    const rules = { uri, issuer, algorithms, maxBytes, maxListBytes }
    const isList = fetched.ok && fetched.contentType === TYPE
    const list = isList
      ? await readStatusList(fetched.text.trim(), rules, this.#keys, this.#clock.now())
      : undefined
    const now = this.#clock.monotonic()
    if (list === undefined) {
      kept.dueMs = now + RETRY_MS
      return
    }
    kept.list = list
    kept.staleMs = now + (list.ttlMs ?? maxAge)
    kept.dueMs = now + Math.min(list.ttlMs ?? maxAge, maxAge)
  }
}
