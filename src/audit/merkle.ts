// The Merkle tree over the records of a chain, RFC 9162 §2.1 (the same as RFC 6962): leaf i is the record with seq i + 1,
// whose `hash` is the leaf's. Pure; docs/audit-format.md. Hashes are lower-case hex: Node makes those fastest.

import { hash } from 'node:crypto'

const NODE = 0x01
const nodeInput = Buffer.alloc(65, NODE)

function nodeHash(left: string, right: string): string {
  nodeInput.write(left, 1, 'hex')
  nodeInput.write(right, 33, 'hex')
  return hash('sha256', nodeInput)
}

/** A tree that only grows: it keeps the hashes of its perfect subtrees, at most one for each bit of its size. */
export class MerkleTree {
  #size: number
  readonly #edge: string[]

  /** @param edge hashes of the perfect subtrees of `size` leaves, the largest first; as many as `size` has one bits */
  constructor(size = 0, edge: readonly string[] = []) {
    if (edge.length !== subtrees(size).length)
      throw new RangeError('a tree of this size has another number of subtrees')
    this.#size = size
    this.#edge = [...edge]
  }

  get size(): number {
    return this.#size
  }

  get edge(): readonly string[] {
    return this.#edge
  }

  append(leaf: string): void {
    let node = leaf
    // As in binary addition: a carry for each subtree that has a twin now.
    for (let n = this.#size; n % 2 === 1; n = (n - 1) / 2) node = nodeHash(this.#edge.pop()!, node)
    this.#edge.push(node)
    this.#size += 1
  }

  /** 32 bytes. */
  root(): Buffer {
    if (this.#size === 0) return hash('sha256', '', 'buffer')
    return Buffer.from(
      this.#edge.reduceRight((right, left) => nodeHash(left, right)),
      'hex',
    )
  }
}

/** Sizes of the perfect subtrees of a tree, the largest first. */
function subtrees(size: number): number[] {
  const sizes: number[] = []
  for (let power = 1, rest = size; rest > 0; power *= 2, rest = Math.floor(rest / 2)) {
    if (rest % 2 === 1) sizes.unshift(power)
  }
  return sizes
}

/** Leaves from `first` on, with the edge of the tree before them: enough to prove that one of them is in the tree. */
export class MerkleLeaves {
  readonly first: number
  readonly leaves: string[] = []
  /** Subtrees before `first`, by `start:end`. */
  readonly #before = new Map<string, string>()

  constructor(before: MerkleTree) {
    this.first = before.size
    let start = 0
    subtrees(before.size).forEach((size, i) => {
      this.#before.set(`${start}:${start + size}`, before.edge[i]!)
      start += size
    })
  }

  get size(): number {
    return this.first + this.leaves.length
  }

  /** Inclusion proof of leaf `index` in the tree of the first `size` leaves. RFC 9162 §2.1.3.1 */
  proof(index: number, size: number): string[] {
    if (index < this.first || index >= size || size > this.size) throw new RangeError('no such leaf')
    return this.#path(index, 0, size)
  }

  #path(index: number, start: number, end: number): string[] {
    if (end - start === 1) return []
    const middle = start + largestPowerBelow(end - start)
    if (index < middle) return [...this.#path(index, start, middle), this.#hash(middle, end)]
    return [...this.#path(index, middle, end), this.#hash(start, middle)]
  }

  #hash(start: number, end: number): string {
    const known = this.#before.get(`${start}:${end}`)
    if (known !== undefined) return known
    if (end - start === 1) return this.leaves[start - this.first]!
    const middle = start + largestPowerBelow(end - start)
    return nodeHash(this.#hash(start, middle), this.#hash(middle, end))
  }
}

/** @returns the root that leaf and proof lead to, or undefined when the proof has the wrong length. RFC 9162 §2.1.3.2 */
export function rootOfProof(
  leaf: string,
  index: number,
  size: number,
  proof: readonly string[],
): string | undefined {
  if (index >= size) return undefined
  let fn = index
  let sn = size - 1
  let root = leaf
  for (const node of proof) {
    if (sn === 0) return undefined
    if (fn % 2 === 1 || fn === sn) {
      root = nodeHash(node, root)
      while (fn % 2 === 0 && fn !== 0) {
        fn /= 2
        sn = Math.floor(sn / 2)
      }
    } else root = nodeHash(root, node)
    fn = Math.floor(fn / 2)
    sn = Math.floor(sn / 2)
  }
  return sn === 0 ? root : undefined
}

function largestPowerBelow(n: number): number {
  let power = 1
  while (power * 2 < n) power *= 2
  return power
}
