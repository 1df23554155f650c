// Carries out orders to revoke: by the roster of this process and those of the others. An order is done when all have
// cut, and it is on disk and in the audit log.

import type { AuditEvent, AuditSink } from '../audit/event.ts'
import type { Clock } from '../clock.ts'
import { PosternError } from '../errors.ts'
import { entriesOf, type Journal } from './journal.ts'
import type { Mark } from './marks.ts'
import { type Cut, type CutResult, type ListResult, type Roster, type Taken, wordOf } from './roster.ts'
import type { Selector } from './selector.ts'

/** Ways in. */
export const SOURCES = [
  'admin',
  'list',
  'push',
  'poll',
  'store',
  'status_list',
  'introspection',
  'keys',
] as const
export type Source = (typeof SOURCES)[number]

export interface Order {
  do: 'revoke' | 'disable' | 'enable'
  selector: Selector
  source: Source
  /** When what it is about happened, milliseconds since the epoch; undefined: now. */
  atMs?: number | undefined
  /** Of a security event: its `jti`, type, and who started it. */
  event?: { jti: string; type: string; initiator?: string; txn?: string } | undefined
}

/**
 * The rosters of the other processes that hold connections. No call rejects: a process that has ended holds none. What
 * is asked of them reaches each in the order in which it was asked.
 */
export interface OtherRosters {
  /** `recorded`: it is in the audit log of that process, on disk. */
  cut(order: Cut): Promise<readonly (CutResult & { recorded: boolean })[]>
  takeIn(mark: Mark): Promise<readonly Taken[]>
  /** @returns how many connections were ended */
  widen(selector: Selector, beforeMs: number, atMs: number): Promise<number>
  useList(selectors: readonly Selector[]): Promise<readonly ListResult[]>
}

export interface RevocationPorts {
  clock: Clock
  audit: AuditSink & { flush(): Promise<void> }
  /** undefined: nothing survives a restart. */
  journal: Journal | undefined
  /** Tokens issued up to this long after a revocation are refused too, milliseconds. */
  marginMs: number
  /** undefined: all connections are in this process. */
  others?: OtherRosters | undefined
  /** Tells the other replicas of a mark; undefined: there are none. */
  share?: ((mark: Mark) => Promise<void>) | undefined
  /** One order was carried out; `seconds` from its cause to the last connection cut. */
  observe(source: Source, seconds: number): void
}

/** All of them are counted. */
const UNAUTHENTICATED_EVERY_MS = 1000

export class Revocations {
  /** Of this process. */
  readonly roster: Roster
  readonly #ports: RevocationPorts
  #nextUnauthenticatedMs = 0

  constructor(roster: Roster, ports: RevocationPorts) {
    this.roster = roster
    this.#ports = ports
  }

  /** Marks in force. */
  get size(): number {
    return this.roster.size
  }

