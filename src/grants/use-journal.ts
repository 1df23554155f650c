// The uses of grants on disk: one JSON object per line and use, on disk before the use counts as taken; the grants that
// have expired are left out when the file is written anew.

import type { Clock } from '../clock.ts'
import { type Entries, JournalFile } from '../journal-file.ts'
import type { Take, UsedGrants } from './used-grants.ts'

const VERSION = 1
/** A clock that was set back must not bring a grant back that was forgotten: so much longer it is remembered. */
const GRACE_MS = 3_600_000
const SWEEP_EVERY_MS = 60_000

interface Uses {
  count: number
  expiresAtMs: number
}

export class UseJournal implements UsedGrants, Entries {
  readonly #clock: Clock
  readonly #uses = new Map<string, Uses>()
  #file!: JournalFile
  #nextSweepMs = 0

  private constructor(clock: Clock) {
    this.#clock = clock
  }

  /** @throws PosternError `ERR_GRANTS`, see JournalFile */
  static async open(path: string, clock: Clock): Promise<UseJournal> {
    const journal = new UseJournal(clock)
    journal.#file = await JournalFile.open(path, 'ERR_GRANTS', journal)
    return journal
  }

  async take(key: string, maxUses: number, expiresAtMs: number): Promise<Take> {
    if (this.#clock.now() >= this.#nextSweepMs) this.#sweep()
    const known = this.#uses.get(key)
    if (known !== undefined && known.count >= maxUses) return 'spent'
    // Counted before it is written, so that who asks meanwhile sees it; and not given back when that fails, for the
    // line may be on disk all the same.
    this.#count(key, expiresAtMs)
    return this.#file.append(lineOf(key, expiresAtMs)).then(
      () => 'taken',
      () => 'unavailable',
    )
  }

  close(): Promise<void> {
    return this.#file.close()
  }

  restore(line: string): boolean {
    const use = useIn(line)
    if (use !== undefined) this.#count(use.grant, use.exp)
    return use !== undefined
  }

  lines(): string[] {
    this.#sweep()
    return [...this.#uses].flatMap(([key, { count, expiresAtMs }]) =>
      new Array<string>(count).fill(lineOf(key, expiresAtMs)),
    )
  }

  needed(): number {
    let lines = 0
    for (const { count } of this.#uses.values()) lines += count
    return lines
  }

  #count(key: string, expiresAtMs: number): void {
    const uses = this.#uses.get(key)
    if (uses === undefined) this.#uses.set(key, { count: 1, expiresAtMs })
    else uses.count += 1
  }

  #sweep(): void {
    const now = this.#clock.now()
    this.#nextSweepMs = now + SWEEP_EVERY_MS
    for (const [key, { expiresAtMs }] of this.#uses) {
      if (expiresAtMs + GRACE_MS < now) this.#uses.delete(key)
    }
  }
}

function lineOf(grant: string, exp: number): string {
  return `${JSON.stringify({ v: VERSION, grant, exp })}\n`
}

function useIn(line: string): { grant: string; exp: number } | undefined {
  try {
    const use = JSON.parse(line) as { v: unknown; grant: unknown; exp: unknown }
    const known = use.v === VERSION && typeof use.grant === 'string' && Number.isFinite(use.exp)
    return known ? (use as { grant: string; exp: number }) : undefined
  } catch {
    return undefined
  }
}
