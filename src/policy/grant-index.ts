// Which grants of a list can match a Topic Name at all, by the literal levels that their filters begin with: the cost of
// a decision depends on the rules about the topic, not on all rules. It only leaves out; `matches` still decides.
//
// Hot path. A filter `a/b/+/c` stands under depth 2 and the hash of `a/b`; a name is asked for at each depth.

import type { Grant } from './layer.ts'
import { matches, type TopicFilter } from './topic-filter.ts'

const SLASH = 0x2f
const PLUS = 0x2b
const HASH = 0x23

/** A list of this length is as fast to walk. */
const SHORT_LIST = 8

interface Entry {
  readonly grant: Grant
  /** Place in the list. */
  readonly order: number
}

export class GrantIndex {
  readonly #grants: readonly Grant[]
  readonly #filterOf: (grant: Grant) => TopicFilter
  /** By depth, then by hash of the levels before it. Made at the first question: most connections ask few. */
  #byDepth: (Map<number, Entry[]> | undefined)[] | undefined
  #found: Entry[] = []
  #candidates: Grant[] = []

  constructor(grants: readonly Grant[], filterOf: (grant: Grant) => TopicFilter) {
    this.#grants = grants
    this.#filterOf = filterOf
  }

  /** Every grant whose filter may match the name, in the order of the list. Valid until the next question. */
  candidates(name: Buffer, start: number, end: number): readonly Grant[] {
    if (this.#grants.length <= SHORT_LIST) return this.#grants
    this.#byDepth ??= this.#build()
    const byDepth = this.#byDepth
    const found = this.#found
    found.length = 0
    let lists = this.#take(byDepth[0], 0)
    let depth = 0
    let hash = 0
    for (let i = start; i <= end; i++) {
      if (i < end && name[i] !== SLASH) {
        hash = step(hash, name[i]!)
        continue
      }
      depth += 1
      if (depth >= byDepth.length) break
      lists += this.#take(byDepth[depth], hash)
      hash = step(hash, SLASH)
    }
    if (lists > 1) found.sort(byOrder)
    const candidates = this.#candidates
    candidates.length = found.length
    for (let i = 0; i < found.length; i++) candidates[i] = found[i]!.grant
    return candidates
  }

  /** The first grant of the list that matches the name. */
  firstMatch(name: Buffer, start: number, end: number): Grant | undefined {
    const candidates = this.candidates(name, start, end)
    for (let i = 0; i < candidates.length; i++) {
      if (matches(this.#filterOf(candidates[i]!), name, start, end)) return candidates[i]
    }
    return undefined
  }

  #take(lists: Map<number, Entry[]> | undefined, hash: number): number {
    const list = lists?.get(hash)
    if (list === undefined) return 0
    for (let i = 0; i < list.length; i++) this.#found.push(list[i]!)
    return 1
  }

  #build(): (Map<number, Entry[]> | undefined)[] {
    const byDepth: (Map<number, Entry[]> | undefined)[] = []
    for (const [order, grant] of this.#grants.entries()) {
      const { depth, hash } = prefixOf(this.#filterOf(grant))
      while (byDepth.length <= depth) byDepth.push(undefined)
      const lists = byDepth[depth] ?? new Map<number, Entry[]>()
      byDepth[depth] = lists
      const list = lists.get(hash)
      if (list === undefined) lists.set(hash, [{ grant, order }])
      else list.push({ grant, order })
    }
    return byDepth
  }
}

/** How many whole levels every matching name begins with, and their hash. */
function prefixOf(filter: TopicFilter): { depth: number; hash: number } {
  const { bytes, exact } = filter
  let depth = 0
  let prefix = 0
  let hash = 0
  for (let i = 0; i <= bytes.length; i++) {
    const byte = bytes[i]
    if (i === bytes.length || byte === SLASH) {
      depth += 1
      prefix = hash
      hash = step(hash, SLASH)
    } else if (!exact && (byte === PLUS || byte === HASH)) break
    else hash = step(hash, byte!)
  }
  return { depth, hash: prefix }
}

function step(hash: number, byte: number): number {
  return (Math.imul(hash, 31) + byte + 1) | 0
}

function byOrder(a: Entry, b: Entry): number {
  return a.order - b.order
}
