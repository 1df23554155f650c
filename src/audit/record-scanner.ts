// A quick way to the common record: proves a line canonical and its hash right in one pass over the bytes. Where it is
// not sure (escapes, non-ASCII text, records about the log itself, anything wrong) it says so, and record-reader.ts
// decides. It must never accept what that one refuses.
//
// Hot path of verification: a million records in a few seconds.

import { hash } from 'node:crypto'
import { MAX_RECORD_BYTES } from './record.ts'

/** What ties a record to its neighbours. */
export interface Link {
  seq: number
  prev: string
  hash: string
  /** Of a batch: `seq` of the models of its entries, in order; once for entries with the same one in a row. */
  as?: readonly number[] | undefined
  /** Entries of batches may refer to it. */
  model?: boolean | undefined
}

const QUOTE = 0x22
const COMMA = 0x2c
const COLON = 0x3a
const BACKSLASH = 0x5c
const DEEPEST = 6
const HEX_DIGITS = 64
/** `,"hash":"` and `"` around the digits. */
const HASH_MEMBER_BYTES = 9 + HEX_DIGITS + 1

/** Members that every whole record has, each a bit. */
const REQUIRED = [
  'action',
  'decision',
  'effect',
  'hash',
  'instance',
  'mono',
  'policy',
  'prev',
  'reason',
  'seq',
  'time',
  'v',
]
const ALL_REQUIRED = 2 ** REQUIRED.length - 1
/** What makes a record a batch, and a model. */
const MORE = ['batch', 'model']
const NUMBERS = new Set(['mono', 'seq', 'v'])
/** Members of records about the log itself, and those that no line has: the strict reader reads those. */
const SPECIAL = ['gap', 'segment', 'signer', 'as', 'entry']
const WITH_BITS = [...REQUIRED, ...MORE]
const bitOf = (name: string): number => 2 ** WITH_BITS.indexOf(name)
const bitsOf = (...names: string[]): number => names.reduce((bits, name) => bits + bitOf(name), 0)
const [BATCH, DECISION, HASH, MODEL, PREV, SEQ, V] = [
  ...['batch', 'decision', 'hash', 'model', 'prev', 'seq', 'v'],
].map(bitOf)
/** A batch has these and no others. */
const ALL_OF_BATCH = bitsOf('batch', 'hash', 'mono', 'prev', 'seq', 'time', 'v')
/** A member without a bit. */
const OTHER = 2 ** WITH_BITS.length

/** Length and first byte of a name tell the known ones apart. */
const NAMES = new Map(
  [...WITH_BITS, ...SPECIAL].map((name) => {
    const bytes = Buffer.from(name)
    return [
      bytes.length * 256 + bytes[0]!,
      { bytes, bit: SPECIAL.includes(name) ? 0 : bitOf(name), number: NUMBERS.has(name) },
    ]
  }),
)

let bytes: Buffer = Buffer.alloc(0)
let pos = 0
/** Of the batch that was scanned last. */
let models: number[] = []
const scratch = Buffer.alloc(1 + MAX_RECORD_BYTES)

/** @returns undefined: not sure */
export function scanRecord(line: Buffer): Link | undefined {
  if (line.length > MAX_RECORD_BYTES || line.length < HASH_MEMBER_BYTES || line[0] !== 0x7b) return undefined
  bytes = line
  pos = 1
  let seen = 0
  let nameStart = 0
  let nameEnd = 0
  let seq = 0
  let prevAt = 0
  let hashAt = 0
  for (;;) {
    const start = pos + 1
    if (!string()) return undefined
    const end = pos - 1
    if (nameEnd > 0 && !ascends(nameStart, nameEnd, start, end)) return undefined
    nameStart = start
    nameEnd = end
    if (line[pos++] !== COLON) return undefined
    const known = NAMES.get((end - start) * 256 + line[start]!)
    const named = known !== undefined && isName(known.bytes, start)
    if (named && known.bit === 0) return undefined
    const valueAt = pos
    if (named && known.bit === BATCH ? !batch() : !value(0)) return undefined
    if (named) {
      seen |= known.bit
      if (known.bit === SEQ) seq = Number(line.toString('latin1', valueAt, pos))
      else if (known.bit === HASH) hashAt = valueAt
      else if (known.bit === PREV) prevAt = valueAt
      else if (known.bit === V && !(pos - valueAt === 1 && line[valueAt] === 0x31)) return undefined
      else if (known.bit === DECISION && !isDecision(valueAt)) return undefined
      if (known.number ? !isDigit(line[valueAt]!) : !isTyped(known.bit, line[valueAt]!)) return undefined
    } else seen |= OTHER
    const next = line[pos++]
    if (next === 0x7d) break
    if (next !== COMMA) return undefined
  }
  if (pos !== line.length || seq < 1) return undefined
  const isBatch = (seen & BATCH!) !== 0
  if (isBatch ? seen !== ALL_OF_BATCH || !areBefore(seq) : (seen & ALL_REQUIRED) !== ALL_REQUIRED) {
    return undefined
  }
  if (!isHex(prevAt) || !isHex(hashAt)) return undefined
  const stated = line.toString('latin1', hashAt + 1, hashAt + 1 + HEX_DIGITS)
  const cut = hashAt - 8
  // Behind a zero byte.
  line.copy(scratch, 1, 0, cut)
  line.copy(scratch, 1 + cut, cut + HASH_MEMBER_BYTES)
  if (hash('sha256', scratch.subarray(0, 1 + line.length - HASH_MEMBER_BYTES)) !== stated) return undefined
  const prev = line.toString('latin1', prevAt + 1, prevAt + 1 + HEX_DIGITS)
  return { seq, prev, hash: stated, as: isBatch ? models : undefined, model: (seen & MODEL!) !== 0 }
}

