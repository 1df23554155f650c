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
/** Bits for each grant, so that most beginnings that no filter has are not looked for in a map. */
const BITS = 16

const NONE: readonly Grant[] = []

interface Entry {
  readonly grant: Grant
  /** Place in the list. */
  readonly order: number
}

/** Grants whose filters have the same literal levels in front. */
interface Alike {
  readonly entries: Entry[]
  readonly grants: Grant[]
}

export class GrantIndex {
  readonly #grants: readonly Grant[]
  readonly #filterOf: (grant: Grant) => TopicFilter
  /** By depth, then by hash of the levels before it. Made at the first question: most connections ask few. */
  #byDepth: (Map<number, Alike> | undefined)[] | undefined
  /** A bit for each hash in the maps: what is not there is known of few cache lines, however many grants there are. */
  #bits = new Int32Array(1)
  #found: Alike[] = []
  #entries: Entry[] = []
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
    this.#take(byDepth[0], 0)
    let depth = 0
    let hash = 0
    for (let i = start; i <= end; i++) {
      if (i < end && name[i] !== SLASH) {
        hash = step(hash, name[i]!)
        continue
      }
      depth += 1
      if (depth >= byDepth.length) break
      this.#take(byDepth[depth], hash)
      hash = step(hash, SLASH)
    }
    if (found.length === 0) return NONE
    return found.length === 1 ? found[0]!.grants : this.#merged()
  }

  /** The first grant of the list that matches the name. */
  firstMatch(name: Buffer, start: number, end: number): Grant | undefined {
    const candidates = this.candidates(name, start, end)
    for (let i = 0; i < candidates.length; i++) {
      if (matches(this.#filterOf(candidates[i]!), name, start, end)) return candidates[i]
    }
    return undefined
  }

  #take(lists: Map<number, Alike> | undefined, hash: number): void {
    const bits = this.#bits
    const place = placeOf(hash, bits)
    if ((bits[place >> 5]! & (1 << (place & 31))) === 0) return
    const alike = lists?.get(hash)
    if (alike !== undefined) this.#found.push(alike)
  }

  /** What was found at several depths. */
  #merged(): readonly Grant[] {
    const entries = this.#entries
    const candidates = this.#candidates
    entries.length = 0
    for (const alike of this.#found) for (const entry of alike.entries) entries.push(entry)
    entries.sort(byOrder)
    candidates.length = entries.length
    for (let i = 0; i < entries.length; i++) candidates[i] = entries[i]!.grant
    return candidates
  }

  #build(): (Map<number, Alike> | undefined)[] {
    const bits = new Int32Array(2 ** Math.ceil(Math.log2((this.#grants.length * BITS) / 32)))
    const byDepth: (Map<number, Alike> | undefined)[] = []
    for (const [order, grant] of this.#grants.entries()) {
      const { depth, hash } = prefixOf(this.#filterOf(grant))
      while (byDepth.length <= depth) byDepth.push(undefined)
      const lists = byDepth[depth] ?? new Map<number, Alike>()
      byDepth[depth] = lists
      const alike = lists.get(hash) ?? { entries: [], grants: [] }
      lists.set(hash, alike)
      alike.entries.push({ grant, order })
      alike.grants.push(grant)
      const place = placeOf(hash, bits)
      bits[place >> 5]! |= 1 << (place & 31)
    }
    this.#bits = bits
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

/** Which bit stands for a hash. */
function placeOf(hash: number, bits: Int32Array): number {
  return (hash ^ (hash >>> 15)) & (bits.length * 32 - 1)
}

function byOrder(a: Entry, b: Entry): number {
  return a.order - b.order
}
