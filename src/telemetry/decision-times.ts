// How long decisions take, as buckets of one typed array: an observation costs a search over 12 bounds, once per chunk.

/** Upper bounds in seconds: 1 µs to 10 ms. */
export const DECISION_BOUNDS: readonly number[] = [
  1e-6, 2e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 1e-2,
]

export class DecisionTimes {
  /** Not cumulative; the last one counts what is above all bounds. */
  readonly buckets = new Float64Array(DECISION_BOUNDS.length + 1)
  /** Seconds, of all observations. */
  sum = 0

  /** `count` decisions took `seconds` together; each is taken to have had an equal share. */
  observe(seconds: number, count: number): void {
    if (count === 0) return
    const each = seconds / count
    let i = 0
    while (i < DECISION_BOUNDS.length && each > DECISION_BOUNDS[i]!) i += 1
    this.buckets[i]! += count
    this.sum += seconds
  }
}
