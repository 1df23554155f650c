// The live connections by everything they can be named by, so that finding whom a revocation meets costs the number of
// those, not of all.

import type { AuditEvent } from '../audit/event.ts'

/** A connection, as revocation sees it. */
export interface Revocable {
  /** Where the index has it; the index's own. */
  listing?: Listing | undefined
  /** Ends it at once in both directions; returns what is left to do, soon. @param because what goes into its record */
  revoke(because?: AuditEvent['cause']): () => void
}

/** When the token of a connection was issued, and when it was shown here; milliseconds since the epoch. */
export interface Shown {
  issuedAtMs: number
  shownAtMs: number
}

/** What is true of some. */
interface Facet {
  readonly text: string
  readonly of: Listing[]
}

interface Listing extends Shown {
  readonly who: Revocable
  readonly facets: Facet[]
  /** Its place in the list of each facet. */
  readonly places: number[]
}

/**
 * No Set of connections, here and wherever connections come and go: each table that a Set has outgrown refers to the
 * next one, so that one old table, until the next full garbage collection, keeps all connections since then in memory.
 */
export class LiveIndex {
  readonly #byText = new Map<string, Facet>()

  /** Adds a connection, or gives one that is there other facets. */
  put(who: Revocable, facets: readonly string[], { issuedAtMs, shownAtMs }: Shown): void {
    this.remove(who)
    const listing: Listing = { issuedAtMs, shownAtMs, who, facets: [], places: [] }
    for (const text of facets) {
      const facet = this.#facet(text)
      if (listing.facets.includes(facet)) continue
      listing.facets.push(facet)
      listing.places.push(facet.of.push(listing) - 1)
    }
    who.listing = listing
  }

  remove(who: Revocable): void {
    const { listing } = who
    if (listing === undefined) return
    who.listing = undefined
    for (const [i, facet] of listing.facets.entries()) {
      const last = facet.of.pop()!
      if (facet.of.length === 0) this.#byText.delete(facet.text)
      if (last === listing) continue
      const place = listing.places[i]!
      facet.of[place] = last
      last.places[last.facets.indexOf(facet)] = place
    }
  }

  /** Whether this is true of anybody. */
  has(facet: string): boolean {
    return this.#byText.has(facet)
  }

  /** Those of which all facets are true. */
  find(facets: readonly string[]): [Revocable, Shown][] {
    const asked = facets.map((text) => this.#byText.get(text))
    const rarest = asked.reduce((a, b) => ((b?.of.length ?? 0) < (a?.of.length ?? 0) ? b : a))
    return (rarest?.of ?? [])
      .filter((listing) => asked.every((facet) => listing.facets.includes(facet!)))
      .map((listing) => [listing.who, listing])
  }

  #facet(text: string): Facet {
    let facet = this.#byText.get(text)
    if (facet === undefined) {
      facet = { text, of: [] }
      this.#byText.set(text, facet)
    }
    return facet
  }
}
