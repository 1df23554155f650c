// Who is connected to this process, and who is kept out of it. Marks and cuts in one synchronous step, so that no
// packet passes in between. With several processes each has one, and revocations.ts of the first tells all of them.

import type { Clock } from '../clock.ts'
import type { Principal } from '../identity/principal.ts'
import { apply, type Entry } from './journal.ts'
import { LiveIndex, type Revocable } from './live-index.ts'
import { type Bar, type Mark, Marks } from './marks.ts'
import { facetsOf, facetsOfPrincipal, type Selector } from './selector.ts'

/** Tokens of an issuer whose clock is ahead may bear a later `iat`; the longest leeway there is, milliseconds. */
const CLOCK_SKEW_MS = 60_000

/** What is asked of a roster. */
export interface Cut {
  do: 'revoke' | 'disable' | 'enable'
  selector: Selector
  /** With `revoke`: tokens issued until then, milliseconds since the epoch. */
  atMs: number
}

export interface CutResult {
  entry: Entry
  /** Connections that were ended. */
  cut: number
}

export class Roster {
  readonly #marks: Marks
  readonly #listed: Marks
  readonly #live = new LiveIndex()
  readonly #isBlind: () => boolean

  /**
   * @param marks to begin with
   * @param isBlind true: revocations may be missed at the moment, and by configuration nobody is let in then (REV-16)
   */
  constructor(marks: Marks, listed: Marks, isBlind: () => boolean) {
    this.#marks = marks
    this.#listed = listed
    this.#isBlind = isBlind
  }

  /** A roster with the content of another one. @param longestLifeMs as for Marks */
  static of(
    { marks, listed }: RosterContent,
    clock: Clock,
    longestLifeMs: number,
    isBlind: () => boolean,
  ): Roster {
    const roster = new Roster(new Marks(clock, longestLifeMs), new Marks(clock, longestLifeMs), isBlind)
    for (const { selector, beforeMs, disabled } of marks) {
      if (beforeMs !== undefined) roster.#marks.revoke(selector, beforeMs)
      if (disabled) roster.#marks.disable(selector)
    }
    roster.useList(listed)
    return roster
  }

  get content(): RosterContent {
    return {
      marks: this.#marks.entries(),
      listed: this.#listed.entries().map(({ selector }) => selector),
    }
  }

  /** Marks in force. */
  get size(): number {
    return this.#marks.size + this.#listed.size
  }

  /**
   * Takes a connection in, or its renewed principal, unless it is barred. From here on a revocation finds it: there is
   * no moment between the two (REV-18).
   */
  enter(who: Revocable, principal: Principal): Bar | 'events_silent' | undefined {
    if (this.#isBlind()) return 'events_silent'
    const facets = facetsOfPrincipal(principal)
    const { issuedAtMs } = principal
    const bar = this.#listed.barOf(facets, issuedAtMs) ?? this.#marks.barOf(facets, issuedAtMs)
    if (bar === undefined) this.#live.put(who, facets, issuedAtMs)
    return bar
  }

  leave(who: Revocable): void {
    this.#live.remove(who)
  }

  cut({ do: action, selector, atMs }: Cut): CutResult {
    if (action !== 'revoke') {
      const entry: Entry = { do: action, selector }
      apply(this.#marks, entry)
      const cut = action === 'disable' ? this.#end(this.#live.find(facetsOf(selector))) : 0
      return { entry, cut }
    }
    // Of an event that comes late, those who have got a new token since are spared.
    const met = this.#met(selector, atMs + CLOCK_SKEW_MS)
    // No token that was in use may come back, also when its issuer's clock is ahead of ours.
    const before = met.reduce((latest, [, issuedAtMs]) => Math.max(latest, issuedAtMs), atMs)
    const entry: Entry = { do: 'revoke', selector, before }
    apply(this.#marks, entry)
    return { entry, cut: this.#end(met) }
  }

  /** Ends who is here with a token issued until `before`, and keeps such tokens out: what another roster found in use. */
  widen(selector: Selector, before: number): number {
    apply(this.#marks, { do: 'revoke', selector, before })
    return this.#end(this.#met(selector, before))
  }

  /** The list takes the place of the former one. @returns for each that is new, how many connections were ended */
  useList(selectors: readonly Selector[]): { selector: Selector; cut: number }[] {
    const before = new Set(this.#listed.entries().map(({ selector }) => wordOf(selector)))
    for (const { selector } of this.#listed.entries()) this.#listed.enable(selector)
    for (const selector of selectors) this.#listed.disable(selector)
    return selectors
      .filter((selector) => !before.has(wordOf(selector)))
      .map((selector) => ({ selector, cut: this.#end(this.#live.find(facetsOf(selector))) }))
  }

  #met(selector: Selector, untilMs: number): [Revocable, number][] {
    return this.#live.find(facetsOf(selector)).filter(([, issuedAtMs]) => issuedAtMs <= untilMs)
  }

  #end(met: readonly [Revocable, number][]): number {
    for (const [who] of met) who.revoke()
    return met.length
  }
}

/** Plain data, for another process. */
export interface RosterContent {
  marks: readonly Mark[]
  listed: readonly Selector[]
}

/** Equal selectors have one word. */
export function wordOf(selector: Selector): string {
  return facetsOf(selector).join('\n')
}
