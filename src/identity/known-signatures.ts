// Signatures that were verified before, so that an agent that reconnects costs no second verification. Only the
// arithmetic is remembered: form, type, issuer, key choice, times and all claims are checked every time, and a key that
// was loaded again is another key.

import type { VerificationKey } from './key-set.ts'

/** Tokens remembered; the one unused for longest is forgotten first. */
const MOST_TOKENS = 20_000

export class KnownSignatures {
  /** SHA-256 of the compact token -> the key that its signature holds under. In order of last use. */
  readonly #keys = new Map<string, VerificationKey>()

  /** Whether exactly this token was verified with exactly this key object. */
  holds(digest: string, key: VerificationKey): boolean {
    if (this.#keys.get(digest) !== key) return false
    this.add(digest, key)
    return true
  }

  add(digest: string, key: VerificationKey): void {
    this.#keys.delete(digest)
    this.#keys.set(digest, key)
    if (this.#keys.size <= MOST_TOKENS) return
    for (const oldest of this.#keys.keys()) {
      this.#keys.delete(oldest)
      return
    }
  }
}