  /**
   * Carries out an order; marks and cuts in this process before this returns, in the others before it resolves.
   *
   * @returns when it is on disk, with the other replicas, and audited: how many connections were cut
   * @throws PosternError `ERR_REVOCATIONS` when it could not be written, `ERR_STORE` when the others could not be told;
   *   the connections are cut all the same, and the others are told when the store is back
   */
  async carryOut(order: Order): Promise<number> {
    const { clock, audit, journal, marginMs, others, share } = this.#ports
    const now = clock.now()
    const { do: action, selector, source, event } = order
    const beforeMs = Math.min(order.atMs ?? now, now) + marginMs
    const because = { source, ...(event === undefined ? {} : { event }) }
    const wanted: Cut = { do: action, selector, beforeMs, nowMs: now, because }
    const { entry, cut } = this.roster.cut(wanted)
    // At once: what is ordered later is on disk later, however long the others take.
    const writing = [journal?.append(entry)]
    const elsewhere = others === undefined ? [] : await pending(writing, others.cut(wanted))
    let total = elsewhere.reduce((sum, result) => sum + result.cut, cut)
    const latest = elsewhere.reduce((last, result) => Math.max(last, result.entry.before ?? 0), 0)
    if (entry.before !== undefined && latest > entry.before) {
      writing.push(journal?.append({ ...entry, before: latest }))
      total += await pending(writing, this.#widen(selector, latest, entry.at!))
    }
    audit.append(recordOf(order, total))
    this.#ports.observe(order.source, Math.max(0, clock.now() - (order.atMs ?? now)) / 1000)
    const mark = this.roster.markOf(selector)
    const results = await Promise.allSettled([...writing, mark && share?.(mark)])
    await this.roster.settled
    await audit.flush()
    for (const result of results) if (result.status === 'rejected') throw result.reason
    if (elsewhere.every(({ recorded }) => recorded)) return total
    throw new PosternError('ERR_REVOCATIONS', 'internal', 'a worker cannot write its audit log')
  }

  /** Marks as they are shared with other replicas; not those of the list, which each reads for itself. */
  get shared(): Mark[] {
    return this.roster.marks
  }

  /**
   * Takes in what another replica has ordered: marks and cuts in this process before this returns, as there (REV-17).
   *
   * @param isNews false for what was read at the start or after a time without contact: recorded if it cuts anybody
   */
  takeIn(mark: Mark, isNews: boolean): void {
    const taken = this.roster.takeIn(mark)
    if (taken === undefined) return
    const { others } = this.#ports
    if (others === undefined) return this.#took(mark, isNews, taken)
    const elsewhere = others.takeIn(mark).then(async (results) => {
      const latestMs = results.reduce((last, result) => Math.max(last, result.latestMs), taken.latestMs)
      let cut = results.reduce((sum, result) => sum + result.cut, taken.cut)
      if (latestMs > taken.latestMs) cut += await this.#widen(mark.selector, latestMs, mark.atMs)
      this.#took(mark, isNews, { cut, latestMs })
    })
    void elsewhere
  }

  #took({ selector }: Mark, isNews: boolean, { cut, latestMs }: Taken): void {
    const { clock, audit, journal, share } = this.#ports
    const mark = this.roster.markOf(selector)!
    // When this fails, the store is asked for everything anyway.
    if (latestMs > 0) share?.(mark).catch(() => {})
    // What cannot be written here is in the store.
    for (const entry of entriesOf(mark)) journal?.append(entry).catch(() => {})
    if (!isNews && cut === 0) return
    const { atMs, wordMs, disabled } = mark
    const given = Math.max(atMs, wordMs)
    const what = wordMs <= atMs ? 'revoke' : disabled ? 'disable' : 'enable'
    audit.append(recordOf({ do: what, selector, source: 'store', atMs: given }, cut))
    this.#ports.observe('store', Math.max(0, clock.now() - given) / 1000)
  }

  /** A token in use at one process, of an issuer whose clock is ahead, may not come back at another one. */
  async #widen(selector: Selector, beforeMs: number, atMs: number): Promise<number> {
    const here = this.roster.widen(selector, beforeMs, atMs)
    return here + ((await this.#ports.others?.widen(selector, beforeMs, atMs)) ?? 0)
  }

  /** The operator's list takes the place of the former one. Whoever it newly bars is cut. */
  async useList(selectors: readonly Selector[]): Promise<number> {
    const { clock, audit, others } = this.#ports
    const started = clock.now()
    const fresh = this.roster.useList(selectors)
    const elsewhere = (await others?.useList(selectors)) ?? []
    let total = 0
    for (const { selector, cut } of fresh) {
      const same = (one: { selector: Selector }): boolean => wordOf(one.selector) === wordOf(selector)
      const all = elsewhere.reduce((sum, results) => sum + (results.find(same)?.cut ?? 0), cut)
      audit.append(recordOf({ do: 'disable', selector, source: 'list' }, all))
      this.#ports.observe('list', (clock.now() - started) / 1000)
      total += all
    }
    return total
  }

  /** An event that asks for nothing here; resolves when that is audited. */
  async ignored(source: Source, reason: string, event: NonNullable<Order['event']>): Promise<void> {
    const { audit } = this.#ports
    audit.append({ action: 'revoke', decision: 'allow', reason, effect: 'nothing', cause: { source, event } })
    await audit.flush()
  }

  /** A refused order, for the audit trail; of those without the secret one a second, or anybody could fill the disk. */
  refused(source: Source, reason: string, effect: string, detail?: string): void {
    if (reason === 'unauthenticated') {
      const now = this.#ports.clock.now()
      if (now < this.#nextUnauthenticatedMs) return
      this.#nextUnauthenticatedMs = now + UNAUTHENTICATED_EVERY_MS
    }
    this.#ports.audit.append({
      action: 'revoke',
      decision: 'deny',
      reason,
      effect,
      cause: { source },
      detail,
    })
  }
}

/** Waits for the others first; what fails meanwhile is told afterwards. */
function pending<T>(writing: readonly (Promise<void> | undefined)[], others: Promise<T>): Promise<T> {
  for (const written of writing) written?.catch(() => {})
  return others
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
