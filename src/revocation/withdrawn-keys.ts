// Issuers for which a signing key that is gone ends the connections that came by it: what was in a key set and is no
// longer there, by the names of the keys (KEY-06). A set that cannot be loaded withdraws nothing.

import type { IssuerConfig } from '../config/config.ts'
import type { Revocations } from './revocations.ts'

export class WithdrawnKeys {
  readonly #issuers: ReadonlySet<string>
  readonly #revocations: () => Revocations | undefined
  /** By issuer: the names that were there, and whether each still is. */
  readonly #known = new Map<string, Map<string, boolean>>()

  /** @param revocations undefined while nobody can be connected yet */
  constructor(issuers: readonly IssuerConfig[], revocations: () => Revocations | undefined) {
    this.#issuers = new Set(
      issuers.filter(({ onWithdrawnKey }) => onWithdrawnKey === 'cut').map(({ issuer }) => issuer),
    )
    this.#revocations = revocations
  }

  /** The keys of an issuer were replaced. */
  replaced(issuer: string, kids: ReadonlySet<string>): void {
    if (!this.#issuers.has(issuer)) return
    const known = this.#known.get(issuer) ?? new Map<string, boolean>()
    this.#known.set(issuer, known)
    const revocations = this.#revocations()
    for (const [kid, wasThere] of known) {
      if (wasThere && !kids.has(kid)) revocations?.dropKey({ iss: issuer, kid })
      if (!wasThere && kids.has(kid)) revocations?.roster.restoreKey({ iss: issuer, kid })
    }
    for (const kid of known.keys()) known.set(kid, false)
    for (const kid of kids) known.set(kid, true)
  }
}
