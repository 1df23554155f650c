// Who is connected to this process, and who is kept out of it. Marks and cuts in one synchronous step, so that no
// packet passes in between. With several processes each has one, and revocations.ts of the first tells all of them.

import type { AuditEvent } from '../audit/event.ts'
import type { Clock } from '../clock.ts'
import type { Principal } from '../identity/principal.ts'
import { apply, type Entry } from './journal.ts'
import { LiveIndex, type Revocable, type Shown } from './live-index.ts'
import { type Bar, type Mark, Marks } from './marks.ts'
import { facetsOf, facetsOfGrant, facetsOfPrincipal, type HeldGrant, type Selector } from './selector.ts'

/** Tokens of an issuer whose clock is ahead may bear a later `iat`; the longest leeway there is, milliseconds. */
const CLOCK_SKEW_MS = 60_000
/** Connections settled between two turns of the event loop. */
const SETTLED_AT_A_TIME = 200

/** Why revocations may be missed at the moment, when by configuration nobody is let in then (REV-16). */
export type Blindness = 'events_silent' | 'store_unavailable'

/** What is asked of a roster. */
export interface Cut {
  do: 'revoke' | 'disable' | 'enable'
  selector: Selector
  /** With `revoke`: tokens issued until then, milliseconds since the epoch. */
  beforeMs: number
  /** When it was ordered. */
  nowMs: number
  /** What goes into the records of those who are cut. */
  because: AuditEvent['cause']
}

export interface CutResult {
  entry: Entry
  /** Connections that were ended. */
  cut: number
}

/** What came of a mark that was new here. */
export interface Taken {
  cut: number
  /** The latest `iat` of the tokens that were in use, milliseconds since the epoch; 0: none was later than the mark. */
  latestMs: number
}

/** For each selector that is new in a list, how many connections were ended. */
export type ListResult = { selector: Selector; cut: number }[]

/** Plain data, for another process. */
export interface RosterContent {
  marks: readonly Mark[]
  listed: readonly Selector[]
}

export class Roster {
  readonly #marks: Marks
  readonly #listed: Marks
  /** Tokens that were found not to hold; whoever finds it asks again. */
  readonly #suspended: Marks
  /** Selector of a suspended token as text -> who has found it not to hold. */
  readonly #suspendedBy = new Map<string, Set<string>>()
  readonly #live = new LiveIndex()
  readonly #clock: Clock
  readonly #blindness: () => Blindness | undefined
  /** What is left of those that were cut. */
  #settled: Promise<void> = Promise.resolve()

  /**
   * @param marks to begin with
   * @param listed what the operator's list bars; replaced in `useList`
   */
  constructor(marks: Marks, listed: Marks, clock: Clock, blindness: () => Blindness | undefined) {
    this.#marks = marks
    this.#listed = listed
    this.#suspended = new Marks(clock, 0)
    this.#clock = clock
    this.#blindness = blindness
  }

