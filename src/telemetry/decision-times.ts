// How long things take, as buckets of one typed array: an observation costs a search over a dozen bounds.

export class Durations {
  /** Upper bounds in seconds, ascending. */
  readonly bounds: readonly number[]
  /** Not cumulative; the last one counts what is above all bounds. */
  readonly buckets: Float64Array
  /** Seconds, of all observations. */
  sum = 0

  constructor(bounds: readonly number[]) {
    this.bounds = bounds
    this.buckets = new Float64Array(bounds.length + 1)
  }

  /** `count` things took `seconds` together; each is taken to have had an equal share. */
  observe(seconds: number, count: number): void {
    if (count === 0) return
    const each = seconds / count
    const { bounds } = this
    let i = 0
    while (i < bounds.length && each > bounds[i]!) i += 1
    this.buckets[i]! += count
    this.sum += seconds
  }
}

/** Upper bounds in seconds: 1 µs to 10 ms. */
export const DECISION_BOUNDS: readonly number[] = [
  1e-6, 2e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 1e-2,
]

export class DecisionTimes extends Durations {
  constructor() {
    super(DECISION_BOUNDS)
  }
}

/** Upper bounds in seconds: 1 ms to 10 minutes, for an event may be long under way. */
const REVOCATION_BOUNDS: readonly number[] = [0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 600]

export class RevocationTimes extends Durations {
  constructor() {
    super(REVOCATION_BOUNDS)
  }
}
