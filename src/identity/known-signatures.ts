// Tokens that were verified before, so that an agent that reconnects costs no second verification. Only what follows from
// the bytes is remembered: how the token reads, its digest, and the arithmetic of its signature. Type, issuer, key choice,
// times, all claims and revocation are checked every time, and a key that was loaded again is another key.

import { hash } from 'node:crypto'
import type { CompactJws } from './compact-jws.ts'
import type { VerificationKey } from './key-set.ts'

/** Digests of verified tokens, in each of two generations. */
const MOST_DIGESTS = 10_000
/** The same for tokens taken apart, of a few KiB each. */
const MOST_TOKENS = 1_000

/** Bounded: what was not asked for while as many others as fit were is forgotten. */
class Generations<V> {
  readonly #most: number
  #young = new Map<string, V>()
  #old: ReadonlyMap<string, V> = new Map()

  constructor(most: number) {
    this.#most = most
  }

  get(key: string): V | undefined {
    const young = this.#young.get(key)
    if (young !== undefined) return young
    const old = this.#old.get(key)
    if (old !== undefined) this.set(key, old)
    return old
  }

  set(key: string, value: V): void {
    if (this.#young.size >= this.#most && !this.#young.has(key)) {
      this.#old = this.#young
      this.#young = new Map()
    }
    this.#young.set(key, value)
  }
}

export class KnownSignatures {
  /** SHA-256 of the compact token, hex -> the key that its signature holds under. */
  readonly #keys = new Generations<VerificationKey>(MOST_DIGESTS)
  /** The compact token -> how it reads, and its digest. */
  readonly #tokens = new Generations<{ jws: CompactJws; digest: string }>(MOST_TOKENS)

  /** As `parseCompactJws`, of a token that was verified before. */
  read(token: string): CompactJws | undefined {
    return this.#tokens.get(token)?.jws
  }

  digestOf(token: string): string {
    return this.#tokens.get(token)?.digest ?? hash('sha256', token)
  }

  /** Whether exactly this token was verified with exactly this key object. */
  holds(digest: string, key: VerificationKey): boolean {
    return this.#keys.get(digest) === key
  }

  add(jws: CompactJws, digest: string, key: VerificationKey): void {
    this.#keys.set(digest, key)
    this.#tokens.set(jws.token, { jws, digest })
  }
}
