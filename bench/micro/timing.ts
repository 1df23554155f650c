// Times small operations: nanoseconds of CPU of this process per call, medians of batches. Prints each figure and keeps
// it for the table. With `--smoke` it only sees that everything runs.

import { performance } from 'node:perf_hooks'

/** One line of the table. */
export interface Figure {
  part: string
  name: string
  unit: 'ns' | 'µs'
  median: number
  /** Of the batches. */
  low: number
  high: number
  /** Median of the ratios to another figure of the same part, batch by batch. */
  ratio?: { to: string; times: number }
}

/** Single calls by wall clock, nanoseconds; the median cost of asking the clock is taken off. */
export interface Distribution {
  part: string
  name: string
  calls: number
  p50: number
  p99: number
  p999: number
  clock: number
}

/** One of several that are measured in turn, so that a noisy moment harms all alike. */
export interface Case {
  name: string
  /** What one `run` counts as. */
  calls: number
  run(): void
}

export const figures: Figure[] = []
export const distributions: Distribution[] = []

const BATCHES = 9
const isSmoke = process.argv.includes('--smoke')
let part = ''

/** What the figures from here on are about. */
export function about(what: string): void {
  part = what
  console.log(`\n${what}`)
}

/** `most` calls or, to see that it runs, few. */
export function few(most: number): number {
  return isSmoke ? Math.min(200, most) : most
}

/** `100 000` */
export function spaced(number: number): string {
  return number < 10_000 ? String(number) : String(number).replace(/\B(?=(\d{3})+$)/g, ' ')
}

/** Times one operation. */
export function time(name: string, call: () => unknown, most = 100_000): void {
  const calls = few(most)
  const run = (): void => {
    for (let i = 0; i < calls; i++) call()
  }
  compare([{ name, calls, run }])
}

/** Times several in turn; each has its ratio to the first. */
export function compare(cases: readonly Case[]): void {
  const taken = cases.map((): number[] => [])
  for (const { run } of cases) run()
  for (let batch = 0; batch < BATCHES; batch++) {
    for (const [i, { calls, run }] of cases.entries()) {
      const before = process.cpuUsage()
      run()
      taken[i]!.push((cpuUs(before) * 1000) / calls)
    }
  }
  for (const [i, { name }] of cases.entries()) keep(name, 'ns', taken[i]!, against(cases, taken, i))
}

/** The same for what is not done at once: each item of each case once, after some of them as a warm-up. */
export async function compareEach<T>(
  cases: readonly { name: string; items: readonly T[]; call(item: T): Promise<unknown> }[],
): Promise<void> {
  const taken = cases.map((): number[] => [])
  for (let batch = 0; batch <= BATCHES; batch++) {
    for (const [i, { items, call }] of cases.entries()) {
      const at = (share: number): number => Math.floor((share * items.length) / (BATCHES + 1))
      const some = items.slice(at(batch), at(batch + 1))
      const before = process.cpuUsage()
      for (const item of some) await call(item)
      if (batch > 0) taken[i]!.push(cpuUs(before) / some.length)
    }
  }
  for (const [i, { name }] of cases.entries()) keep(name, 'µs', taken[i]!, against(cases, taken, i))
}

/**
 * Times single calls.
 *
 * @param disturb happens before each call, and before each asking of the clock that stands for none
 */
export function distribute(
  name: string,
  most: number,
  call: (i: number) => unknown,
  disturb: (i: number) => void,
): void {
  const calls = few(most)
  const single = (what: (i: number) => unknown, calls: number): Float64Array => {
    const taken = new Float64Array(calls)
    for (let i = 0; i < calls; i++) {
      disturb(i)
      const start = performance.now()
      what(i)
      taken[i] = (performance.now() - start) * 1e6
    }
    return taken.sort()
  }
  const clocks = Math.min(calls, 1000)
  const clock = single(() => {}, clocks)[clocks >> 1]!
  const taken = single(call, calls)
  const at = (share: number): number => Math.max(0, taken[Math.floor(calls * share)]! - clock)
  const found = { part, name, calls, p50: at(0.5), p99: at(0.99), p999: at(0.999), clock }
  distributions.push(found)
  const text = [found.p50, found.p99, found.p999].map((ns) => `${(ns / 1000).toFixed(2)}`).join(', ')
  console.log(`${name}: p50, p99, p99.9 ${text} µs (clock ${clock.toFixed(0)} ns)`)
}

function cpuUs(before: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(before)
  return user + system
}

function against(cases: readonly { name: string }[], taken: readonly number[][], i: number): Figure['ratio'] {
  if (i === 0) return undefined
  const ratios = taken[i]!.map((value, batch) => value / taken[0]![batch]!)
  return { to: cases[0]!.name, times: middle(ratios) }
}

function keep(name: string, unit: Figure['unit'], taken: readonly number[], ratio: Figure['ratio']): void {
  const figure: Figure = {
    ...{ part, name, unit, median: middle(taken), low: Math.min(...taken), high: Math.max(...taken) },
    ...(ratio === undefined ? {} : { ratio }),
  }
  figures.push(figure)
  const [median, low, high] = [figure.median, figure.low, figure.high].map((value) =>
    value.toFixed(unit === 'ns' ? 0 : 1),
  )
  const times = ratio === undefined ? '' : `, ${ratio.times.toFixed(2)} × “${ratio.to}”`
  console.log(`${name}: ${median} ${unit} (${low}–${high})${times}`)
}

function middle(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1]!
}
