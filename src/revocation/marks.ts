// What is revoked at this moment: instants before which tokens are refused, and disabled identities. In memory only;
// journal.ts keeps it on disk. Bounded by the longest token life: a mark that no token can be older than is dropped.

import type { Clock } from '../clock.ts'
import { facetsOf, type Selector } from './selector.ts'

/** Why a principal is kept out. */
export type Bar = 'revoked' | 'disabled'

export interface Mark {
  selector: Selector
  /** Tokens issued at or before this are refused, milliseconds since the epoch; undefined: none. */
  beforeMs: number | undefined
  /** Refused whenever issued, until enabled. */
  disabled: boolean
}

const SWEEP_EVERY_MS = 60_000

export class Marks {
  readonly #clock: Clock
  readonly #longestLifeMs: number
  /** Selector as text -> mark. */
  readonly #marks = new Map<string, Mark & { facets: readonly string[] }>()
  /** First facet -> selectors as text. */
  readonly #byFacet = new Map<string, Set<string>>()
  #nextSweepMs = 0
  /** Grows with every change. */
  version = 0

  /** @param longestLifeMs `exp` - `iat` of the longest token that is accepted, with leeway */
  constructor(clock: Clock, longestLifeMs: number) {
    this.#clock = clock
    this.#longestLifeMs = longestLifeMs
  }

  get size(): number {
    return this.#marks.size
  }

  /** What is still of use. */
  entries(): Mark[] {
    this.#sweep()
    return [...this.#marks.values()].map(({ selector, beforeMs, disabled }) => ({
      selector,
      beforeMs,
      disabled,
    }))
  }

  /** Refuses tokens issued at or before this instant; an earlier mark stays if it reaches further. */
  revoke(selector: Selector, beforeMs: number): void {
    if (this.#clock.now() >= this.#nextSweepMs) this.#sweep()
    const mark = this.#at(selector)
    this.version++
    mark.beforeMs = Math.max(mark.beforeMs ?? Number.NEGATIVE_INFINITY, beforeMs)
  }

  disable(selector: Selector): void {
    this.version++
    this.#at(selector).disabled = true
  }

  /** Ends the disabled state; what was revoked stays revoked. */
  enable(selector: Selector): void {
    const facets = facetsOf(selector)
    const mark = this.#marks.get(facets.join('\n'))
    if (mark === undefined) return
    this.version++
    mark.disabled = false
    if (mark.beforeMs === undefined) this.#remove(facets)
  }

  /**
   * @param facets of a principal
   * @param issuedAtMs of its token
   */
  barOf(facets: readonly string[], issuedAtMs: number): Bar | undefined {
    if (this.#marks.size === 0) return undefined
    let bar: Bar | undefined
    for (const facet of facets) {
      for (const key of this.#byFacet.get(facet) ?? []) {
        const mark = this.#marks.get(key)!
        if (!mark.facets.every((one) => facets.includes(one))) continue
        if (mark.disabled) return 'disabled'
        if (mark.beforeMs !== undefined && issuedAtMs <= mark.beforeMs) bar = 'revoked'
      }
    }
    return bar
  }

  #at(selector: Selector): Mark {
    const facets = facetsOf(selector)
    const key = facets.join('\n')
    let mark = this.#marks.get(key)
    if (mark === undefined) {
      mark = { facets, selector, beforeMs: undefined, disabled: false }
      this.#marks.set(key, mark)
      const near = this.#byFacet.get(facets[0]!) ?? new Set()
      this.#byFacet.set(facets[0]!, near.add(key))
    }
    return mark
  }

  #remove(facets: readonly string[]): void {
    const key = facets.join('\n')
    this.#marks.delete(key)
    const near = this.#byFacet.get(facets[0]!)
    near?.delete(key)
    if (near?.size === 0) this.#byFacet.delete(facets[0]!)
  }

  #sweep(): void {
    const now = this.#clock.now()
    this.#nextSweepMs = now + SWEEP_EVERY_MS
    for (const mark of this.#marks.values()) {
      if (mark.beforeMs !== undefined && mark.beforeMs + this.#longestLifeMs < now) mark.beforeMs = undefined
      if (mark.beforeMs === undefined && !mark.disabled) this.#remove(mark.facets)
    }
  }
}
