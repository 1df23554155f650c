// A proof that one record is in a log of which somebody holds a checkpoint: the record, its place, and the hashes that
// lead from it to the root. Checking it needs neither the log nor Postern. RFC 9162 §2.1.3; docs/audit-format.md.

import { ChainVerifier } from '../audit/hash-chain.ts'
import { leafHash, MerkleLeaves, MerkleTree, rootOfProof } from '../audit/merkle.ts'
import type { ChainHead } from '../audit/record.ts'
import { readRecord } from '../audit/record-reader.ts'
import { readLog } from '../audit/segments.ts'
import { type NoteVerifier, openCheckpoint } from '../audit/signed-note.ts'

/** As it stands in a file, in JSON. */
export interface InclusionProof {
  /** The line of the record, without its newline. */
  record: string
  /** Place in the tree, from 0: `seq` less one. */
  index: number
  /** Base64 hashes, from the leaf's sibling up. */
  path: readonly string[]
  /** The signed note. */
  checkpoint: string
}

/**
 * @param files a whole log, or what retention left of it
 * @returns the proof, or why there is none, as a sentence
 */
export async function proveRecord(
  files: readonly string[],
  seq: number,
  checkpoint: string,
  verifiers: readonly NoteVerifier[],
): Promise<InclusionProof | string> {
  const opened = openCheckpoint(checkpoint, verifiers)
  if (typeof opened === 'string') return `The checkpoint is no use. ${opened}`
  if (seq > opened.size) return `The checkpoint is of ${opened.size} records: the record came later.`
  let leaves: MerkleLeaves | undefined
  let record: string | undefined
  let before: ChainHead | undefined
  for (const file of files) {
    const verifier = new ChainVerifier({
      before,
      partial: before === undefined,
      onRecord: (link, _, read) => {
        leaves ??= leavesFrom(read())
        if (leaves === undefined || leaves.size >= opened.size) return
        leaves.leaves.push(leafHash(link.hash))
        if (link.seq === seq) record = JSON.stringify(read())
      },
    })
    for await (const chunk of readLog(file)) verifier.push(chunk as Buffer)
    const report = verifier.end()
    if (!report.ok) return `${file} is bad in line ${report.line}: ${report.message}`
    before = report.head
  }
  if (leaves === undefined || leaves.size < opened.size) return 'The log is shorter than the checkpoint says.'
  if (record === undefined) return `There is no record with seq ${seq} in these files.`
  const path = leaves.proof(seq - 1, opened.size)
  const proof = {
    record,
    index: seq - 1,
    path: path.map((node) => node.toString('base64')),
    checkpoint,
  }
  const problem = checkProof(proof, verifiers)
  return typeof problem === 'string' ? problem : proof
}

function leavesFrom(first: {
  seq: number
  segment?: { tree?: readonly string[] } | undefined
}): MerkleLeaves | undefined {
  if (first.seq === 1) return new MerkleLeaves(new MerkleTree())
  const edge = first.segment?.tree?.map((node) => Buffer.from(node, 'hex'))
  return edge === undefined ? undefined : new MerkleLeaves(new MerkleTree(first.seq - 1, edge))
}

/** @returns seq and size of the tree, or what is wrong, as a sentence */
export function checkProof(
  proof: InclusionProof,
  verifiers: readonly NoteVerifier[],
): { seq: number; size: number } | string {
  const opened = openCheckpoint(proof.checkpoint, verifiers)
  if (typeof opened === 'string') return `The checkpoint is no use. ${opened}`
  const record = readRecord(Buffer.from(proof.record))
  if (typeof record === 'string') return 'The record is not intact.'
  if (record.seq !== proof.index + 1) return 'The record belongs to another place.'
  const path = proof.path.map((node) => Buffer.from(node, 'base64'))
  const root = rootOfProof(leafHash(record.hash), proof.index, opened.size, path)
  if (root?.equals(opened.root) !== true) return 'The path does not lead to the root of the checkpoint.'
  return { seq: record.seq, size: opened.size }
}

/** @returns undefined for what is no proof */
export function parseProof(text: string): InclusionProof | undefined {
  try {
    const { record, index, path, checkpoint } = JSON.parse(text) as Partial<InclusionProof>
    const good =
      typeof record === 'string' &&
      Number.isSafeInteger(index) &&
      index! >= 0 &&
      typeof checkpoint === 'string' &&
      Array.isArray(path) &&
      path.every((node) => typeof node === 'string' && Buffer.from(node, 'base64').length === 32)
    return good ? { record, index: index!, path: path as string[], checkpoint } : undefined
  } catch {
    return undefined
  }
}
