// Opens an audit file to continue its chain: takes its lock, proves the file that is being written, and finds what a
// crash left behind it, which segment it is, and the Merkle tree of all records so far. Appends nothing.

import { createHash } from 'node:crypto'
import { closeSync, fstatSync, readSync } from 'node:fs'
import { dirname } from 'node:path'
import { PosternError } from '../errors.ts'
import { type AuditFile, LockedFile, openForAppend, syncDirectory } from './audit-file.ts'
import { type FileLock, lockFile } from './file-lock.ts'
import { type ChainOptions, ChainVerifier } from './hash-chain.ts'
import { MerkleTree } from './merkle.ts'
import { type ChainHead, GENESIS, MAX_RECORD_BYTES, type WrittenRecord } from './record.ts'
import { readRecord } from './record-reader.ts'
import { clearLeftovers, closedSegments, type Retention, readLog, type Segment } from './segments.ts'
import type { Checkpoint } from './signed-note.ts'

/** How the file ended when it was opened, and what the chain had come to. */
export interface Tail {
  head: ChainHead
  /** The last line lacks its newline. */
  unterminated: boolean
  /** Bytes behind the last record that are no record. */
  torn: { bytes: number; sha256: string } | undefined
  /** Number of the file being written, from 1. */
  segment: number
  /** Number of the oldest segment that is there. */
  oldest: number
  /** The file has no record, but closed segments exist: its first record must say which one it is. */
  begins: boolean
  /** Bytes in the file. */
  size: number
  /** When its first record was written, milliseconds since the epoch; undefined without records. */
  begunMs: number | undefined
  /** Over all records; undefined when not asked for. */
  tree: MerkleTree | undefined
  /** Verification key in force, by the records. */
  signer: string | undefined
}

export interface OpenOptions {
  retention: Retention
  /** Build the Merkle tree. */
  withTree: boolean
  /** The last checkpoint that was made of this log, when it is known: a log that does not hold it is refused. */
  last?: Checkpoint | undefined
  /** A closed segment could not be compressed or removed. */
  segmentFailed: (error: Error) => void
}

const NEWLINE = 0x0a
const READ_BYTES = 256 * 1024
/** How every record begins. A file without any record that begins otherwise was never an audit log. */
const RECORD_START = Buffer.from('{"action":"')

/**
 * Creates the file (mode 0600) or opens it to continue its chain.
 *
 * @throws PosternError `ERR_AUDIT_LOCKED`, `ERR_AUDIT_OPEN`, or `ERR_AUDIT_TAIL` when the file is not an intact audit
 *   log, so that nothing is appended to evidence of tampering or to another file.
 */
export async function openAuditFile(
  path: string,
  options: OpenOptions,
): Promise<{ file: AuditFile; tail: Tail }> {
  let lock: FileLock | undefined
  let fd: number | undefined
  try {
    lock = lockFile(path)
    clearLeftovers(path)
    fd = openForAppend(path)
    const stat = fstatSync(fd)
    if (!stat.isFile()) throw tailError(path, 'is not a regular file')
    if (stat.size === 0) syncDirectory(dirname(path))
    const tail = await readChain(path, fd, stat.size, options)
    const file = new LockedFile(path, fd, lock, options.retention, options.segmentFailed)
    file.tidy(1)
    return { file, tail }
  } catch (cause) {
    if (fd !== undefined) closeSync(fd)
    lock?.release()
    if (cause instanceof PosternError) throw cause
    const reason = (cause as NodeJS.ErrnoException).code ?? 'unknown error'
    const message = `The audit log ${path} cannot be opened: ${reason}.`
    throw new PosternError('ERR_AUDIT_OPEN', 'internal', message, { cause })
  }
}

async function readChain(path: string, fd: number, size: number, options: OpenOptions): Promise<Tail> {
  const closed = closedSegments(path)
  const end = readEnd(fd, size, path)
  const state = new ChainState()
  const begins = end.good === 0 && closed.length > 0
  const last = closed.at(-1)
  if (begins) await replay(last!, undefined, state, path)
  else replayOpen(fd, end, state, path)
  let tree: MerkleTree | undefined
  if (options.withTree) {
    const replayed = begins ? closed.slice(0, -1) : closed
    tree = await treeOf(state, replayed, options.last, path)
  }
  if (options.last !== undefined && options.last.size > state.head.seq) {
    throw tailError(
      path,
      `ends at seq ${state.head.seq}, but a checkpoint of ${options.last.size} records was made of it`,
    )
  }
  return {
    head: state.head,
    unterminated: end.unterminated,
    torn: end.torn,
    segment: begins ? last!.number + 1 : (state.first?.segment?.number ?? 1),
    oldest: closed[0]?.number ?? (begins ? 1 : (state.first?.segment?.number ?? 1)),
    begins,
    size,
    begunMs: begins || state.first === undefined ? undefined : Date.parse(state.first.time),
    tree,
    signer: state.signer,
  }
}

/** What a run through records leaves behind. */
class ChainState {
  head: ChainHead = GENESIS
  first: WrittenRecord | undefined
  signer: string | undefined
  readonly hashes: string[] = []

