// What a file of figures says about where they are from.

import { execFileSync } from 'node:child_process'
import { cpus, totalmem } from 'node:os'

export interface Machine {
  machine: string
  cores: number
  memoryBytes: number
  node: string
  commit: string
  /** ISO 8601. */
  at: string
}

export function thisMachine(): Machine {
  return {
    machine: cpus()[0]?.model ?? 'unknown',
    cores: cpus().length,
    memoryBytes: totalmem(),
    node: process.version,
    commit: commit(),
    at: new Date().toISOString(),
  }
}

function commit(): string {
  try {
    const git = (...args: string[]): string => execFileSync('git', args, { encoding: 'utf8' }).trim()
    return (
      git('rev-parse', 'HEAD') + (git('status', '--porcelain', '--', 'src') === '' ? '' : ' with changes')
    )
  } catch {
    return 'unknown'
  }
}
