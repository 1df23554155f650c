// Times one small operation: median of batches, nanoseconds of CPU of this process per call.

const BATCHES = 9

/** Prints `name: ns`. `call` is warmed up first; `--smoke` only sees that it runs. */
export function time(name: string, call: () => unknown): void {
  const calls = process.argv.includes('--smoke') ? 200 : 100_000
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
