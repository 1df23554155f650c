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
  /** When the order for `beforeMs` was given. */
  atMs: number
  /** Refused whenever issued, until enabled. */
  disabled: boolean
  /** When it was disabled or enabled; 0: never. */
  wordMs: number
}

const SWEEP_EVERY_MS = 60_000

export class Marks {
  readonly #clock: Clock
  readonly #longestLifeMs: number
  readonly #keepEnabledMs: number
  /** Selector as text -> mark. */
  readonly #marks = new Map<string, Mark & { facets: readonly string[] }>()
  /** First facet -> selectors as text. */
  readonly #byFacet = new Map<string, Set<string>>()
  #nextSweepMs = 0
  /** Grows with every change. */
  version = 0

  /**
   * @param longestLifeMs `exp` - `iat` of the longest token that is accepted, with leeway
   * @param keepEnabledMs how long it is kept in mind that an identity was enabled, for replicas that have missed it
   */
  constructor(clock: Clock, longestLifeMs: number, keepEnabledMs = 0) {
    this.#clock = clock
    this.#longestLifeMs = longestLifeMs
    this.#keepEnabledMs = keepEnabledMs
  }

  /** Marks that keep somebody out. */
  get size(): number {
    let size = 0
    for (const mark of this.#marks.values()) if (mark.disabled || mark.beforeMs !== undefined) size += 1
    return size
  }

  /** What is still of use. */
  entries(): Mark[] {
    this.#sweep()
    return [...this.#marks.values()].map(plain)
  }

  /** undefined: there is none. */
  of(selector: Selector): Mark | undefined {
    const mark = this.#marks.get(facetsOf(selector).join('\n'))
    return mark && plain(mark)
  }

  /** Refuses tokens issued at or before this instant; an earlier mark stays if it reaches further. */
  revoke(selector: Selector, beforeMs: number, atMs = beforeMs): void {
    if (this.#clock.now() >= this.#nextSweepMs) this.#sweep()
    const mark = this.#at(selector)
    if (mark.beforeMs !== undefined && mark.beforeMs >= beforeMs) return
    mark.beforeMs = beforeMs
    mark.atMs = atMs
    this.version++
  }

  disable(selector: Selector, atMs = this.#clock.now()): void {
    const mark = this.#at(selector)
    mark.disabled = true
    this.version++
    mark.wordMs = nextWord(mark, atMs)
  }

  /** Ends the disabled state; what was revoked stays revoked. */
  enable(selector: Selector, atMs = this.#clock.now()): void {
    // Of one who is not known here, another replica may know.
    const mark = this.#at(selector)
    mark.disabled = false
    this.version++
    mark.wordMs = nextWord(mark, atMs)
    if (!this.#isOfUse(mark, this.#clock.now())) this.#remove(mark.facets)
  }

  /**
   * Joins what another replica knows: the later `before` and the last word count, and of two words at one instant
   * `disabled`. In whatever order marks are joined, the result is the same.
   *
   * @returns whether this changed anything
   */
  join(other: Mark): boolean {
    if (!this.#isOfUse(other, this.#clock.now())) return false
    const mark = this.#at(other.selector)
    const isLater = (other.beforeMs ?? 0) > (mark.beforeMs ?? 0)
    const isLastWord =
      other.wordMs > mark.wordMs || (other.wordMs === mark.wordMs && other.disabled && !mark.disabled)
    if (isLater) {
      mark.beforeMs = other.beforeMs
      mark.atMs = other.atMs
    }
    if (isLastWord) {
      mark.disabled = other.disabled
      mark.wordMs = other.wordMs
    }
    if (isLater || isLastWord) this.version++
    return isLater || isLastWord
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

  #at(selector: Selector): Mark & { facets: readonly string[] } {
    const facets = facetsOf(selector)
    const key = facets.join('\n')
    let mark = this.#marks.get(key)
    if (mark === undefined) {
      mark = { facets, selector, beforeMs: undefined, atMs: 0, disabled: false, wordMs: 0 }
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
      if (!this.#isOfUse(mark, now)) this.#remove(mark.facets)
    }
  }

  #isOfUse({ beforeMs, disabled, wordMs }: Mark, nowMs: number): boolean {
    if (disabled || (beforeMs !== undefined && beforeMs + this.#longestLifeMs >= nowMs)) return true
    return this.#keepEnabledMs > 0 && wordMs > 0 && wordMs + this.#keepEnabledMs > nowMs
  }
}

/** A word comes after the one before it, whatever the clocks of two replicas say. */
function nextWord({ wordMs }: Mark, atMs: number): number {
  return Math.max(Math.ceil(atMs), wordMs + 1)
}

function plain({ selector, beforeMs, atMs, disabled, wordMs }: Mark): Mark {
  return { selector, beforeMs, atMs, disabled, wordMs }
}
