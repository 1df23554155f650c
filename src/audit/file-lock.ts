// One writer per audit file (AUD-10): a lock file `<file>.lock` that names the process which holds it. A lock whose
// process is gone is taken over. Node has no flock, so the name is made by link(2), which never replaces a file.

import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { PosternError } from '../errors.ts'

interface Holder {
  host: string
  pid: number
  /** When the process started, so that a pid given to another process is noticed; empty where it cannot be known. */
  started: string
}

/** Files locked by this process: its own pid in a lock file says nothing otherwise (in a container it is always 1). */
const held = new Set<string>()
let attempts = 0

export interface FileLock {
  release(): void
}

/**
 * @throws PosternError `ERR_AUDIT_LOCKED` when another writer has the file. A holder on another host cannot be
 *   looked at and counts as alive.
 */
export function lockFile(file: string): FileLock {
  const path = `${file}.lock`
  const own = JSON.stringify({
    host: hostname(),
    pid: process.pid,
    started: startOf(process.pid),
  } satisfies Holder)
  attempts += 1
  const draft = `${path}.${process.pid}.${attempts}`
  writeFileSync(draft, own, { mode: 0o600, flag: 'wx' })
  try {
    if (!tryLink(draft, path)) {
      removeStale(file, path, `${draft}.stale`)
      if (!tryLink(draft, path)) throw lockedBy(file, readText(path))
    }
  } finally {
    rmSync(draft, { force: true })
  }
  held.add(path)
  return {
    release() {
      if (held.delete(path) && readText(path) === own) rmSync(path, { force: true })
    },
  }
}

function tryLink(from: string, to: string): boolean {
  try {
    linkSync(from, to)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  }
}

/** Moves the lock aside before it is removed, so that of two starters only one removes the stale lock. */
function removeStale(file: string, path: string, aside: string): void {
  const seen = readText(path)
  if (seen === undefined) return
  if (isAlive(path, seen)) throw lockedBy(file, seen)
  try {
    renameSync(path, aside)
  } catch {
    return // another starter was faster
  }
  if (readText(aside) !== seen) tryLink(aside, path) // it was faster and holds the lock already: give it back
  rmSync(aside, { force: true })
}

function isAlive(path: string, text: string): boolean {
  const holder = parseHolder(text)
  if (!holder || holder.host !== hostname()) return true
  if (holder.pid === process.pid) return held.has(path)
  try {
    process.kill(holder.pid, 0)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false
  }
  return holder.started === '' || holder.started === startOf(holder.pid)
}

function parseHolder(text: string): Holder | undefined {
  try {
    const { host, pid, started } = JSON.parse(text) as Partial<Holder>
    if (typeof host !== 'string' || !Number.isSafeInteger(pid) || typeof started !== 'string')
      return undefined
    return { host, pid: pid as number, started }
  } catch {
    return undefined
  }
}

/** Boot id and start time in clock ticks (proc(5), field 22 of stat); empty outside Linux. */
function startOf(pid: number): string {
  const boot = readText('/proc/sys/kernel/random/boot_id')?.trim()
  const stat = readText(`/proc/${pid}/stat`)
  if (boot === undefined || stat === undefined) return ''
  // The process name in parentheses may hold blanks; counting starts behind it.
  return `${boot}/${stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]}`
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}

function lockedBy(file: string, text: string | undefined): PosternError {
  const holder = parseHolder(text ?? '')
  const who = holder ? `process ${holder.pid} on host ${holder.host}` : 'an unknown process'
  return new PosternError(
    'ERR_AUDIT_LOCKED',
    'internal',
    `The audit log ${file} is being written by ${who}. If that process is gone, remove ${file}.lock.`,
  )
}
