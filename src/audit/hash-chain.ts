// Proves a chain of audit records, or names the first bad one. Takes bytes in pieces of any size and keeps at most one
// line; reads no file and no clock. docs/audit-format.md defines what is checked.

import { createHash, type Hash } from 'node:crypto'
import { ModelWindow } from './models.ts'
import { type AuditRecord, type ChainHead, GENESIS, MAX_RECORD_BYTES, type WrittenRecord } from './record.ts'
import { type LineFault, readRecord } from './record-reader.ts'
import { type Link, scanRecord } from './record-scanner.ts'

/** What is wrong with the first bad line. */
export type ChainFault =
  /** Longer than MAX_RECORD_BYTES. */
  | 'too_long'
  | LineFault
  /** Records are missing, repeated or in another order. */
  | 'seq_gap'
  | 'prev_mismatch'
  /** An entry of a batch refers to what is no model, or no more. */
  | 'no_model'
  /** A new chain begins in the middle: two files were joined. */
  | 'joined_chain'
  /** The first record is not the first of a chain, and the records before it are not known. */
  | 'missing_start'
  /** The file ends within a record. The next start of the log seals it. */
  | 'torn_tail'
  /** A record known from elsewhere is not there: the tail was cut off, or the chain was rewritten. */
  | 'known_record_missing'

export interface ChainOptions {
  /** Head of the file before, when there is one: the first record may continue it. */
  before?: ChainHead | undefined
  /** Accept a first record from the middle of a chain. */
  partial?: boolean
  /** A record that must be in the chain, known from a safe place. */
  known?: ChainHead | undefined
  /**
   * Called with each good record, in order. `own` is all of it for records about the log itself (gap, segment,
   * signer); of others `read` gives all, during the call.
   */
  onRecord?: ((link: Link, own: AuditRecord | undefined, read: () => WrittenRecord) => void) | undefined
}

export type ChainReport =
  | {
      ok: true
      records: number
      /** `seq` of the first record; 0 without records. */
      first: number
      /** `start`: begins a chain. `continues`: follows `before`. `middle`: neither, and `partial` was given. */
      begins: 'start' | 'continues' | 'middle'
      head: ChainHead
      /** Sealed tears. */
      torn: number
      /** Records that could not be written, by the gap records that count them. */
      lost: number
    }
  | {
      ok: false
      fault: ChainFault
      /** 1-based line of the first bad record. */
      line: number
      /** Sequence number that belongs there; 0 when the chain's start is not known. */
      seq: number
      /** What is wrong, as a sentence. */
      message: string
    }

const NEWLINE = 0x0a

const SENTENCES: Record<LineFault, string> = {
  not_json: 'The line is not JSON, and no gap record accounts for it.',
  not_record: 'The line is JSON, but not an audit record of version 1.',
  not_canonical: 'The line is not in canonical form (RFC 8785).',
  hash_mismatch: 'The record was changed: its hash does not fit its content.',
}

/** Lines that are no JSON, since the last good record. A gap record that names their digest seals them (AUD-08). */
interface Tear {
  line: number
  bytes: number
  digest: Hash
}

/** Feed it the bytes with `push`, then ask `end`. After `done` more bytes change nothing. */
export class ChainVerifier {
  readonly #options: ChainOptions
  #carry: Buffer[] = []
  #carried = 0
  #line = 0
  #records = 0
  #first = 0
  /** The file has its first record. */
  #isWhole = false
  #begins: 'start' | 'continues' | 'middle' = 'start'
  #head: ChainHead | undefined
  readonly #models = new ModelWindow<true>()
  #tear: Tear | undefined
  #torn = 0
  #lost = 0
  #knownSeen = false
  #bad: (ChainReport & { ok: false }) | undefined

  constructor(options: ChainOptions = {}) {
    this.#options = options
  }

  /** A bad record was found. */
  get done(): boolean {
    return this.#bad !== undefined
  }

  get records(): number {
    return this.#records
  }

