// The marks of this replica and those of the others, by way of the store: what one orders, all carry out. What the store
// has not got yet, because it was down, is written into it as soon as it is back; what is of no more use leaves it.

import type { MarkHolder, SharedMark, Store } from '../store/store.ts'
import type { Mark } from './marks.ts'
import type { Revocations } from './revocations.ts'
import { facetsOf, type Selector } from './selector.ts'

/** How long it is kept in mind that somebody was enabled: a replica that comes back after longer may not know it. */
export const KEEP_ENABLED_MS = 30 * 24 * 3_600_000

export class Replication implements MarkHolder {
  readonly #store: Pick<Store, 'join'>
  readonly #revocations: Revocations
  readonly #now: () => number
  readonly #keepMs: number

  /** @param longestLifeMs as of Marks */
  constructor(
    store: Pick<Store, 'join'>,
    revocations: Revocations,
    now: () => number,
    longestLifeMs: number,
  ) {
    this.#store = store
    this.#revocations = revocations
    this.#now = now
    this.#keepMs = Math.max(KEEP_ENABLED_MS, longestLifeMs)
  }

  /** @throws PosternError `ERR_STORE` */
  async share(mark: Mark): Promise<void> {
    await this.#store.join(sharedOf(mark))
  }

  loaded(theirs: readonly SharedMark[]): { missing: readonly SharedMark[]; useless: readonly SharedMark[] } {
    const known = new Map(theirs.map((mark) => [mark.key, mark]))
    for (const mark of theirs) this.#takeIn(mark, false)
    const oldest = this.#now() - this.#keepMs
    return {
      missing: this.#revocations.shared.map(sharedOf).filter((ours) => isAhead(ours, known.get(ours.key))),
      useless: theirs.filter(({ disabled, before, word }) => !disabled && before < oldest && word < oldest),
    }
  }

  changed(mark: SharedMark): void {
    this.#takeIn(mark, true)
  }

  #takeIn({ body, before, at, disabled, word, key }: SharedMark, isNews: boolean): void {
    const selector = selectorIn(body)
    if (selector === undefined || keyOf(selector) !== key) return
    const beforeMs = before === 0 ? undefined : before
    this.#revocations.takeIn({ selector, beforeMs, atMs: at, disabled, wordMs: word }, isNews)
  }
}

function keyOf(selector: Selector): string {
  return facetsOf(selector).join('\n')
}

function sharedOf({ selector, beforeMs = 0, atMs, disabled, wordMs }: Mark): SharedMark {
  const whole = { before: Math.ceil(beforeMs), at: Math.floor(atMs), word: Math.ceil(wordMs) }
  return { key: keyOf(selector), ...whole, disabled, body: JSON.stringify(selector) }
}

function isAhead(ours: SharedMark, theirs: SharedMark | undefined): boolean {
  return theirs === undefined || ours.before > theirs.before || ours.word > theirs.word
}

/** undefined: none that this version can read. */
function selectorIn(body: string): Selector | undefined {
  try {
    const selector = JSON.parse(body) as Selector
    return typeof selector === 'object' && selector !== null ? selector : undefined
  } catch {
    return undefined
  }
}