function areBefore(seq: number): boolean {
  for (const as of models) if (as < 1 || as >= seq) return false
  return true
}

function isDigit(c: number): boolean {
  return c >= 0x30 && c <= 0x39
}

/** Whether the value of a member that is no number begins as it must. */
function isTyped(bit: number, first: number): boolean {
  if (bit === BATCH) return true
  return first === (bit === MODEL ? 0x74 : QUOTE)
}

const ENTRY = Buffer.from('{"as":')
const HMAC = Buffer.from(',"hmac_sha256":"')
const LENGTH = Buffer.from(',"length":')
const PACKET_ID = Buffer.from(',"packet_id":')
const SHA256 = Buffer.from(',"sha256":"')
const MOST_PACKET_ID = 65_535

function batch(): boolean {
  models = []
  if (bytes[pos++] !== 0x5b) return false
  for (;;) {
    if (!entry()) return false
    const next = bytes[pos++]
    if (next === 0x5d) return true
    if (next !== COMMA) return false
  }
}

function entry(): boolean {
  if (!goesOn(ENTRY)) return false
  const as = number()
  if (as < 0) return false
  if (models.at(-1) !== as) models.push(as)
  const isKeyed = goesOn(HMAC)
  if (isKeyed && !digits()) return false
  if (!goesOn(LENGTH) || number() < 0) return false
  if (goesOn(PACKET_ID)) {
    const id = number()
    if (id < 1 || id > MOST_PACKET_ID) return false
  }
  if (!isKeyed && goesOn(SHA256) && !digits()) return false
  return bytes[pos++] === 0x7d
}

/** Whether these bytes come next; goes past them. */
function goesOn(expected: Buffer): boolean {
  if (!isName(expected, pos)) return false
  pos += expected.length
  return true
}

/** -1: there is none. */
function number(): number {
  const start = pos
  if (!integer()) return -1
  let value = 0
  for (let i = start; i < pos; i++) value = value * 10 + bytes[i]! - 0x30
  return value
}

/** Past 64 hex digits and a quote. */
function digits(): boolean {
  const start = pos - 1
  pos += HEX_DIGITS + 1
  return isHex(start)
}

function value(depth: number): boolean {
  const first = bytes[pos]!
  if (first === QUOTE) return string()
  if (first === 0x7b) return depth < DEEPEST && object(depth + 1)
  if (first === 0x5b) return depth < DEEPEST && array(depth + 1)
  if (first === 0x74) return word('true')
  if (first === 0x66) return word('false')
  return integer()
}

function string(): boolean {
  const b = bytes
  if (b[pos] !== QUOTE) return false
  let at = pos + 1
  for (;;) {
    const c = b[at++]
    if (c === QUOTE) break
    // The end of the line is undefined, which is neither.
    if (!(c! >= 0x20 && c! <= 0x7e) || c === BACKSLASH) return false
  }
  pos = at
  return true
}

function object(depth: number): boolean {
  pos++
  if (bytes[pos] === 0x7d) {
    pos++
    return true
  }
  let nameStart = 0
  let nameEnd = 0
  for (;;) {
    const start = pos + 1
    if (!string()) return false
    const end = pos - 1
    if (nameEnd > 0 && !ascends(nameStart, nameEnd, start, end)) return false
    nameStart = start
    nameEnd = end
    if (bytes[pos++] !== COLON || !value(depth)) return false
    const next = bytes[pos++]
    if (next === 0x7d) return true
    if (next !== COMMA) return false
  }
}

function array(depth: number): boolean {
  pos++
  if (bytes[pos] === 0x5d) {
    pos++
    return true
  }
  for (;;) {
    if (!value(depth)) return false
    const next = bytes[pos++]
    if (next === 0x5d) return true
    if (next !== COMMA) return false
  }
}

/** Of at most 15 digits, without a leading zero; not negative: no record has such. */
function integer(): boolean {
  const start = pos
  while (bytes[pos]! >= 0x30 && bytes[pos]! <= 0x39) pos++
  const digits = pos - start
  return digits === 1 || (digits > 1 && digits <= 15 && bytes[start] !== 0x30)
}

function word(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (bytes[pos++] !== text.charCodeAt(i)) return false
  return true
}

/** Whether the second name sorts after the first; for ASCII the order of bytes is that of RFC 8785. */
function ascends(aStart: number, aEnd: number, bStart: number, bEnd: number): boolean {
  const shorter = Math.min(aEnd - aStart, bEnd - bStart)
  for (let i = 0; i < shorter; i++) {
    const difference = bytes[bStart + i]! - bytes[aStart + i]!
    if (difference !== 0) return difference > 0
  }
  return bEnd - bStart > aEnd - aStart
}

function isName(name: Uint8Array, start: number): boolean {
  for (let i = 0; i < name.length; i++) if (bytes[start + i] !== name[i]) return false
  return true
}

function isDecision(at: number): boolean {
  const text = bytes.toString('latin1', at, pos)
  return text === '"allow"' || text === '"deny"'
}

/** A string of 64 lower-case hex digits. */
function isHex(at: number): boolean {
  for (let i = at + 1; i <= at + HEX_DIGITS; i++) {
    const c = bytes[i]!
    if (!((c >= 0x30 && c <= 0x39) || (c >= 0x61 && c <= 0x66))) return false
  }
  return bytes[at + HEX_DIGITS + 1] === QUOTE
}
