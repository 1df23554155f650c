// Carries out orders to revoke: tells the roster of every process, and is done when all have cut, and it is on disk and
// in the audit log.

import type { AuditEvent, AuditSink } from '../audit/event.ts'
import type { Clock } from '../clock.ts'
import type { Entry, Journal } from './journal.ts'
import { type Cut, type CutResult, type Roster, wordOf } from './roster.ts'
import type { Selector } from './selector.ts'

/** Ways in. */
export const SOURCES = ['admin', 'list', 'push', 'poll'] as const
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

/** The rosters of the other processes that hold connections. Neither call rejects: a process that has ended has none. */
export interface OtherRosters {
  /** Resolves when all of them have cut, and have it on record. */
  cut(order: Cut): Promise<readonly CutResult[]>
  /** @returns how many connections were ended */
  widen(selector: Selector, before: number): Promise<number>
  /** As `Roster.useList`, of each. */
  useList(selectors: readonly Selector[]): Promise<readonly ReturnType<Roster['useList']>[]>
}

export interface RevocationPorts {
  clock: Clock
  audit: AuditSink & { flush(): Promise<void> }
  /** undefined: nothing survives a restart. */
  journal: Journal | undefined
  /** Tokens issued up to this long after a revocation are refused too, milliseconds. */
  marginMs: number
  /** undefined: all connections are in this process. */
  others: OtherRosters | undefined
  /** One order was carried out; `seconds` from its cause to the last connection cut. */
  observe(source: Source, seconds: number): void
}

export class Revocations {
  /** Of this process. */
  readonly roster: Roster
  readonly #ports: RevocationPorts

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
   * @returns when it is on disk and audited: how many connections were cut
   * @throws PosternError `ERR_REVOCATIONS` when it could not be written; the connections are cut all the same
   */
  async carryOut(order: Order): Promise<number> {
    const { clock, audit, journal, marginMs, others } = this.#ports
    const now = clock.now()
    const { do: action, selector } = order
    const wanted: Cut = { do: action, selector, atMs: Math.min(order.atMs ?? now, now) + marginMs }
    const { entry, cut } = this.roster.cut(wanted)
    // Orders are on disk in the order in which they were carried out, however long the others take.
    const writing: Promise<void>[] = []
    const write = (what: Entry): void => {
      const written = journal?.append(what) ?? Promise.resolve()
      written.catch(() => {}) // it is waited for below
      writing.push(written)
    }
    write(entry)
    let total = cut
    if (others !== undefined) {
      const results = await others.cut(wanted)
      const before = Math.max(entry.before ?? 0, ...results.map((result) => result.entry.before ?? 0))
      for (const result of results) total += result.cut
      // A token in use at one of them, of an issuer whose clock is ahead, may not come back at another one.
      if (before > (entry.before ?? before)) {
        total += this.roster.widen(selector, before)
        write({ ...entry, before })
        total += await others.widen(selector, before)
      }
    }
    audit.append(recordOf(order, total))
    this.#ports.observe(order.source, Math.max(0, clock.now() - (order.atMs ?? now)) / 1000)
    await Promise.all(writing)
    await audit.flush()
    return total
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
