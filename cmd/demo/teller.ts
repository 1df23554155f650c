// Tells one step and keeps whether it came out as told: every answer is compared with the one the story promises.

import { formatRecord } from '../../src/audit/format.ts'
import type { AuditRecord } from '../../src/audit/record.ts'
import { ReasonCode } from '../../src/wire/reason-code.ts'
import { NO_ANSWER } from './agent.ts'
import type { Screen } from './screen.ts'

/** What the story promises of an audit record. */
export interface Expected {
  decision: 'allow' | 'deny'
  reason: string
  effect: string
  agent?: string
  user?: string
  /** Rule id per layer; `-` where no rule speaks. */
  rules?: Readonly<Record<string, string>>
}

export class Teller {
  readonly #screen: Screen
  #asTold = true

  constructor(screen: Screen) {
    this.#screen = screen
  }

  get asTold(): boolean {
    return this.#asTold
  }

  tries(text: string): void {
    this.#screen.line('tries', text)
  }

  /**
   * @param codes Reason Codes of the answer; one, or one per filter
   * @returns whether they are those told
   */
  gets(packet: string, codes: number | readonly number[], told: number | readonly number[]): boolean {
    const [got, wanted] = [codes, told].map((some) => [some].flat().map(codeName).join(', then '))
    this.#screen.line('gets', got === NOTHING ? NOTHING : `${packet} ${got}`)
    if (got !== wanted) this.#wrong(`told was ${packet} ${wanted}`)
    return got === wanted
  }

  sees(text: string, holds: boolean): void {
    if (holds) this.#screen.line('sees', text)
    else this.#wrong(`not so: ${text}`)
  }

  why(text: string): void {
    this.#screen.line('why', text)
  }

  progress(text: string): void {
    this.#screen.progress('time', text)
  }

  /** Shows the record and holds it against what was told. */
  audit(record: AuditRecord | undefined, told: Expected): void {
    if (record === undefined) return this.#wrong('told was an audit record, and there is none')
    this.#screen.line('audit', formatRecord(record))
    const { decision, reason, effect, rules, identity } = record
    const found: Expected = { decision, reason, effect }
    if (told.agent !== undefined) found.agent = identity?.agent?.id ?? '-'
    if (told.user !== undefined) found.user = identity?.human?.id ?? '-'
    if (told.rules !== undefined) found.rules = { ...rules }
    const names = Object.keys(told) as (keyof Expected)[]
    for (const name of names) {
      const [is, shouldBe] = [found[name], told[name]].map((value) => JSON.stringify(value))
      if (is !== shouldBe) this.#wrong(`told was ${name} ${shouldBe}, the record says ${is}`)
    }
  }

  #wrong(text: string): void {
    this.#asTold = false
    this.#screen.bad(text)
  }
}

const NOTHING = 'nothing: the connection closed'

/** `0x87 not authorized`, in the words of MQTT 5.0 §2.4. */
function codeName(code: number): string {
  if (code === NO_ANSWER) return NOTHING
  const name = Object.entries(ReasonCode).find(([, value]) => value === code)?.[0] ?? ''
  return `0x${code.toString(16).padStart(2, '0')} ${name.toLowerCase().replaceAll('_', ' ')}`.trimEnd()
}