  push(chunk: Buffer): void {
    let start = 0
    for (let end = chunk.indexOf(NEWLINE); end >= 0 && !this.done; end = chunk.indexOf(NEWLINE, start)) {
      let line = chunk.subarray(start, end)
      if (this.#carried > 0) {
        line = Buffer.concat([...this.#carry, line])
        this.#carry = []
        this.#carried = 0
      }
      this.#check(line)
      start = end + 1
    }
    if (this.done || start === chunk.length) return
    // Copied, so that the caller may use its buffer again.
    this.#carry.push(Buffer.from(chunk.subarray(start)))
    this.#carried += chunk.length - start
    if (this.#carried > MAX_RECORD_BYTES) {
      this.#line += 1
      this.#fail('too_long', `The line is longer than ${MAX_RECORD_BYTES} bytes.`)
    }
  }

  end(): ChainReport {
    if (!this.#bad && this.#carried > 0) {
      this.#line = this.#tear?.line ?? this.#line + 1
      this.#fail('torn_tail', `The file ends within a record, after ${this.#carried} bytes of it.`)
    } else if (!this.#bad && this.#tear) {
      this.#unsealed()
    }
    const { known } = this.#options
    const head = this.#head ?? this.#options.before ?? GENESIS
    if (!this.#bad && known && !this.#knownSeen) {
      this.#line += 1
      const why = head.seq < known.seq ? `The chain ends at seq ${head.seq}` : 'The chain does not hold it'
      this.#fail('known_record_missing', `${why}, but a record with seq ${known.seq} is known to exist.`)
    }
    return (
      this.#bad ?? {
        ok: true,
        records: this.#records,
        first: this.#first,
        begins: this.#begins,
        head,
        torn: this.#torn,
        lost: this.#lost,
      }
    )
  }

  #check(bytes: Buffer): void {
    this.#line += 1
    const link = this.#tear === undefined ? scanRecord(bytes) : undefined
    if (link !== undefined) {
      if (this.#follows(link) && this.#hasModels(link)) this.#accept(link, undefined, bytes)
      return
    }
    const record = readRecord(bytes)
    if (record === 'not_json') this.#extendTear(bytes)
    else if (typeof record === 'string') this.#failAtTear(record, SENTENCES[record])
    else if (this.#follows(record) && this.#hasModels(linkOf(record)) && this.#seals(record)) {
      this.#lost += record.gap?.lost ?? 0
      this.#accept(linkOf(record), record.action === undefined ? undefined : record, bytes)
    }
  }

  /** Of a file whose beginning was cut off the models there are not known. */
  #hasModels({ as, seq, model }: Link): boolean {
    if (model === true) this.#models.add(seq, true)
    if (as === undefined) return true
    const unknown = this.#isWhole ? 0 : this.#first || seq
    const missing = as.find((one) => this.#models.get(one) !== true && one >= unknown)
    if (missing === undefined) return true
    this.#failAtTear('no_model', `An entry is said to be as seq ${missing}, but that is no model for it.`)
    return false
  }

  #accept(record: Link, own: AuditRecord | undefined, bytes: Buffer): void {
    const { known } = this.#options
    if (known?.seq === record.seq) {
      if (known.hash !== record.hash) {
        this.#fail('known_record_missing', 'Another record with this seq is known: the chain was made anew.')
        return
      }
      this.#knownSeen = true
    }
    if (this.#records === 0) {
      this.#first = record.seq
      this.#isWhole = this.#begins === 'start' || own?.segment !== undefined
    }
    this.#records += 1
    this.#head = { seq: record.seq, hash: record.hash }
    this.#options.onRecord?.(record, own, () => readRecord(bytes) as WrittenRecord)
  }

  /** Is this the record that comes next? */
  #follows(record: Pick<Link, 'seq' | 'prev'>): boolean {
    const isStart = record.seq === GENESIS.seq + 1 && record.prev === GENESIS.hash
    if (this.#head === undefined) {
      const { before, partial } = this.#options
      if (isStart) this.#begins = 'start'
      else if (before && record.seq === before.seq + 1 && record.prev === before.hash)
        this.#begins = 'continues'
      else if (partial) this.#begins = 'middle'
      else {
        this.#failAtTear(
          'missing_start',
          `The file begins with seq ${record.seq}; the records before it are missing.`,
        )
        return false
      }
      return true
    }
    const expected = this.#head.seq + 1
    if (isStart) {
      this.#failAtTear(
        'joined_chain',
        'A new chain begins here: another file was joined, or the log was started over.',
      )
    } else if (record.seq > expected) {
      this.#failAtTear(
        'seq_gap',
        `${record.seq - expected} record(s) before seq ${record.seq} are missing here.`,
      )
    } else if (record.seq < expected) {
      this.#failAtTear(
        'seq_gap',
        `The record with seq ${record.seq} stands here: inserted, repeated or moved.`,
      )
    } else if (record.prev !== this.#head.hash) {
      this.#failAtTear(
        'prev_mismatch',
        'The record does not follow the one before it: `prev` is not its hash.',
      )
    }
    return !this.done
  }

  /** A tear is good only if this very record is the gap record that names its bytes, and such a record needs a tear. */
  #seals(record: WrittenRecord): boolean {
    const named = record.gap?.torn_sha256
    if (this.#tear === undefined) {
      if (named === undefined) return true
      this.#fail('not_record', 'The gap record names torn bytes, but there are none before it.')
      return false
    }
    const { bytes, digest } = this.#tear
    if (record.action !== 'gap' || record.gap?.torn_bytes !== bytes || named !== digest.digest('hex')) {
      this.#unsealed()
      return false
    }
    this.#tear = undefined
    this.#torn += 1
    return true
  }

  #extendTear(line: Buffer): void {
    if (this.#tear === undefined) {
      this.#tear = { line: this.#line, bytes: line.length, digest: createHash('sha256').update(line) }
      return
    }
    this.#tear.bytes += 1 + line.length
    this.#tear.digest.update('\n').update(line)
    if (this.#tear.bytes > MAX_RECORD_BYTES) this.#unsealed()
  }

  #unsealed(): void {
    this.#failAtTear('not_json', SENTENCES.not_json)
  }

  /** Within a tear the first bad line is the tear's: nothing sealed it. */
  #failAtTear(fault: ChainFault, message: string): void {
    if (this.#tear === undefined) {
      this.#fail(fault, message)
      return
    }
    this.#line = this.#tear.line
    this.#fail('not_json', SENTENCES.not_json)
  }

  #fail(fault: ChainFault, message: string): void {
    const before = this.#head ?? this.#options.before
    const seq = before ? before.seq + 1 : fault === 'missing_start' || this.#options.partial ? 0 : 1
    this.#bad = { ok: false, fault, line: this.#line, seq, message }
  }
}

function linkOf(record: WrittenRecord): Link {
  const { seq, prev, hash } = record
  if (record.action !== undefined) return { seq, prev, hash, model: record.model }
  return { seq, prev, hash, as: record.batch.map(({ as }) => as) }
}
