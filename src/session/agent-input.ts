// What an agent sends, in slices, between which the audit log may ask for a break: a disk that is slower than the
// agents slows them down, and neither memory nor the number of records depends on how slow it is (AUD-09).

import type { AuditSink } from '../audit/event.ts'
import type { SessionContext } from './context.ts'

/**
 * Bytes judged at a time: this part of `audit.maxPending`. A packet of six bytes may make a record of a thousand, so that
 * the records of a slice take a fifth; the half that is free holds them, for the next slice of whomever is asked first.
 */
const SLICE_PART = 1024

/** What the input tells its session. */
export interface InputEvents {
  /** A slice that is lent until the call returns. false: no more is to be taken. */
  judge(slice: Buffer): boolean
  /** The agent sends no more, and all it sent has been judged. */
  onFin(): void
  /** The audit log has room again. */
  onRoom(): void
  onPanic(error: unknown): void
}

export class AgentInput {
  readonly #audit: AuditSink
  readonly #session: InputEvents
  readonly #sliceBytes: number
  #held: Buffer | undefined
  #finished = false
  #waits = false

  constructor(context: Pick<SessionContext, 'audit' | 'config'>, session: InputEvents) {
    this.#audit = context.audit
    this.#sliceBytes = Math.ceil(context.config.audit.maxPending / SLICE_PART)
    this.#session = session
  }

  /** Neither side is to be read: the audit log must catch up first. Asks it to say when it has. */
  get mustWait(): boolean {
    const audit = this.#audit
    if (audit.congested && !this.#waits) {
      this.#waits = true
      audit.whenRoom(() => this.#resume())
    }
    return audit.congested || this.#held !== undefined
  }

  take(chunk: Buffer): void {
    if (this.#held !== undefined) {
      this.#held = Buffer.concat([this.#held, chunk])
      return
    }
    const size = this.#sliceBytes
    for (let at = 0; at < chunk.length; at += size) {
      if (this.#audit.congested) {
        this.#held = Buffer.from(chunk.subarray(at))
        return
      }
      const slice = chunk.length <= size ? chunk : chunk.subarray(at, at + size)
      if (!this.#session.judge(slice)) return
    }
  }

  finish(): void {
    if (this.#held === undefined) this.#session.onFin()
    else this.#finished = true
  }

  #resume(): void {
    this.#waits = false
    const held = this.#held
    this.#held = undefined
    try {
      if (held !== undefined) this.take(held)
      if (this.#finished && this.#held === undefined) this.#session.onFin()
      this.#session.onRoom()
    } catch (error) {
      // The audit log called, and must not suffer from it.
      this.#session.onPanic(error)
    }
  }
}
