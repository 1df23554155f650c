// Issuers for which a signing key that is gone ends the connections that came by it: what was in a key set and is no
// longer there, by the names of the keys (KEY-06). A set that cannot be loaded withdraws nothing.

import type { IssuerConfig } from '../config/config.ts'
import type { Roster } from './roster.ts'

export class WithdrawnKeys {
  readonly #issuers: ReadonlySet<string>
  readonly #roster: () => Roster | undefined
  readonly #onCut: (key: { iss: string; kid: string }, cut: number) => void
  /** By issuer: the names that were there, and whether each still is. */
  readonly #known = new Map<string, Map<string, boolean>>()

  /**
   * @param roster undefined while nobody can be connected here
   * @param onCut how many connections of a key that is gone were ended
   */
  constructor(
    issuers: readonly IssuerConfig[],
    roster: () => Roster | undefined,
    onCut: (key: { iss: string; kid: string }, cut: number) => void,
  ) {
    this.#issuers = new Set(
      issuers.filter(({ onWithdrawnKey }) => onWithdrawnKey === 'cut').map(({ issuer }) => issuer),
    )
    this.#roster = roster
    this.#onCut = onCut
  }

  /** The keys of an issuer were replaced. */
  replaced(issuer: string, kids: ReadonlySet<string>): void {
    if (!this.#issuers.has(issuer)) return
    const known = this.#known.get(issuer) ?? new Map<string, boolean>()
    this.#known.set(issuer, known)
    const roster = this.#roster()
    for (const [kid, wasThere] of roster === undefined ? [] : known) {
      const key = { iss: issuer, kid }
      if (wasThere && !kids.has(kid)) this.#onCut(key, roster!.dropKey(key))
      if (!wasThere && kids.has(kid)) roster!.restoreKey(key)
    }
    for (const kid of known.keys()) known.set(kid, false)
    for (const kid of kids) known.set(kid, true)
  }
}
