// A proof that one record is in a log of which somebody holds a checkpoint: the record, its place, and the hashes that
// lead from it to the root; of a batch the same for its models. Checking it needs neither the log nor Postern.
// RFC 9162 §2.1.3; docs/audit-format.md.

import { ChainVerifier } from '../audit/hash-chain.ts'
import { MerkleLeaves, MerkleTree, rootOfProof } from '../audit/merkle.ts'
import { Models, ModelWindow } from '../audit/models.ts'
import type { AuditRecord, ChainHead, WrittenRecord } from '../audit/record.ts'
import { readRecord } from '../audit/record-reader.ts'
import { readLog } from '../audit/segments.ts'
import { type Checkpoint, type NoteVerifier, openCheckpoint } from '../audit/signed-note.ts'

/** That a record is in a tree. */
interface Inclusion {
  /** The line of the record, without its newline. */
  record: string
  /** Place in the tree, from 0: `seq` less one. */
  index: number
  /** Base64 hashes, from the leaf's sibling up. */
  path: readonly string[]
}

/** As it stands in a file, in JSON. */
export interface InclusionProof extends Inclusion {
  /** Of a batch: the records that its entries refer to. */
  models?: readonly Inclusion[]
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
  let record: Buffer | undefined
  let models: Buffer[] | undefined
  let before: ChainHead | undefined
  for (const file of files) {
    const window = new ModelWindow<Buffer>()
    const verifier = new ChainVerifier({
      before,
      partial: before === undefined,
      onRecord: (link, _, read) => {
        leaves ??= leavesFrom(read())
        if (leaves === undefined || leaves.size >= opened.size) return
        leaves.leaves.push(link.hash)
        if (link.model === true && link.seq <= seq) window.add(link.seq, lineOf(read()))
        if (link.seq !== seq) return
        record = lineOf(read())
        models = link.as && [...new Set(link.as)].flatMap((as) => window.get(as) ?? [])
      },
    })
    for await (const chunk of readLog(file)) verifier.push(chunk as Buffer)
    const report = verifier.end()
    if (!report.ok) return `${file} is bad in line ${report.line}: ${report.message}`
    before = report.head
  }
  if (leaves === undefined || leaves.size < opened.size) return 'The log is shorter than the checkpoint says.'
  if (record === undefined) return `There is no record with seq ${seq} in these files.`
  const own = inclusionOf(record, leaves, opened.size)
  const proof: InclusionProof = { ...own, checkpoint }
  if (models !== undefined) proof.models = inclusionsOf(models, leaves, opened.size)
  const problem = checkProof(proof, verifiers)
  return typeof problem === 'string' ? problem : proof
}

function leavesFrom(first: WrittenRecord): MerkleLeaves | undefined {
  if (first.seq === 1) return new MerkleLeaves(new MerkleTree())
  const edge = first.segment?.tree
  return edge === undefined ? undefined : new MerkleLeaves(new MerkleTree(first.seq - 1, edge))
}

/** A record that was read is canonical, so this is its line again. */
const lineOf = (record: WrittenRecord): Buffer => Buffer.from(JSON.stringify(record))

function inclusionOf(line: Buffer, leaves: MerkleLeaves, size: number): Inclusion {
  const record = line.toString()
  const index = (JSON.parse(record) as WrittenRecord).seq - 1
  const path = leaves.proof(index, size).map((node) => Buffer.from(node, 'hex').toString('base64'))
  return { record, index, path }
}

function inclusionsOf(lines: readonly Buffer[], leaves: MerkleLeaves, size: number): Inclusion[] {
  return lines.map((line) => inclusionOf(line, leaves, size))
}

/** @returns the record, whole (of a batch one for each entry), and the size of the tree; or what is wrong, as a sentence */
export function checkProof(
  proof: InclusionProof,
  verifiers: readonly NoteVerifier[],
): { records: AuditRecord[]; size: number } | string {
  const opened = openCheckpoint(proof.checkpoint, verifiers)
  if (typeof opened === 'string') return `The checkpoint is no use. ${opened}`
  const record = included(proof, opened)
  if (typeof record === 'string') return `The ${record}`
  const models = new Models()
  for (const inclusion of proof.models ?? []) {
    const model = included(inclusion, opened)
    if (typeof model === 'string') return `A model's ${model}`
    models.records(model)
  }
  const records = models.records(record)
  if (record.action === undefined && records.length < record.batch.length) {
    return 'The record is a batch, and a model of it is missing.'
  }
  return { records, size: opened.size }
}

function included(
  { record: line, index, path }: Inclusion,
  { size, root }: Checkpoint,
): WrittenRecord | string {
  const record = readRecord(Buffer.from(line))
  if (typeof record === 'string') return 'record is not intact.'
  if (record.seq !== index + 1) return 'record belongs to another place.'
  const nodes = path.map((node) => Buffer.from(node, 'base64').toString('hex'))
  if (rootOfProof(record.hash, index, size, nodes) === root.toString('hex')) return record
  return 'path does not lead to the root of the checkpoint.'
}

/** @returns undefined for what is no proof */
export function parseProof(text: string): InclusionProof | undefined {
  try {
    const proof = JSON.parse(text) as Partial<InclusionProof>
    const good =
      typeof proof.checkpoint === 'string' &&
      isInclusion(proof) &&
      (proof.models === undefined || (Array.isArray(proof.models) && proof.models.every(isInclusion)))
    return good ? (proof as InclusionProof) : undefined
  } catch {
    return undefined
  }
}

function isInclusion(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false
  const { record, index, path } = value as Partial<Inclusion>
  return (
    typeof record === 'string' &&
    Number.isSafeInteger(index) &&
    index! >= 0 &&
    Array.isArray(path) &&
    path.every((node) => typeof node === 'string' && Buffer.from(node, 'base64').length === 32)
  )
}
