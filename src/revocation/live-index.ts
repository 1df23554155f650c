// The live connections by everything they can be named by, so that finding whom a revocation meets costs the number of
// those, not of all.

import type { AuditEvent } from '../audit/event.ts'

/** A connection, as revocation sees it. */
export interface Revocable {
  /** Ends it at once in both directions; returns what is left to do, soon. @param because what goes into its record */
  revoke(because?: AuditEvent['cause']): () => void
}

/** When the token of a connection was issued, and when it was shown here; milliseconds since the epoch. */
export interface Shown {
  issuedAtMs: number
  shownAtMs: number
}

interface Entry extends Shown {
  facets: readonly string[]
}

export class LiveIndex {
  readonly #entries = new Map<Revocable, Entry>()
  readonly #byFacet = new Map<string, Set<Revocable>>()

  /** Adds a connection, or gives one that is there other facets. */
  put(who: Revocable, facets: readonly string[], { issuedAtMs, shownAtMs }: Shown): void {
    this.remove(who)
    this.#entries.set(who, { facets, issuedAtMs, shownAtMs })
    for (const facet of facets) {
      const set = this.#byFacet.get(facet)
      if (set === undefined) this.#byFacet.set(facet, new Set([who]))
      else set.add(who)
    }
  }

  remove(who: Revocable): void {
    const entry = this.#entries.get(who)
    if (entry === undefined) return
    this.#entries.delete(who)
    for (const facet of entry.facets) {
      const set = this.#byFacet.get(facet)
      set?.delete(who)
      if (set?.size === 0) this.#byFacet.delete(facet)
    }
  }

  /** Whether this is true of anybody. */
  has(facet: string): boolean {
    return this.#byFacet.has(facet)
  }

  /** Those of which all facets are true. */
  find(facets: readonly string[]): [Revocable, Shown][] {
    const sets = facets.map((facet) => this.#byFacet.get(facet))
    const smallest = sets.reduce((a, b) => ((b?.size ?? 0) < (a?.size ?? 0) ? b : a))
    return [...(smallest ?? [])]
      .filter((who) => sets.every((set) => set?.has(who)))
      .map((who) => [who, this.#entries.get(who)!])
  }
}
