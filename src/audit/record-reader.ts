// Reads one line of an audit log back, strictly: only the exact bytes that Postern would have written count. Knows
// nothing of the lines around it. docs/audit-format.md.

import { isUtf8 } from 'node:buffer'
import { hash } from 'node:crypto'
import canonicalize from 'canonicalize'
import type { AuditRecord, BatchEntry, BatchRecord, WrittenRecord } from './record.ts'

export type LineFault =
  /** A record that was cut off never is. */
  | 'not_json'
  /** JSON, but not an audit record of version 1. */
  | 'not_record'
  | 'not_canonical'
  /** The content was changed. */
  | 'hash_mismatch'

const HASH = /^[0-9a-f]{64}$/

/** @param bytes without the newline */
export function readRecord(bytes: Buffer): WrittenRecord | LineFault {
  if (!isUtf8(bytes)) return 'not_json'
  const text = bytes.toString()
  const value = parse(text)
  if (value === undefined) return 'not_json'
  if (!isRecord(value)) return 'not_record'
  if (!isCanonical(value, text)) return 'not_canonical'
  return digestOf(value, text) === value.hash ? value : 'hash_mismatch'
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function isRecord(value: unknown): value is WrittenRecord {
  if (typeof value !== 'object' || value === null) return false
  const record = value as Unknown<AuditRecord & BatchRecord>
  return isLinked(record) && (record.batch === undefined ? isWhole(record) : isBatch(record))
}

type Unknown<T> = Partial<Record<keyof T, unknown>>

function isLinked(record: Unknown<AuditRecord>): boolean {
  return (
    record.v === 1 &&
    isPlace(record.seq) &&
    Number.isSafeInteger(record.mono) &&
    isHash(record.prev) &&
    isHash(record.hash) &&
    typeof record.time === 'string'
  )
}

const BATCH_MEMBERS: ReadonlySet<string> = new Set<keyof BatchRecord>([
  ...(['batch', 'hash', 'mono', 'prev', 'seq', 'time', 'v'] as const),
])
const ENTRY_MEMBERS: ReadonlySet<string> = new Set<keyof BatchEntry>([
  ...(['as', 'hmac_sha256', 'length', 'packet_id', 'sha256'] as const),
])
const MOST_PACKET_ID = 65_535

function isBatch(record: Unknown<BatchRecord>): boolean {
  const { batch } = record
  return (
    Object.keys(record).every((name) => BATCH_MEMBERS.has(name)) &&
    Array.isArray(batch) &&
    batch.length > 0 &&
    batch.every((entry) => isEntry(entry, record.seq as number))
  )
}

function isEntry(value: unknown, seq: number): boolean {
  if (typeof value !== 'object' || value === null) return false
  const { as, length, packet_id: id, sha256, hmac_sha256: keyed } = value as Unknown<BatchEntry>
  return (
    Object.keys(value).every((name) => ENTRY_MEMBERS.has(name)) &&
    isPlace(as) &&
    (as as number) < seq &&
    (length === 0 || isPlace(length)) &&
    (id === undefined || (isPlace(id) && (id as number) <= MOST_PACKET_ID)) &&
    (sha256 === undefined || isHash(sha256)) &&
    (keyed === undefined || (isHash(keyed) && sha256 === undefined))
  )
}

function isPlace(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) > 0
}

function isWhole(record: Unknown<AuditRecord>): boolean {
  return (
    typeof record.instance === 'string' &&
    typeof record.policy === 'string' &&
    typeof record.action === 'string' &&
    (record.decision === 'allow' || record.decision === 'deny') &&
    typeof record.reason === 'string' &&
    typeof record.effect === 'string' &&
    (record.model === undefined || record.model === true) &&
    record.as === undefined &&
    record.entry === undefined &&
    (record.gap === undefined || isGap(record.gap)) &&
    (record.segment === undefined || isSegment(record.segment)) &&
    (record.signer === undefined || typeof record.signer === 'string')
  )
}

function isGap(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false
  const gap = value as Partial<Record<string, unknown>>
  const isCount = (n: unknown) => n === undefined || (Number.isSafeInteger(n) && (n as number) >= 0)
  return isCount(gap['lost']) && isCount(gap['torn_bytes'])
}

function isSegment(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false
  const { number, oldest, tree } = value as Partial<Record<string, unknown>>
  const isNumber = (n: unknown) => Number.isSafeInteger(n) && (n as number) >= 1
  return (
    isNumber(number) &&
    isNumber(oldest) &&
    (tree === undefined || (Array.isArray(tree) && tree.every(isHash)))
  )
}

function isHash(value: unknown): boolean {
  return typeof value === 'string' && HASH.test(value)
}

/**
 * JSON.stringify keeps the order of the text, so a text that it gives back and whose members are sorted is canonical.
 * Only the rest (member names that look like numbers) needs the slower canonicalize.
 */
function isCanonical(value: object, text: string): boolean {
  try {
    return (JSON.stringify(value) === text && isSorted(value)) || canonicalize(value) === text
  } catch {
    return false // nested too deeply, or a lone surrogate
  }
}

function isSorted(value: unknown): boolean {
  if (typeof value === 'string') return value.isWellFormed()
  if (typeof value !== 'object' || value === null) return true
  if (Array.isArray(value)) return value.every(isSorted)
  let last: string | undefined
  for (const [name, member] of Object.entries(value)) {
    if (last !== undefined && name <= last) return false
    if (!name.isWellFormed() || !isSorted(member)) return false
    last = name
  }
  return true
}

/** Hash over a zero byte and the canonical record without its `hash`, which is cut out of the text, not written again. */
function digestOf(record: WrittenRecord, text: string): string {
  const member = `,"hash":"${record.hash}"`
  const at = text.indexOf(member)
  if (at >= 0 && at === text.lastIndexOf(member)) {
    return hash('sha256', `\0${text.slice(0, at)}${text.slice(at + member.length)}`)
  }
  const { hash: _, ...rest } = record
  return hash('sha256', `\0${canonicalize(rest)!}`)
}
