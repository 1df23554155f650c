// What is left after the story: the audit trail, its proof, and the counters that moved.

import { readFile } from 'node:fs/promises'
import { formatRecord } from '../../src/audit/format.ts'
import { type ChainReport, ChainVerifier } from '../../src/audit/hash-chain.ts'
import type { Screen } from './screen.ts'
import type { Stage } from './stage.ts'

const SHOWN_RECORDS = 10

export async function showRecords(stage: Stage, screen: Screen): Promise<void> {
  const records = await stage.records()
  screen.heading(`The last ${SHOWN_RECORDS} of ${records.length} audit records`)
  for (const record of records.slice(-SHOWN_RECORDS)) screen.plain(`  ${formatRecord(record)}`)
}

/**
 * Verifies the chain, then a copy in which one byte says that another user was behind the denied post.
 *
 * @returns whether the chain holds and the forged record is the one that is named
 */
export async function proveChain(stage: Stage, screen: Screen): Promise<boolean> {
  screen.heading('The chain')
  await stage.app.flushAudit()
  const log = await readFile(stage.auditFile)
  const report = verify(log)
  if (!report.ok) {
    screen.bad(`line ${report.line}, seq ${report.seq}: ${report.message}`)
    return false
  }
  screen.good(
    `${report.records} records, each with the hash of the one before; head ${report.head.hash.slice(0, 16)}…`,
  )

  const records = await stage.records()
  const forged = records.findIndex(
    (record) => record.decision === 'deny' && record.identity?.human !== undefined,
  )
  if (forged < 0) {
    screen.bad('no record to forge: nobody was denied anything')
    return false
  }
  const { seq, identity } = records[forged]!
  const verdict = verify(flip(log, forged, `"id":"${identity!.human!.id}"`))
  if (verdict.ok || verdict.seq !== seq) {
    screen.bad(`one byte of record ${seq} was changed in a copy, and verification did not name it`)
    return false
  }
  screen.good(
    `one byte of record ${seq} changed in a copy: line ${verdict.line}, seq ${verdict.seq}: ${verdict.message}`,
  )
  return true
}

function verify(log: Buffer): ChainReport {
  const verifier = new ChainVerifier()
  verifier.push(log)
  return verifier.end()
}

/** A copy in which the last byte but one of `part`, in line `line` (0-based), is another. */
function flip(log: Buffer, line: number, part: string): Buffer {
  const copy = Buffer.from(log)
  let start = 0
  for (let i = 0; i < line; i++) start = copy.indexOf('\n', start) + 1
  const at = copy.indexOf(part, start) + part.length - 2
  copy[at] = copy[at]! ^ 1
  return copy
}

/** Counters by series, such as `postern_wills_total{decision="deny",reason="no_rule"}`. */
export async function readCounters(stage: Stage): Promise<Map<string, number>> {
  const response = await fetch(`${stage.app.adminUrl}/metrics`)
  const counters = new Map<string, number>()
  for (const line of (await response.text()).split('\n')) {
    const found = /^(postern_\w+_total(?:\{.*\})?) (\S+)$/.exec(line)
    if (found !== null) counters.set(found[1]!, Number(found[2]))
  }
  return counters
}

export function showMoved(
  before: ReadonlyMap<string, number>,
  after: ReadonlyMap<string, number>,
  screen: Screen,
): void {
  screen.heading('The counters that moved')
  for (const [series, value] of after) {
    const moved = value - (before.get(series) ?? 0)
    if (moved !== 0) screen.plain(`  ${`+${moved}`.padStart(7)}  ${series}`)
  }
}
