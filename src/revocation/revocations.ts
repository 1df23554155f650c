// The one place where somebody is cut or kept out. An order marks and cuts in one synchronous step, so that no packet
// passes in between; it is done when it is on disk and in the audit log.

import type { AuditEvent, AuditSink } from '../audit/event.ts'
import type { Clock } from '../clock.ts'
import type { Principal } from '../identity/principal.ts'
import { apply, type Entry, entriesOf, type Journal } from './journal.ts'
import { LiveIndex, type Revocable, type Shown } from './live-index.ts'
import type { Bar, Mark, Marks } from './marks.ts'
import { facetsOf, facetsOfPrincipal, type Selector } from './selector.ts'

/** Ways in. */
export const SOURCES = ['admin', 'list', 'push', 'poll', 'store'] as const
export type Source = (typeof SOURCES)[number]

export type Blindness = 'events_silent' | 'store_unavailable'

export interface Order {
  do: 'revoke' | 'disable' | 'enable'
  selector: Selector
  source: Source
  /** When what it is about happened, milliseconds since the epoch; undefined: now. */
  atMs?: number | undefined
  /** Of a security event: its `jti`, type, and who started it. */
  event?: { jti: string; type: string; initiator?: string; txn?: string } | undefined
}

/** Tokens of an issuer whose clock is ahead may bear a later `iat`; the longest leeway there is, milliseconds. */
const CLOCK_SKEW_MS = 60_000
/** Connections settled between two turns of the event loop. */
const SETTLED_AT_A_TIME = 200

interface Cut {
  entry: Entry
  cut: number
  settled: Promise<void>
}

export interface RevocationPorts {
  clock: Clock
  audit: AuditSink & { flush(): Promise<void> }
  /** undefined: nothing survives a restart. */
  journal: Journal | undefined
  /** Tokens issued up to this long after a revocation are refused too, milliseconds. */
  marginMs: number
  /** Why revocations may be missed at the moment, when by configuration nobody is let in then (REV-16). */
  blindness(): Blindness | undefined
  /** Tells the other replicas of a mark; undefined: there are none. */
  share?: ((mark: Mark) => Promise<void>) | undefined
  /** One order was carried out; `seconds` from its cause to the last connection cut. */
  observe(source: Source, seconds: number): void
}

export class Revocations {
  readonly #marks: Marks
  readonly #listed: Marks
  readonly #live = new LiveIndex()
  readonly #ports: RevocationPorts

  /**
   * @param marks replayed from disk
   * @param listed what the operator's list bars; replaced in `useList`
   */
  constructor(marks: Marks, listed: Marks, ports: RevocationPorts) {
    this.#marks = marks
    this.#listed = listed
    this.#ports = ports
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
    const blindness = this.#ports.blindness()
    if (blindness !== undefined) return blindness
    const facets = facetsOfPrincipal(principal)
    const { issuedAtMs } = principal
    const bar = this.#barOf(facets, issuedAtMs)
    if (bar === undefined) this.#live.put(who, facets, { issuedAtMs, shownAtMs: this.#ports.clock.now() })
    return bar
  }

  /** Grows with every order: what `barOf` said under another number may be out of date. */
  get version(): number {
    return this.#marks.version + this.#listed.version
  }

  /** Why a principal is kept out at this moment; undefined: it is not. */
  barOf(principal: Principal): Bar | undefined {
    return this.#barOf(facetsOfPrincipal(principal), principal.issuedAtMs)
  }

  leave(who: Revocable): void {
    this.#live.remove(who)
  }

