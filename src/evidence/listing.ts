// Records as rows: a table for people, CSV for spreadsheets (RFC 4180). What agents chose cannot play tricks with either.

import canonicalize from 'canonicalize'
import { printable } from '../audit/format.ts'
import type { AuditRecord } from '../audit/record.ts'

/** Column name to its text. */
const COLUMNS: readonly (readonly [string, (record: AuditRecord) => string])[] = [
  ['time', (r) => r.time],
  ['decision', (r) => r.decision],
  ['human', (r) => r.identity?.human?.id ?? ''],
  ['agent', (r) => r.identity?.agent?.id ?? r.connection?.client_id ?? ''],
  ['action', (r) => r.action],
  ['topic', (r) => r.resource?.topic ?? r.resource?.filter ?? ''],
  ['count', (r) => String(r.repeated?.count ?? 1)],
  ['reason', (r) => r.reason],
  ['rules', rulesOf],
  ['effect', (r) => r.effect],
]

/** What a spreadsheet wants to know besides. */
const MORE: readonly (readonly [string, (record: AuditRecord) => string])[] = [
  ['seq', (r) => String(r.seq)],
  ['entry', (r) => String(r.entry ?? '')],
  ['human_iss', (r) => r.identity?.human?.iss ?? ''],
  ['via', (r) => r.identity?.human?.via ?? ''],
  ['tenant', (r) => r.identity?.tenant ?? ''],
  ['token', (r) => r.identity?.token?.jti ?? ''],
  ['connection', (r) => r.connection?.id ?? ''],
  ['qos', (r) => String(r.resource?.qos ?? '')],
  ['packet_id', (r) => String(r.packet_id ?? '')],
  ['payload_bytes', (r) => String(r.payload?.length ?? r.repeated?.bytes ?? '')],
  ['payload_digest', (r) => r.payload?.sha256 ?? r.payload?.hmac_sha256 ?? ''],
  ['policy', (r) => r.policy],
  ['traceparent', (r) => r.traceparent ?? ''],
]

function rulesOf({ rules }: AuditRecord): string {
  return Object.entries(rules ?? {})
    .map(([layer, rule]) => `${layer}: ${rule}`)
    .join(', ')
}

/** Longest text of a table cell; the rest is cut, with an ellipsis. */
const WIDEST = 60

/** Lines of a table; empty for no records. */
export function table(records: readonly AuditRecord[]): string[] {
  if (records.length === 0) return []
  const rows = [
    COLUMNS.map(([name]) => name.toUpperCase()),
    ...records.map((record) => COLUMNS.map(([, text]) => cell(text(record)))),
  ]
  const widths = COLUMNS.map((_, i) => Math.max(...rows.map((row) => row[i]!.length)))
  return rows.map((row) =>
    row
      .map((text, i) => text.padEnd(widths[i]!))
      .join('  ')
      .trimEnd(),
  )
}

function cell(text: string): string {
  const shown = printable(text)
  return shown.length > WIDEST ? `${shown.slice(0, WIDEST - 1)}…` : shown
}

/**
 * The record in canonical form: its line, unless it stands in the log as an entry of a batch (`entry`, like `as`), to
 * whose line `hash` belongs.
 */
export function jsonLine(record: AuditRecord): string {
  return canonicalize(record)!
}

const CSV = [...COLUMNS, ...MORE]

export function csvHeader(): string {
  return CSV.map(([name]) => name).join(',')
}

export function csvRow(record: AuditRecord): string {
  return CSV.map(([, text]) => quoted(text(record))).join(',')
}

/** A cell that begins like a formula would be run by a spreadsheet: an apostrophe makes it text. */
function quoted(text: string): string {
  const safe = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe
}
