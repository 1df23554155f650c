// Times one small operation: median of batches, nanoseconds of CPU of this process per call.

const BATCHES = 9

/** Prints `name: ns`. `call` is warmed up first; `--smoke` only sees that it runs. */
export function time(name: string, call: () => unknown, most = 100_000): void {
  const calls = process.argv.includes('--smoke') ? Math.min(200, most) : most
  for (let i = 0; i < calls; i++) call()
  const nanoseconds: number[] = []
  for (let batch = 0; batch < BATCHES; batch++) {
    const before = process.cpuUsage()
    for (let i = 0; i < calls; i++) call()
    const { user, system } = process.cpuUsage(before)
    nanoseconds.push(((user + system) * 1000) / calls)
  }
  nanoseconds.sort((a, b) => a - b)
  const [low, median, high] = [0, BATCHES >> 1, BATCHES - 1].map((i) => nanoseconds[i]!.toFixed(0))
  console.log(`${name}: ${median} ns (${low}–${high})`)
}

/** The same for an operation that is not done at once: each item once, after some of them as a warm-up. */
export async function timeEach<T>(
  name: string,
  items: readonly T[],
  call: (item: T) => Promise<unknown>,
): Promise<void> {
  const parts = Array.from({ length: BATCHES + 1 }, (_, i) =>
    items.slice((i * items.length) / (BATCHES + 1), ((i + 1) * items.length) / (BATCHES + 1)),
  )
  const microseconds: number[] = []
  for (const [i, part] of parts.entries()) {
    const before = process.cpuUsage()
    for (const item of part) await call(item)
    const { user, system } = process.cpuUsage(before)
    if (i > 0) microseconds.push((user + system) / part.length)
  }
  microseconds.sort((a, b) => a - b)
  const [low, median, high] = [0, BATCHES >> 1, BATCHES - 1].map((i) => microseconds[i]!.toFixed(1))
  console.log(`${name}: ${median} µs (${low}–${high})`)
}
