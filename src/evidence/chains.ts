// The chains of a log that several workers wrote: each has its own, in `FILE.w1` and so on, beside that of the first
// process in `FILE`. docs/audit-format.md, "Workers".

import { readdirSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { withSegments } from './log-files.ts'

export interface Chain {
  /** Such as `w1`; empty: that of the first process, or of the only one. */
  worker: string
  /** Oldest first, closed segments too. */
  files: string[]
}

/** The chains that these logs hold: those of workers beside them too. Logs are named oldest first. */
export function chainsOf(files: readonly string[]): Chain[] {
  const named = new Set(files)
  const all = files.flatMap((file) => [file, ...workerLogs(file).filter((path) => !named.has(path))])
  const byWorker = Map.groupBy(all, workerIn)
  return [...byWorker]
    .map(([worker, logs]) => ({ worker, files: withSegments(logs) }))
    .sort((a, b) => numberIn(a.worker) - numberIn(b.worker))
}

/** Of which worker a checkpoint with this origin is; as `Chain.worker`. */
export function workerOfOrigin(origin: string): string {
  return /\/(w[1-9]\d*)$/.exec(origin)?.[1] ?? ''
}

/** Those of this chain. Of a log that is a single chain they all are, whatever their origin is. */
export function checkpointsOf<T extends { origin: string }>(
  chain: Chain,
  chains: readonly Chain[],
  checkpoints: readonly T[],
): T[] {
  if (chains.length === 1) return [...checkpoints]
  return checkpoints.filter(({ origin }) => workerOfOrigin(origin) === chain.worker)
}

/** Those of no chain that is here. */
export function strayCheckpoints<T extends { origin: string }>(
  chains: readonly Chain[],
  checkpoints: readonly T[],
): T[] {
  const mine = new Set(chains.flatMap((chain) => checkpointsOf(chain, chains, checkpoints)))
  return checkpoints.filter((checkpoint) => !mine.has(checkpoint))
}

function workerIn(file: string): string {
  return /\.(w[1-9]\d*)(\.\d{8,}(\.[a-z]+)?)?$/.exec(file)?.[1] ?? ''
}

function numberIn(worker: string): number {
  return Number(worker.slice(1))
}

/** The logs of workers beside one. */
export function workerLogs(file: string): string[] {
  const start = basename(file)
  let names: string[]
  try {
    names = readdirSync(dirname(file))
  } catch {
    // Whoever reads the file itself will say so.
    return []
  }
  return names
    .filter((name) => name.startsWith(`${start}.`) && /^w[1-9]\d*$/.test(name.slice(start.length + 1)))
    .map((name) => join(dirname(file), name))
}
