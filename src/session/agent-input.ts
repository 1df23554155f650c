// What an agent sends, in slices, between which the audit log may ask for a break: a disk that is slower than the
// agents slows them down, and neither memory nor the number of records depends on how slow it is (AUD-09). A packet that
// cannot be decided yet makes a break too; everything behind it waits here, in order.

import type { AuditSink } from '../audit/event.ts'
import type { SessionContext } from './context.ts'

/** What the input tells its session. */
export interface InputEvents {
  /** Bytes that are lent until the call returns. false: no more is to be taken. */
  judge(bytes: Buffer): boolean
  /** The agent sends no more, and all it sent has been judged. */
  onFin(): void
  /** What was waited for is over. */
  onRoom(): void
  onPanic(error: unknown): void
}

/** What a packet waits for: `proceed`, room in the audit log, or so many bytes of itself. */
export type Until = 'proceed' | 'room' | number

/** Who waits until a packet can be decided. */
export interface Waiter {
  proceed(): void
}

export class AgentInput implements Waiter {
  readonly #audit: AuditSink
  readonly #session: InputEvents
  #held: Buffer | undefined
  #finished = false
  #waits = false
  /** A packet waits to be decided: where it begins in the bytes being judged, behind what came of it before. */
  #undecided: { head: Buffer | undefined; from: number; until: Until } | undefined

  constructor(context: Pick<SessionContext, 'audit' | 'config'>, session: InputEvents) {
    this.#audit = context.audit
    this.#session = session
  }

  /** Neither side is to be read: the audit log must catch up first. Asks it to say when it has. */
  get mustWait(): boolean {
    const audit = this.#audit
    if (audit.congested && !this.#waits) {
      this.#waits = true
      audit.whenRoom(() => {
        this.#waits = false
        this.#resume()
      })
    }
    return audit.congested || (this.#held !== undefined && this.#undecided === undefined)
  }

  /** The agent is not to be read: a packet of it waits to be decided, and not for more of itself. */
  get isHeld(): boolean {
    return this.#held !== undefined && !this.#needsMore
  }

  get #needsMore(): boolean {
    const until = this.#undecided?.until
    return typeof until === 'number' && this.#held!.length < until
  }

  take(chunk: Buffer): void {
    if (this.#held === undefined) return this.#judge(chunk, false)
    const needed = this.#needsMore
    this.#held = Buffer.concat([this.#held, chunk])
    if (needed && !this.#needsMore) this.proceed()
  }

  /**
   * Called within `judge`: what begins here cannot be decided before `until`; then it is judged again.
   *
   * @param head kept; bytes of it that came before the chunk, and maybe more
   * @param from where in the chunk what comes after `head` begins
   */
  hold(head: Buffer | undefined, from: number, until: Until): void {
    this.#undecided = { head, from, until }
  }

  /** The packet that waits can be decided. Not to be called within `judge`. */
  proceed(): void {
    this.#undecided = undefined
    this.#resume()
  }

  finish(): void {
    // What a packet needs more of will not come.
    if (this.#held === undefined || this.#needsMore) this.#session.onFin()
    else this.#finished = true
  }

  /** @param isOwn the chunk is not lent */
  #judge(chunk: Buffer, isOwn: boolean): void {
    let rest = chunk
    let own = isOwn
    for (;;) {
      if (this.#audit.congested) break
      if (!this.#session.judge(rest) || this.#undecided === undefined) return
      const { head, from, until } = this.#undecided
      rest = rest.subarray(from)
      if (head !== undefined) {
        rest = Buffer.concat([head, rest])
        own = true
      }
      if (until !== 'room') break
      // Writing ahead may have made room meanwhile, and nobody would say so again.
      this.#undecided = undefined
    }
    this.#held = own ? rest : Buffer.from(rest)
  }

  #resume(): void {
    const held = this.#held
    try {
      if (this.#undecided === undefined) {
        this.#held = undefined
        if (held !== undefined) this.#judge(held, true)
        if (this.#finished && this.#held === undefined) this.#session.onFin()
      }
      this.#session.onRoom()
    } catch (error) {
      // The audit log called, and must not suffer from it.
      this.#session.onPanic(error)
    }
  }
}
