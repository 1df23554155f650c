// From samples to tables: medians with their spread, and ratios to HAProxy of the same repeat.

import type { Load } from './loads.ts'
import type { Machine } from './machine.ts'
import type { Sample } from './measure.ts'
import type { PathName } from './paths.ts'

export interface LoadResult {
  name: string
  title: string
  kind: Load['kind']
  /** undefined: the proxy may use the whole machine. */
  coreShare?: number | undefined
  samples: Partial<Record<PathName, Sample[]>>
}

export interface Report extends Machine {
  haproxy: string
  command: string
  loads: LoadResult[]
}

/** A load as rows of a Markdown table under `HEADER`; the first cell of the first row names it. */
export function rowsOf({ title, kind, samples }: LoadResult): string[] {
  const base = samples.haproxy
  return Object.entries(samples).map(([path, runs], i) => {
    const cells = [
      i === 0 ? title : '',
      path,
      spread(runs.map((run) => run.cpuUs)),
      spread(runs.map((run, n) => quotient(run.cpuUs, base?.[n]?.cpuUs))),
      spread(runs.map((run) => quotient(run.rate, 1000))),
      spread(runs.map((run) => run.p50Us)),
      spread(runs.map((run) => run.p99Us)),
      spread(runs.map((run) => run.p999Us)),
      spread(runs.map((run) => quotient(run.residentBytes, kind === 'idle' ? 1024 : 1024 * 1024))),
      spread(runs.map((run) => run.sourceBusy)),
      spread(runs.map((run) => run.sinkBusy)),
    ]
    return `| ${cells.join(' | ')} |`
  })
}

export const HEADER = [
  '| load | path | CPU µs | × HAProxy | k/s | p50 µs | p99 µs | p99.9 µs | memory | source | sink |',
  '| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |',
]

/** A load on small cores as rows of a Markdown table under `CORES_HEADER`. */
export function coreRowsOf({ title, coreShare = 1, samples }: LoadResult): string[] {
  return Object.entries(samples).map(([path, runs], i) => {
    const one = samples[path.replace(/-2$/, '') as PathName]
    const isMore = path.endsWith('-2')
    const cells = [
      i === 0 ? title : '',
      path,
      `${isMore ? 2 : 1} × ${coreShare}`,
      spread(runs.map(({ cpuUs, rate }) => (cpuUs === undefined ? undefined : (cpuUs * rate!) / 1e6))),
      spread(runs.map((run) => quotient(run.rate, 1000))),
      isMore ? spread(runs.map((run, n) => quotient(run.rate, one?.[n]?.rate))) : '',
      spread(runs.map((run) => run.cpuUs)),
      spread(runs.map((run) => run.sourceBusy)),
      spread(runs.map((run) => run.sinkBusy)),
    ]
    return `| ${cells.join(' | ')} |`
  })
}

export const CORES_HEADER = [
  '| load | path | cores | used | k/s | × one worker | CPU µs | source | sink |',
  '| --- | --- | --- | --- | --- | --- | --- | --- | --- |',
]

/** What `bench/revocation.ts` writes; times in milliseconds from the order. */
export interface RevocationReport {
  at: string
  node: string
  connections: number
  samples: { cut: number; lastPacket: number; lastEnd: number; answered: number; cpu: number; load: number }[]
}

export function revocationTable({ at, node, connections, samples }: RevocationReport): string[] {
  const row = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`
  const whole = (value: number): string => String(Math.round(value))
  return [
    `- ${connections} connections; Node ${node}; ${at}`,
    '',
    row(['run', 'last cut, ms', 'last DISCONNECT, ms', 'last end, ms', 'answered, ms', 'CPU, ms', 'load']),
    row(['---', '---', '---', '---', '---', '---', '---']),
    ...samples.map(({ cut, lastPacket, lastEnd, answered, cpu, load }, i) =>
      row([`${i + 1}`, ...[cut, lastPacket, lastEnd, answered, cpu].map(whole), String(load)]),
    ),
  ]
}

function quotient(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined || b === undefined || b === 0 ? undefined : a / b
}

/** `median (lowest–highest)`, or nothing for what was not measured. */
function spread(values: readonly (number | undefined)[]): string {
  const known = values.filter((value) => value !== undefined).sort((a, b) => a - b)
  if (known.length === 0) return ''
  const median = known[Math.floor(known.length / 2)]!
  if (known.length === 1) return short(median)
  return `${short(median)} (${short(known[0]!)}–${short(known.at(-1)!)})`
}

export function short(value: number): string {
  if (Math.abs(value) >= 100) return value.toFixed(0)
  return value.toPrecision(3)
}