  get content(): RosterContent {
    return { marks: this.marks, listed: this.#listed.entries().map(({ selector }) => selector) }
  }

  /** Takes over what another roster keeps out. */
  copy({ marks, listed }: RosterContent): void {
    for (const mark of marks) this.#marks.join(mark)
    this.useList(listed)
  }

  /** Not those of the list. */
  get marks(): Mark[] {
    return this.#marks.entries()
  }

  /** undefined: there is none. */
  markOf(selector: Selector): Mark | undefined {
    return this.#marks.of(selector)
  }

  /** Marks in force. */
  get size(): number {
    return this.#marks.size + this.#listed.size
  }

  /**
   * Takes a connection in, or its renewed principal, unless it is barred. From here on a revocation finds it: there is
   * no moment between the two (REV-18).
   */
  enter(who: Revocable, principal: Principal): Bar | Blindness | undefined {
    const blindness = this.#blindness()
    if (blindness !== undefined) return blindness
    const facets = facetsOfPrincipal(principal)
    const { issuedAtMs } = principal
    const bar = this.#barOf(facets, issuedAtMs)
    if (bar === undefined) this.#live.put(who, facets, { issuedAtMs, shownAtMs: this.#clock.now() })
    return bar
  }

  /** As `enter`, for a just-in-time grant in the hands of a connection, and for what it has opened. */
  enterGrant(who: Revocable, grant: HeldGrant): Bar | Blindness | undefined {
    const blindness = this.#blindness()
    if (blindness !== undefined) return blindness
    const facets = facetsOfGrant(grant)
    const { issuedAtMs } = grant
    const bar = this.#barOf(facets, issuedAtMs)
    if (bar === undefined) this.#live.put(who, facets, { issuedAtMs, shownAtMs: this.#clock.now() })
    return bar
  }

  /** Grows with every order: what `barOf` said under another number may be out of date. */
  get version(): number {
    return this.#marks.version + this.#listed.version + this.#suspended.version
  }

  /** Why a principal is kept out at this moment; undefined: it is not. */
  barOf(principal: Principal): Bar | undefined {
    return this.#barOf(facetsOfPrincipal(principal), principal.issuedAtMs)
  }

  /** Whether anybody here bears this token. */
  isInUse(iss: string, jti: string): boolean {
    return this.#live.has(facetsOf({ token: { iss, jti } })[0]!)
  }

  /**
   * Ends whoever bears this token, and lets nobody in with it until each source that has suspended it resumes it.
   *
   * @returns how many were ended
   */
  suspend(iss: string, jti: string, source: string): number {
    const selector = { token: { iss, jti } }
    const word = wordOf(selector)
    this.#suspendedBy.set(word, (this.#suspendedBy.get(word) ?? new Set()).add(source))
    this.#suspended.disable(selector)
    const met = this.#met(selector, () => true)
    return this.#end(met, { source })
  }

  /** What another source has suspended stays so. */
  resume(iss: string, jti: string, source: string): void {
    if (this.#suspendedBy.size === 0) return
    const selector = { token: { iss, jti } }
    const word = wordOf(selector)
    const sources = this.#suspendedBy.get(word)
    if (sources?.delete(source) !== true || sources.size > 0) return
    this.#suspendedBy.delete(word)
    this.#suspended.enable(selector)
  }

  /** Resolves when the records of all that were cut so far are made, and the broker told. */
  get settled(): Promise<void> {
    return this.#settled
  }

  leave(who: Revocable): void {
    this.#live.remove(who)
  }

  cut({ do: action, selector, beforeMs, nowMs, because }: Cut): CutResult {
    if (action !== 'revoke') {
      const entry: Entry = { do: action, selector, at: nowMs }
      apply(this.#marks, entry)
      return {
        entry,
        cut:
          action === 'disable'
            ? this.#end(
                this.#met(selector, () => true),
                because,
              )
            : 0,
      }
    }
    // Of an event that comes late, those who have got a new token since are spared.
    const met = this.#met(selector, ({ issuedAtMs }) => issuedAtMs <= beforeMs + CLOCK_SKEW_MS)
    // No token that was in use may come back, also when its issuer's clock is ahead of ours.
    const entry: Entry = { do: 'revoke', selector, before: latest(met, beforeMs), at: Math.floor(nowMs) }
    apply(this.#marks, entry)
    return { entry, cut: this.#end(met, because) }
  }

  /** Takes in what another replica has ordered, as there (REV-17). undefined: it was known. */
  takeIn(mark: Mark): Taken | undefined {
    if (!this.#marks.join(mark)) return undefined
    const { selector } = mark
    const { beforeMs = 0, atMs, disabled } = this.#marks.of(selector)!
    const isMet = (shown: Shown): boolean =>
      disabled || shown.issuedAtMs <= beforeMs || isFromBefore(shown, atMs)
    const met = this.#met(selector, isMet)
    const latestMs = beforeMs === 0 ? 0 : latest(met, beforeMs)
    if (latestMs > beforeMs) this.#marks.revoke(selector, latestMs, atMs)
    return { cut: this.#end(met, { source: 'store' }), latestMs: latestMs > beforeMs ? latestMs : 0 }
  }

  /** Keeps tokens issued until `beforeMs` out, and ends who is here with one: another roster found them in use. */
  widen(selector: Selector, beforeMs: number, atMs: number): number {
    this.#marks.revoke(selector, beforeMs, atMs)
    return this.#end(
      this.#met(selector, ({ issuedAtMs }) => issuedAtMs <= beforeMs),
      undefined,
    )
  }

  /** The list takes the place of the former one. Whoever it newly bars is cut. */
  useList(selectors: readonly Selector[]): ListResult {
    const before = new Set(this.#listed.entries().map(({ selector }) => wordOf(selector)))
    for (const { selector } of this.#listed.entries()) this.#listed.enable(selector)
    for (const selector of selectors) this.#listed.disable(selector)
    return selectors
      .filter((selector) => !before.has(wordOf(selector)))
      .map((selector) => ({
        selector,
        cut: this.#end(
          this.#met(selector, () => true),
          { source: 'list' },
        ),
      }))
  }

  /**
   * A signing key has gone from its issuer's key set: ends who is here by it, and keeps those out whose token was
   * verified before (KEY-06).
   *
   * @returns how many connections were ended
   */
  dropKey(key: { iss: string; kid: string }): number {
    this.#suspended.disable({ key })
    return this.#end(
      this.#met({ key }, () => true),
      { source: 'keys', selector: { key } },
    )
  }

  /** It is in the key set again. */
  restoreKey(key: { iss: string; kid: string }): void {
    this.#suspended.enable({ key })
  }

  #barOf(facets: readonly string[], issuedAtMs: number): Bar | undefined {
    const bar = this.#listed.barOf(facets, issuedAtMs) ?? this.#marks.barOf(facets, issuedAtMs)
    return bar ?? (this.#suspended.barOf(facets, issuedAtMs) && 'revoked')
  }

  /**
   * Cuts all before it returns. What is left of each, its record and the broker's side, follows in the next turns of the
   * event loop, so that the last agent does not wait for it.
   */
  #end(met: readonly [Revocable, Shown][], because: AuditEvent['cause']): number {
    const rest = met.map(([who]) => who.revoke(because))
    if (rest.length <= SETTLED_AT_A_TIME) for (const finish of rest) finish()
    else this.#settled = Promise.all([this.#settled, settle(rest)]).then(() => {})
    return met.length
  }

  #met(selector: Selector, isMet: (shown: Shown) => boolean): [Revocable, Shown][] {
    return this.#live.find(facetsOf(selector)).filter(([, shown]) => isMet(shown))
  }
}

async function settle(rest: readonly (() => void)[]): Promise<void> {
  for (const [i, finish] of rest.entries()) {
    if (i % SETTLED_AT_A_TIME === 0) await new Promise((resolve) => setImmediate(resolve))
    finish()
  }
}

/** When the last of their tokens was issued; at least `least`. */
function latest(met: readonly [Revocable, Shown][], least: number): number {
  return met.reduce((last, [, { issuedAtMs }]) => Math.max(last, issuedAtMs), least)
}

/** The token was in use before the order, though the clock of its issuer is ahead. */
function isFromBefore({ issuedAtMs, shownAtMs }: Shown, atMs: number): boolean {
  return shownAtMs <= atMs && issuedAtMs <= atMs + CLOCK_SKEW_MS
}

/** Equal selectors have one word. */
export function wordOf(selector: Selector): string {
  return facetsOf(selector).join('\n')
}
