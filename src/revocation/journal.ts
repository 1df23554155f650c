// The marks on disk: one JSON object per line, on disk before anybody is told that a revocation is done; what is of no
// more use is left out when the file is written anew.

import { PosternError } from '../errors.ts'
import { JournalFile } from '../journal-file.ts'
import type { Mark, Marks } from './marks.ts'
import type { SeenEvents } from './seen-events.ts'
import type { Selector } from './selector.ts'

/** One line: what was done to a selector. Times are milliseconds since the epoch. */
export interface Entry {
  do: 'revoke' | 'disable' | 'enable'
  selector: Selector
  /** With `revoke`: tokens issued at or before this instant. */
  before?: number
  /** When the order was given. */
  at?: number
}

/** One line: a security event that was acted on. */
export interface Seen {
  do: 'seen'
  event: string
  at: number
}

const VERSION = 1

export class Journal {
  readonly #file: JournalFile

  private constructor(file: JournalFile) {
    this.#file = file
  }

  /**
   * Reads the file into `marks` and `seen`.
   *
   * @throws PosternError `ERR_REVOCATIONS`, see JournalFile
   */
  static async open(path: string, marks: Marks, seen: SeenEvents): Promise<Journal> {
    const restore = (line: string): boolean => {
      const entry = entryIn(line)
      if (entry?.do === 'seen') seen.add(entry.event, entry.at)
      else if (entry !== undefined) apply(marks, entry)
      return entry !== undefined
    }
    const lines = (): string[] => {
      const events = seen.entries().map(([event, at]): Seen => ({ do: 'seen', event, at }))
      return [...marks.entries().flatMap(entriesOf), ...events].map(lineOf)
    }
    const needed = (): number => 2 * (marks.size + seen.size)
    return new Journal(await JournalFile.open(path, 'ERR_REVOCATIONS', { restore, lines, needed }))
  }

  /** Resolves when the line is on disk. What it says is in `marks` and `seen` already. @throws PosternError */
  async append(entry: Entry | Seen): Promise<void> {
    try {
      await this.#file.append(lineOf(entry))
    } catch (cause) {
      const message = 'a revocation cannot be written to disk'
      throw new PosternError('ERR_REVOCATIONS', 'internal', message, { cause })
    }
  }

  close(): Promise<void> {
    return this.#file.close()
  }
}

export function apply(marks: Marks, { do: what, selector, before, at }: Entry): void {
  if (what === 'revoke') marks.revoke(selector, before!, at)
  else marks[what](selector, at)
}

/** What makes this mark of nothing. */
export function entriesOf({ selector, beforeMs, atMs, disabled, wordMs }: Mark): Entry[] {
  const entries: Entry[] = []
  if (beforeMs !== undefined) entries.push({ do: 'revoke', selector, before: beforeMs, at: atMs })
  // Whoever is enabled has been disabled before: only so is it a mark at all.
  if (wordMs > 0) entries.push({ do: 'disable', selector, at: disabled ? wordMs : wordMs - 1 })
  if (wordMs > 0 && !disabled) entries.push({ do: 'enable', selector, at: wordMs })
  return entries
}

function lineOf(entry: Entry | Seen): string {
  return `${JSON.stringify({ v: VERSION, ...entry })}\n`
}

function entryIn(line: string): Entry | Seen | undefined {
  try {
    const entry = JSON.parse(line) as (Entry | Seen) & { v: unknown }
    if (entry.v !== VERSION) return undefined
    if (entry.do === 'seen')
      return typeof entry.event === 'string' && Number.isFinite(entry.at) ? entry : undefined
    if (entry.at !== undefined && !Number.isFinite(entry.at)) return undefined
    if (typeof entry.selector !== 'object' || entry.selector === null) return undefined
    if (Object.keys(entry.selector).length === 0) return undefined
    if (entry.do === 'revoke') return Number.isFinite(entry.before) ? entry : undefined
    return entry.do === 'disable' || entry.do === 'enable' ? entry : undefined
  } catch {
    return undefined
  }
}
