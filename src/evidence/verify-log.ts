// Proves a log of many segments against itself and against checkpoints kept elsewhere. docs/audit-format.md says what
// is checked; hash-chain.ts checks one file.

import { type ChainReport, ChainVerifier } from '../audit/hash-chain.ts'
import { MerkleTree } from '../audit/merkle.ts'
import type { AuditRecord, ChainHead, WrittenRecord } from '../audit/record.ts'
import { readLog } from '../audit/segments.ts'
import type { OpenedCheckpoint } from '../audit/signed-note.ts'

export interface VerifyOptions {
  /** Accept a first file that begins in the middle of a chain. */
  partial: boolean
  /** A record that the last file must hold. */
  known?: ChainHead | undefined
  /** Signed by keys that the caller trusts. */
  checkpoints?: readonly OpenedCheckpoint[] | undefined
  /** Told of each file when it is done, and now and then within one. */
  onFile?: (file: string, report: ChainReport) => void
  /** A file could not be read; without it the error is thrown. */
  onUnreadable?: (file: string, error: unknown) => void
  onProgress?: (file: string, records: number) => void
}

export interface LogReport {
  ok: boolean
  /** What is wrong with the log as a whole, beside the files, as sentences. */
  problems: string[]
  /** Checkpoints that the log holds, and those older than its first record. */
  confirmed: number
  tooOld: number
  /** Files that could not be read. */
  unreadable: number
}

const PROGRESS_BYTES = 256 * 1024 * 1024

export async function verifyLog(files: readonly string[], options: VerifyOptions): Promise<LogReport> {
  const witness = new Witness(options.checkpoints ?? [])
  const problems: string[] = []
  let ok = true
  let unreadable = 0
  let before: ChainHead | undefined
  for (const [i, file] of files.entries()) {
    witness.beginFile()
    let report: ChainReport
    try {
      report = await verifyFile(file, witness, {
        ...options,
        before,
        // Only the whole log tells whether the files before it were removed by its own rule.
        partial: i === 0,
        known: i === files.length - 1 ? options.known : undefined,
      })
    } catch (error) {
      if (options.onUnreadable === undefined) throw error
      options.onUnreadable(file, error)
      unreadable += 1
      before = undefined
      witness.lose()
      continue
    }
    const told = i === 0 && !options.partial ? judgeStart(report, witness) : report
    options.onFile?.(file, told)
    ok &&= told.ok
    before = told.ok ? told.head : undefined
    if (!told.ok) witness.lose()
  }
  const removed = witness.missingSegments()
  if (removed !== undefined && !options.partial) problems.push(removed)
  problems.push(...witness.end())
  ok &&= problems.length === 0 && unreadable === 0
  return { ok, problems, confirmed: witness.confirmed, tooOld: witness.tooOld, unreadable }
}

/** The first file was read as if it might begin anywhere: a segment may, because its forerunners may have been removed. */
function judgeStart(report: ChainReport, witness: Witness): ChainReport {
  if (!report.ok) return report.seq === 0 ? { ...report, seq: 1 } : report
  return report.begins === 'middle' && witness.segment === undefined ? missingStart(report.first) : report
}

function missingStart(seq: number): ChainReport {
  const message = `The file begins with seq ${seq}; the records before it are missing.`
  return { ok: false, fault: 'missing_start', line: 1, seq: 0, message }
}

async function verifyFile(
  file: string,
  witness: Witness,
  options: Pick<VerifyOptions, 'known' | 'partial' | 'onProgress'> & { before: ChainHead | undefined },
): Promise<ChainReport> {
  const verifier = new ChainVerifier({
    before: options.before,
    partial: options.partial,
    known: options.known,
    onRecord: (link, own, read) => witness.take(link, own, read),
  })
  let read = 0
  for await (const chunk of readLog(file)) {
    verifier.push(chunk as Buffer)
    if (verifier.done) break
    const mark = Math.floor(read / PROGRESS_BYTES)
    read += (chunk as Buffer).length
    if (Math.floor(read / PROGRESS_BYTES) > mark) options.onProgress?.(file, verifier.records)
  }
  return verifier.end()
}

/** Watches the records for what concerns the log as a whole. */
class Witness {
  confirmed = 0
  tooOld = 0
  /** Number of the segment being read, where its first record says it. */
  segment: number | undefined
  /** Of the first file. */
  #firstSegment: number | undefined
  #oldest = 1
  #tree: MerkleTree | undefined
  #seq = 0
  #signer: string | undefined
  #files = 0
  #fileBegins = false
  readonly #wanted: OpenedCheckpoint[]
  readonly #problems: string[] = []

  constructor(checkpoints: readonly OpenedCheckpoint[]) {
    this.#wanted = [...checkpoints].sort((a, b) => a.size - b.size)
  }

  beginFile(): void {
    this.#files += 1
    this.#fileBegins = true
  }

  take(link: ChainHead, own: AuditRecord | undefined, read: () => WrittenRecord): void {
    if (this.#fileBegins) this.#begin(read())
    if (own !== undefined) {
      this.#signer = own.signer ?? this.#signer
      this.#oldest = Math.max(this.#oldest, own.segment?.oldest ?? 1)
    }
    this.#seq = link.seq
    if (this.#wanted.length === 0 || this.#tree === undefined) return
    this.#tree.append(link.hash)
    while (this.#wanted[0]?.size === link.seq) this.#compare(this.#wanted.shift()!)
  }

  #begin(first: WrittenRecord): void {
    this.#fileBegins = false
    this.segment = first.segment?.number
    if (this.#files > 1) return
    this.#firstSegment = this.segment ?? 1
    const edge = first.segment?.tree
    if (first.seq === 1) this.#tree = new MerkleTree()
    else if (edge !== undefined) this.#tree = treeOf(first.seq - 1, edge)
    while ((this.#wanted[0]?.size ?? first.seq) < first.seq) {
      this.#wanted.shift()
      this.tooOld += 1
    }
  }

  /** A file is bad: what comes behind it says nothing about checkpoints. */
  lose(): void {
    this.#tree = undefined
  }

  #compare(checkpoint: OpenedCheckpoint): void {
    const { size, root, signedBy } = checkpoint
    if (!this.#tree!.root().equals(root)) {
      this.#problems.push(`The first ${size} records are not those of the checkpoint: the log was rewritten.`)
    } else if (!signedBy.some((key) => key.text === this.#signer)) {
      this.#problems.push(
        `The checkpoint of ${size} records is signed by a key that was not in force there, but replaced or not yet announced.`,
      )
    } else this.confirmed += 1
  }

  /** Segments that are gone although no record says so. */
  missingSegments(): string | undefined {
    if (this.#firstSegment === undefined || this.#firstSegment <= this.#oldest) return undefined
    return `Segments ${this.#oldest} to ${this.#firstSegment - 1} are missing, and the log does not say that they were removed.`
  }

  end(): string[] {
    for (const { size } of this.#wanted) {
      this.#problems.push(
        this.#tree !== undefined || size > this.#seq
          ? `The tail was cut off: a checkpoint of ${size} records was made, but the log ends at seq ${this.#seq}.`
          : `The checkpoint of ${size} records cannot be compared: the records before it are not proven.`,
      )
    }
    return this.#problems
  }
}

function treeOf(size: number, edge: readonly string[]): MerkleTree | undefined {
  try {
    return new MerkleTree(size, edge)
  } catch {
    return undefined
  }
}
