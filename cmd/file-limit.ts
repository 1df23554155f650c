// Whether a process may open as many files as its connections need.

import { readFileSync } from 'node:fs'

/** A connection from an agent, and the one to the broker. */
const FILES_EACH = 2
/** Listeners, logs, key sets, and what Node.js has for itself. */
const OTHER_FILES = 100

/**
 * @param limits what /proc/self/limits says; Node.js has raised the soft limit to the hard one by itself
 * @returns a sentence when they are too few
 */
export function fileLimitWarning(
  { connections, workers }: { connections: number; workers: number },
  limits: string,
): string | undefined {
  const [, most] = /^Max open files +\d+ +(\d+)/m.exec(limits) ?? []
  const has = Number(most ?? Number.POSITIVE_INFINITY)
  const each = Math.ceil(connections / workers)
  if (each * FILES_EACH + OTHER_FILES <= has) return undefined
  const enough = Math.max(0, Math.floor((has - OTHER_FILES) / FILES_EACH))
  const who = workers === 1 ? 'this process' : 'each worker'
  return (
    `limits.connections is ${connections}, but ${who} may open ${has} files (ulimit -Hn), enough for ${enough} ` +
    'connections: any more are closed without an answer.'
  )
}

/** Of this process; empty where there is no such file. */
export function ownLimits(): string {
  try {
    return readFileSync('/proc/self/limits', 'utf8')
  } catch {
    return ''
  }
}
