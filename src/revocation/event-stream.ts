// One stream of security events: verifies, acts, and has it remembered, so that an event which comes twice is done once.
// What it answers is true: an event counts as taken only when its cut is on disk and audited.

import type { Clock } from '../clock.ts'
import type { EventStreamConfig } from '../config/config.ts'
import { readSet, type SecurityEvent, type SetError } from '../identity/event-token.ts'
import type { KeySource } from '../identity/key-source.ts'
import { demandOf, happenedAtMs, nameOf } from './event-mapping.ts'
import type { Revocations } from './revocations.ts'
import { wordOf } from './roster.ts'
import { eventKey } from './seen-events.ts'
import { readSubject } from './subject.ts'

export type Taken =
  | { ok: true }
  | { ok: false; err: SetError; description: string; jti?: string | undefined; retry: boolean }

export interface StreamPorts {
  clock: Clock
  revocations: Revocations
  keys: KeySource
  issuers: ReadonlySet<string>
  /** `silentAfterMs` has changed. */
  onContact(): void
  /** What was acted on before, also by another process. */
  seen: { has(event: string): Promise<boolean>; add(event: string): Promise<void> }
  /** One event: `done` acted on, `ignored`, `refused`. */
  count(source: 'push' | 'poll', event: string, result: 'done' | 'ignored' | 'refused'): void
}

/** Subjects of which the last word is remembered. */
const REMEMBERED = 10_000

export class EventStream {
  readonly config: EventStreamConfig
  /** Last sign of life of the transmitter, milliseconds since the epoch; the start counts as one. */
  #lastContactMs: number
  #lastVerificationMs = Number.NaN
  readonly #ports: StreamPorts
  /** `jti` -> when it is done, of those that are being acted on. */
  readonly #underWay = new Map<string, Promise<void>>()
  /** Newest word on each disabled subject: an old one that comes late does not undo it. */
  readonly #lastWordMs = new Map<string, number>()

  constructor(config: EventStreamConfig, ports: StreamPorts) {
    this.config = config
    this.#ports = ports
    this.#lastContactMs = ports.clock.now()
  }

  /** Whether the transmitter has been silent for longer than it may be. */
  get isSilent(): boolean {
    return this.#ports.clock.now() > this.silentAfterMs
  }

  /** Milliseconds since the epoch. */
  get silentAfterMs(): number {
    return this.#lastContactMs + this.config.silence
  }

  /** Seconds since the last sign of life. */
  get contactAgeS(): number {
    return (this.#ports.clock.now() - this.#lastContactMs) / 1000
  }

  /** Seconds since the last verification event; NaN before the first. */
  get verificationAgeS(): number {
    return (this.#ports.clock.now() - this.#lastVerificationMs) / 1000
  }

  contact(): void {
    this.#lastContactMs = this.#ports.clock.now()
    this.#ports.onContact()
  }

  /**
   * Takes one SET.
   *
   * @returns when all that it asks for is done
   * @throws PosternError `ERR_REVOCATIONS` when that cannot be written: it must come again
   */
  async take(token: string, source: 'push' | 'poll'): Promise<Taken> {
    const { clock, keys, revocations, count } = this.#ports
    const read = await readSet(token, this.config, keys, clock.now())
    if (!read.ok) {
      count(source, 'unknown', 'refused')
      revocations.refused(source, read.reason, read.err, read.jti)
      return { ...read, description: read.err.replaceAll('_', ' '), retry: read.retry === true }
    }
    const { jti } = read.event
    const done = this.#underWay.get(jti) ?? this.#once(read.event, source)
    this.#underWay.set(jti, done)
    try {
      await done
    } finally {
      this.#underWay.delete(jti)
    }
    this.contact()
    return { ok: true }
  }

  async #once(event: SecurityEvent, source: 'push' | 'poll'): Promise<void> {
    const { seen } = this.#ports
    const key = eventKey(this.config.name, event.jti)
    if (await seen.has(key)) return
    await this.#act(event, source)
    await seen.add(key)
  }

  async #act(event: SecurityEvent, source: 'push' | 'poll'): Promise<void> {
    const { clock, revocations, issuers, count } = this.#ports
    const name = nameOf(event.type)
    const demand = demandOf(event, this.config.onRisk)
    if (demand === 'contact' && name === 'verification') this.#lastVerificationMs = clock.now()
    const told = { jti: event.jti, type: event.type, ...optional(event) }
    const ignore = (reason: string): Promise<void> => {
      count(source, name, 'ignored')
      return revocations.ignored(source, reason, told)
    }
    if (demand === 'contact' || demand === 'ignore') return ignore(demand === 'contact' ? name : 'ignored')
    const { issuer, opaque, email, criticalMembers } = this.config
    const subject = readSubject(event.subject, {
      issuers,
      opaqueIssuer: opaque ? issuer : undefined,
      email,
      critical: new Set(criticalMembers),
    })
    if (!subject.ok) return ignore(`subject_${subject.why}`)
    const atMs = happenedAtMs(event)
    if (demand !== 'revoke' && !this.#isLastWord(wordOf(subject.selector), atMs)) return ignore('outdated')
    await revocations.carryOut({ do: demand, selector: subject.selector, source, atMs, event: told })
    count(source, name, 'done')
  }

  #isLastWord(subject: string, atMs: number): boolean {
    if ((this.#lastWordMs.get(subject) ?? Number.NEGATIVE_INFINITY) > atMs) return false
    this.#lastWordMs.delete(subject)
    this.#lastWordMs.set(subject, atMs)
    if (this.#lastWordMs.size > REMEMBERED) this.#lastWordMs.delete(this.#lastWordMs.keys().next().value!)
    return true
  }
}

function optional({ txn, payload }: SecurityEvent): { txn?: string; initiator?: string } {
  const initiator = payload.get('initiating_entity')
  return {
    ...(txn === undefined ? {} : { txn }),
    ...(typeof initiator === 'string' ? { initiator } : {}),
  }
}
