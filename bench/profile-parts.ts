// The parts that a profile is summed up in, and their table.

import type { Machine } from './machine.ts'
import type { PathName } from './paths.ts'

export const PARTS = ['kernel', 'Node.js', 'V8', 'Postern', 'packages'] as const
export type Part = (typeof PARTS)[number]
/** Of the CPU time of the process, 0 to 1. */
export type Shares = Partial<Record<Part, number>>

export interface ProfileReport extends Machine {
  command: string
  profiles: { title: string; path: PathName; shares: Shares }[]
}

/** @param kind as perf names it: `k` of the kernel, `.` of a program */
export function partOf(kind: string, symbol: string): Part {
  if (kind === 'k') return 'kernel'
  if (symbol.startsWith('JS:') && symbol.includes('file://')) {
    return symbol.includes('node_modules') ? 'packages' : 'Postern'
  }
  // Its own functions for everything in JavaScript, garbage collection, compilation.
  return /^Builtins_|v8::|^JS:.*native/.test(symbol) ? 'V8' : 'Node.js'
}

export function profileTable({ profiles }: ProfileReport): string[] {
  const row = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`
  return [
    row(['load', 'path', ...PARTS]),
    row(['---', '---', ...PARTS.map(() => '---')]),
    ...profiles.map(({ title, path, shares }) =>
      row([title, path, ...PARTS.map((part) => `${Math.round((shares[part] ?? 0) * 100)} %`)]),
    ),
  ]
}
