import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { MerkleLeaves, MerkleTree, rootOfProof } from '../../src/audit/merkle.ts'
import { chainOf } from './chain.ts'

const sha256 = (...parts: (Buffer | string)[]) =>
  parts.reduce((digest, part) => digest.update(part), createHash('sha256')).digest()
const hex = (bytes: Buffer) => bytes.toString('hex')
const LEAF = Buffer.of(0)
const NODE = Buffer.of(1)

/** The definition of RFC 9162 §2.1.1, word for word. */
function naiveRoot(leaves: readonly Buffer[]): Buffer {
  if (leaves.length === 0) return sha256('')
  if (leaves.length === 1) return leaves[0]!
  let k = 1
  while (k * 2 < leaves.length) k *= 2
  return sha256(NODE, naiveRoot(leaves.slice(0, k)), naiveRoot(leaves.slice(k)))
}

function treeOf(leaves: readonly Buffer[]): MerkleTree {
  const tree = new MerkleTree()
  for (const leaf of leaves) tree.append(hex(leaf))
  return tree
}

const someLeaves = (count: number) => Array.from({ length: count }, (_, i) => sha256(LEAF, String(i)))

describe('AUD-05 the Merkle tree', () => {
  // The inputs and roots that implementations of Certificate Transparency test with.
  const inputs = [
    '',
    '00',
    '10',
    '2021',
    '3031',
    '40414243',
    '5051525354555657',
    '606162636465666768696a6b6c6d6e6f',
  ]
  it.each([
    [1, '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d'],
    [2, 'fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125'],
    [3, 'aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77'],
    [7, 'ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c'],
    [8, '5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328'],
  ])('of %i known leaves has the known root', (count, root) => {
    const leaves = inputs.slice(0, count).map((hex) => sha256(LEAF, Buffer.from(hex, 'hex')))
    expect(treeOf(leaves).root().toString('hex')).toBe(root)
  })

  it('of no leaves is the hash of nothing', () => {
    expect(new MerkleTree().root()).toEqual(sha256(''))
  })

  it('has the hash of a record for its leaf', () => {
    const [line] = chainOf(1)
    const { hash } = JSON.parse(line!) as { hash: string }
    expect(hash).toBe(hex(sha256(LEAF, line!.replace(`,"hash":"${hash}"`, ''))))
  })

  it('grows from any size, with the edge alone', () => {
    fc.assert(
      fc.property(fc.nat(70), fc.nat(70), (before, more) => {
        const leaves = someLeaves(before + more)
        const grown = treeOf(leaves.slice(0, before))
        const resumed = new MerkleTree(grown.size, grown.edge)
        for (const leaf of leaves.slice(before)) resumed.append(hex(leaf))
        expect(resumed.root()).toEqual(naiveRoot(leaves))
      }),
    )
  })

  it('refuses an edge that does not fit the size', () => {
    expect(() => new MerkleTree(3, [])).toThrow(RangeError)
  })
})

describe('AUD-07 inclusion proofs', () => {
  it('lead from every leaf to the root, also where the leaves before are gone, and from no other place', () => {
    fc.assert(
      fc.property(fc.nat(40), fc.integer({ min: 1, max: 40 }), fc.nat(), fc.nat(), (gone, kept, a, b) => {
        const leaves = someLeaves(gone + kept)
        const store = new MerkleLeaves(treeOf(leaves.slice(0, gone)))
        store.leaves.push(...leaves.slice(gone).map(hex))
        const index = gone + (a % kept)
        const size = index + 1 + (b % (gone + kept - index))
        const proof = store.proof(index, size)
        const root = hex(naiveRoot(leaves.slice(0, size)))
        expect(rootOfProof(hex(leaves[index]!), index, size, proof)).toEqual(root)
        for (const other of [index - 1, index + 1].filter((i) => i >= 0 && i < size)) {
          expect(rootOfProof(hex(leaves[index]!), other, size, proof)).not.toEqual(root)
        }
        expect(rootOfProof(hex(leaves[index]!), index, size, [...proof, root])).toBeUndefined()
        if (proof.length > 0)
          expect(rootOfProof(hex(leaves[index]!), index, size, proof.slice(1))).not.toEqual(root)
      }),
      { numRuns: 300 },
    )
  })

  it('exist for no leaf that is not there', () => {
    const store = new MerkleLeaves(treeOf(someLeaves(2)))
    store.leaves.push(hex(sha256('x')))
    expect(() => store.proof(1, 3)).toThrow(RangeError)
    expect(() => store.proof(3, 3)).toThrow(RangeError)
    expect(() => store.proof(2, 4)).toThrow(RangeError)
  })
})
