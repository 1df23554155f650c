// Names one record for other programs.

import type { AuditRecord } from '../audit/record.ts'

/** The hash of its line; of an entry of a batch with its place there behind it, from 1: `5f0c…/3`. */
export function idOf({ hash, entry }: AuditRecord): string {
  return entry === undefined ? hash : `${hash}/${entry}`
}