  /**
   * Carries out an order; marks and cuts before this returns.
   *
   * @returns when it is on disk, with the other replicas, and audited: how many connections were cut
   * @throws PosternError `ERR_REVOCATIONS` when it could not be written, `ERR_STORE` when the others could not be told;
   *   the connections are cut all the same, and the others are told when the store is back
   */
  async carryOut(order: Order): Promise<number> {
    const { clock, audit, journal, marginMs } = this.#ports
    const now = clock.now()
    const { entry, cut, settled } = this.#cut(order, Math.min(order.atMs ?? now, now) + marginMs, now)
    audit.append(recordOf(order, cut))
    this.#ports.observe(order.source, Math.max(0, clock.now() - (order.atMs ?? now)) / 1000)
    const mark = this.#marks.of(order.selector)
    const [kept, told] = await Promise.allSettled([journal?.append(entry), mark && this.#ports.share?.(mark)])
    await settled
    await audit.flush()
    for (const result of [kept, told]) if (result.status === 'rejected') throw result.reason
    return cut
  }

  /** Marks as they are shared with other replicas; not those of the list, which each reads for itself. */
  get shared(): Mark[] {
    return this.#marks.entries()
  }

  /**
   * Takes in what another replica has ordered: marks and cuts before this returns, as there (REV-17).
   *
   * @param isNews false for what was read at the start or after a time without contact: recorded if it cuts anybody
   */
  takeIn(mark: Mark, isNews: boolean): void {
    if (!this.#marks.join(mark)) return
    const { clock, audit, journal, share } = this.#ports
    const { selector } = mark
    const { beforeMs = 0, atMs, disabled, wordMs } = this.#marks.of(selector)!
    const met = this.#live
      .find(facetsOf(selector))
      .filter(([, shown]) => disabled || shown.issuedAtMs <= beforeMs || isFromBefore(shown, atMs))
    const latest = met.reduce((last, [, { issuedAtMs }]) => Math.max(last, issuedAtMs), beforeMs)
    if (latest > beforeMs && beforeMs > 0) {
      this.#marks.revoke(selector, latest, atMs)
      // When this fails, the store is asked for everything anyway.
      share?.(this.#marks.of(selector)!).catch(() => {})
    }
    const cut = met.length
    void this.#end(met)
    // What cannot be written here is in the store.
    for (const entry of entriesOf(this.#marks.of(selector)!)) journal?.append(entry).catch(() => {})
    if (!isNews && cut === 0) return
    const given = Math.max(atMs, wordMs)
    const what = wordMs <= atMs ? 'revoke' : disabled ? 'disable' : 'enable'
    audit.append(recordOf({ do: what, selector, source: 'store', atMs: given }, cut))
    this.#ports.observe('store', Math.max(0, clock.now() - given) / 1000)
  }

  /** The operator's list takes the place of the former one. Whoever it newly bars is cut. */
  useList(selectors: readonly Selector[]): number {
    const { clock, audit } = this.#ports
    const before = new Set(this.#listed.entries().map(({ selector }) => wordOf(selector)))
    for (const { selector } of this.#listed.entries()) this.#listed.enable(selector)
    const fresh = selectors.filter((selector) => !before.has(wordOf(selector)))
    for (const selector of selectors) this.#listed.disable(selector)
    let total = 0
    for (const selector of fresh) {
      const started = clock.now()
      const order: Order = { do: 'disable', selector, source: 'list' }
      const met = this.#live.find(facetsOf(selector))
      const cut = met.length
      void this.#end(met)
      audit.append(recordOf(order, cut))
      this.#ports.observe('list', (clock.now() - started) / 1000)
      total += cut
    }
    return total
  }

  /** An event that asks for nothing here; resolves when that is audited. */
  async ignored(source: Source, reason: string, event: NonNullable<Order['event']>): Promise<void> {
    const { audit } = this.#ports
    audit.append({ action: 'revoke', decision: 'allow', reason, effect: 'nothing', cause: { source, event } })
    await audit.flush()
  }

  /** A refused order, for the audit trail. */
  refused(source: Source, reason: string, effect: string, detail?: string): void {
    this.#ports.audit.append({
      action: 'revoke',
      decision: 'deny',
      reason,
      effect,
      cause: { source },
      detail,
    })
  }

  #cut(order: Order, atMs: number, nowMs: number): Cut {
    const { selector } = order
    if (order.do !== 'revoke') {
      const entry: Entry = { do: order.do, selector, at: nowMs }
      apply(this.#marks, entry)
      const met = order.do === 'disable' ? this.#live.find(facetsOf(selector)) : []
      return { entry, cut: met.length, settled: this.#end(met) }
    }
    // Of an event that comes late, those who have got a new token since are spared.
    const met = this.#live
      .find(facetsOf(selector))
      .filter(([, { issuedAtMs }]) => issuedAtMs <= atMs + CLOCK_SKEW_MS)
    // No token that was in use may come back, also when its issuer's clock is ahead of ours.
    const before = met.reduce((latest, [, { issuedAtMs }]) => Math.max(latest, issuedAtMs), atMs)
    const entry: Entry = { do: 'revoke', selector, before, at: Math.floor(nowMs) }
    apply(this.#marks, entry)
    return { entry, cut: met.length, settled: this.#end(met) }
  }

  /**
   * Cuts all before it returns. What is left of each, its record and the broker's side, follows in the next turns of the
   * event loop, so that the last agent does not wait for it.
   */
  async #end(met: readonly [Revocable, Shown][]): Promise<void> {
    const rest = met.map(([who]) => who.revoke())
    for (const [i, settle] of rest.entries()) {
      if (rest.length > SETTLED_AT_A_TIME && i % SETTLED_AT_A_TIME === 0) await nextTurn()
      settle()
    }
  }

  #barOf(facets: readonly string[], issuedAtMs: number): Bar | undefined {
    return this.#listed.barOf(facets, issuedAtMs) ?? this.#marks.barOf(facets, issuedAtMs)
  }
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

/** The token was in use before the order, though the clock of its issuer is ahead. */
function isFromBefore({ issuedAtMs, shownAtMs }: Shown, atMs: number): boolean {
  return shownAtMs <= atMs && issuedAtMs <= atMs + CLOCK_SKEW_MS
}

/** Equal selectors have one word. */
export function wordOf(selector: Selector): string {
  return facetsOf(selector).join('\n')
}

function recordOf(order: Order, cut: number): AuditEvent {
  const { source, selector, event, atMs } = order
  return {
    action: 'revoke',
    decision: 'allow',
    reason: order.do,
    effect: `${cut} cut`,
    cause: {
      source,
      selector,
      ...(event === undefined ? {} : { event }),
      ...(atMs === undefined ? {} : { at: new Date(atMs).toISOString() }),
    },
  }
}
