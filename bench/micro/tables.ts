// The figures of single parts as tables.

import type { Machine } from '../machine.ts'
import { short } from '../tables.ts'
import type { Distribution, Figure } from './timing.ts'

export interface MicroReport extends Machine {
  command: string
  figures: Figure[]
  distributions: Distribution[]
}

/** Two Markdown tables; a part is named in its first row. */
export function microTables({ figures, distributions }: MicroReport): string[] {
  const rows = figures.map(({ part, name, unit, median, low, high, ratio }, i) => {
    const time = `${short(median)} ${unit} (${short(low)}–${short(high)})`
    const times = ratio === undefined ? '' : `${short(ratio.times)} × ${ratio.to}`
    return `| ${part === figures[i - 1]?.part ? '' : part} | ${name} | ${time} | ${times} |`
  })
  const single = distributions.map(({ part, name, p50, p99, p999 }, i) => {
    const cells = [p50, p99, p999].map((ns) => short(ns / 1000))
    return `| ${part === distributions[i - 1]?.part ? '' : part} | ${name} | ${cells.join(' | ')} |`
  })
  return [
    '| part | case | CPU of one | in the same run |',
    '| --- | --- | --- | --- |',
    ...rows,
    '',
    '| part | case | p50 µs | p99 µs | p99.9 µs |',
    '| --- | --- | --- | --- | --- |',
    ...single,
  ]
}
