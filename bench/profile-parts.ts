// The parts that a profile is summed up in, and their table.

import type { Machine } from './machine.ts'
import type { PathName } from './paths.ts'

/** `program`: Node.js without V8, or HAProxy. */
export const PARTS = ['kernel', 'program', 'V8', 'Postern', 'packages'] as const
export type Part = (typeof PARTS)[number]
/** Of the CPU time of the process, 0 to 1. */
export type Shares = Partial<Record<Part, number>>

export interface ProfileReport extends Machine {
  command: string
  /** `cpuUs`: as in a Sample; while it is watched. */
  profiles: { title: string; path: PathName; cpuUs: number; shares: Shares }[]
}

/** @param kind as perf names it: `k` of the kernel, `.` of a program */
export function partOf(kind: string, symbol: string): Part {
  if (kind === 'k') return 'kernel'
  if (symbol.startsWith('JS:') && symbol.includes('file://')) {
    return symbol.includes('node_modules') ? 'packages' : 'Postern'
  }
  // Its own functions for everything in JavaScript, garbage collection, compilation.
  return /^Builtins_|v8::|^JS:.*native/.test(symbol) ? 'V8' : 'program'
}

export function profileTable({ profiles }: ProfileReport): string[] {
  const row = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`
  return [
    row(['load', 'path', 'CPU µs', ...PARTS]),
    row(['---', '---', '---', ...PARTS.map(() => '---')]),
    ...profiles.map(({ title, path, cpuUs, shares }) => {
      const cells = PARTS.map((part) => {
        const share = shares[part] ?? 0
        return share < 0.005 ? '' : `${figure(cpuUs * share)} (${Math.round(share * 100)} %)`
      })
      return row([title, path, cpuUs.toPrecision(3), ...cells])
    }),
  ]
}

/** To two digits. */
function figure(value: number): string {
  return value < 100 ? value.toPrecision(2) : String(Math.round(value))
}