  readonly take: NonNullable<ChainOptions['onRecord']> = ({ seq, hash }, own, read) => {
    this.first ??= read()
    this.signer = own?.signer ?? this.signer
    this.head = { seq, hash }
    this.hashes.push(hash)
  }
}

function replayOpen(fd: number, end: FileEnd, state: ChainState, path: string): void {
  const verifier = new ChainVerifier({ partial: true, onRecord: state.take })
  const piece = Buffer.alloc(READ_BYTES)
  for (let at = 0; at < end.good; ) {
    const read = readSync(fd, piece, 0, Math.min(READ_BYTES, end.good - at), at)
    if (read === 0) break
    verifier.push(piece.subarray(0, read))
    at += read
  }
  if (end.good > 0 && end.unterminated && end.torn === undefined) verifier.push(Buffer.of(NEWLINE))
  const report = verifier.end()
  if (!report.ok) throw tailError(path, `has a bad record in line ${report.line}`)
}

async function replay(
  segment: Segment,
  before: ChainHead | undefined,
  state: ChainState,
  path: string,
): Promise<void> {
  const verifier = new ChainVerifier({ before, partial: true, onRecord: state.take })
  for await (const chunk of readLog(segment.path)) verifier.push(chunk as Buffer)
  const report = verifier.end()
  if (!report.ok)
    throw tailError(path, `has a bad record in line ${report.line} of segment ${segment.number}`)
}

/** The tree over all records: from the nearest segment that says what the tree before it was, or from the start. */
async function treeOf(
  state: ChainState,
  closed: readonly Segment[],
  last: Checkpoint | undefined,
  path: string,
): Promise<MerkleTree> {
  const parts = [state]
  for (let i = closed.length - 1; treeBefore(parts[0]!) === undefined; i--) {
    if (i < 0) throw tailError(path, 'has lost segments without which no checkpoint can be made')
    const earlier = new ChainState()
    await replay(closed[i]!, undefined, earlier, path)
    parts.unshift(earlier)
  }
  const tree = treeBefore(parts[0]!)!
  for (const hash of parts.flatMap((part) => part.hashes)) {
    tree.append(hash)
    if (tree.size === last?.size && !tree.root().equals(last.root)) {
      throw tailError(path, `is not the log of which a checkpoint of ${last.size} records was made`)
    }
  }
  return tree
}

function treeBefore({ first }: ChainState): MerkleTree | undefined {
  if (first === undefined || first.seq === 1) return new MerkleTree()
  const edge = first.segment?.tree
  return edge === undefined ? undefined : new MerkleTree(first.seq - 1, edge)
}

interface FileEnd {
  /** Bytes up to and with the last record. */
  good: number
  unterminated: boolean
  torn: Tail['torn']
}

/** Finds the last line that is a record. Only a bounded end of the file is read. */
function readEnd(fd: number, size: number, path: string): FileEnd {
  // Room for a tear (no longer than a record), and for the record before it.
  const wanted = Math.min(size, 2 * MAX_RECORD_BYTES)
  const bytes = Buffer.alloc(wanted)
  let filled = 0
  while (filled < wanted) {
    const read = readSync(fd, bytes, filled, wanted - filled, size - wanted + filled)
    if (read === 0) break
    filled += read
  }
  return endOf(bytes.subarray(0, filled), size - filled, path)
}

/** @param offset where `bytes` stands in the file */
function endOf(bytes: Buffer, offset: number, path: string): FileEnd {
  const unterminated = bytes.length > 0 && bytes[bytes.length - 1] !== NEWLINE
  /** End of the line being looked at, without its newline. */
  let end = unterminated ? bytes.length : bytes.length - 1
  const last = end
  while (last - end <= MAX_RECORD_BYTES) {
    const start = end === 0 ? 0 : bytes.lastIndexOf(NEWLINE, end - 1) + 1
    const record = readRecord(bytes.subarray(start, end))
    if (typeof record !== 'string') {
      const torn = end === last ? undefined : tornBetween(bytes, end + 1, last)
      return { good: offset + Math.min(end + 1, bytes.length), unterminated, torn }
    }
    if (record !== 'not_json') throw tailError(path, 'ends with a line that is no intact audit record')
    if (start === 0) break
    end = start - 1
  }
  if (bytes.length === 0) return { good: 0, unterminated: false, torn: undefined }
  const begin = bytes.subarray(0, RECORD_START.length)
  if (last > MAX_RECORD_BYTES || !RECORD_START.subarray(0, begin.length).equals(begin)) {
    throw tailError(path, 'does not end like an audit log')
  }
  return { good: 0, unterminated, torn: tornBetween(bytes, 0, last) }
}

function tornBetween(bytes: Buffer, start: number, end: number): Tail['torn'] {
  const torn = bytes.subarray(start, end)
  return { bytes: torn.length, sha256: createHash('sha256').update(torn).digest('hex') }
}

function tailError(path: string, what: string): PosternError {
  const message = `${path} ${what}. Nothing is appended to it; look at it with 'postern audit verify', then move it away.`
  return new PosternError('ERR_AUDIT_TAIL', 'internal', message)
}
