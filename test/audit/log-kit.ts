// Real audit logs in a directory of their own, for the tests of segments, checkpoints and verification.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach } from 'vitest'
import { AuditLog } from '../../src/audit/audit-log.ts'
import type { AuditLogOptions } from '../../src/audit/log-options.ts'
import { closedSegments } from '../../src/audit/segments.ts'
import { checkpointText, makeSigner, type NoteSigner, signNote } from '../../src/audit/signed-note.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { ENDLESS, PUBLISH } from './chain.ts'
import { CountingObserver } from './fake-file.ts'

export const SIGNER = makeSigner('postern.example/edge-1', Buffer.alloc(32, 1))
export const NEW_SIGNER = makeSigner('postern.example/edge-1', Buffer.alloc(32, 2))

/** About four PUBLISH records. */
export const SMALL = { bytes: 4000, ageMs: Number.POSITIVE_INFINITY, keep: 0, keepForMs: 0 }

const directories: string[] = []
afterEach(() => {
  for (const directory of directories.splice(0)) rmSync(directory, { recursive: true, force: true })
})

export function newDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'postern-log-'))
  directories.push(directory)
  return directory
}

export function newLogPath(): string {
  return join(newDirectory(), 'audit.jsonl')
}

export function openLog(path: string, options: Partial<AuditLogOptions> = {}): Promise<AuditLog> {
  return AuditLog.open(path, {
    clock: new FakeClock(),
    instance: 'postern-1',
    policy: 'a1b2',
    durability: 'async',
    onFailure: 'deny',
    flushInterval: 50,
    maxPending: 1e7,
    segments: ENDLESS,
    observer: new CountingObserver(),
    ...options,
  })
}

/** Appends, each record flushed, so that a segment ends where it is full. */
export async function write(log: AuditLog, records: number): Promise<void> {
  for (let i = 0; i < records; i++) log.append(PUBLISH)
  await log.flush()
}

export async function writeAndClose(
  path: string,
  records: number,
  options: Partial<AuditLogOptions> = {},
): Promise<AuditLog> {
  const log = await openLog(path, options)
  await write(log, records)
  await log.close()
  return log
}

/** A checkpoint of all records so far. */
export function noteOf(log: AuditLog, signer: NoteSigner = SIGNER): string {
  const tree = log.tree!
  return signNote(checkpointText({ origin: signer.name, size: tree.size, root: tree.root() }), signer)
}

/** All files of the log, oldest first, unpacked names. */
export function segmentNames(path: string): string[] {
  return closedSegments(path).map((segment) => segment.path.slice(path.length))
}

export const lastLine = (path: string): { seq: number; action: string } =>
  JSON.parse(readFileSync(path, 'utf8').trim().split('\n').at(-1)!) as { seq: number; action: string }
