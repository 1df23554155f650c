// The Prometheus side of the counters: copies them when somebody scrapes. The only file that imports prom-client.

import { AggregatorRegistry, collectDefaultMetrics, type Metric, Registry } from 'prom-client'
import { BUILD_INFO, type GaugeSpec, HISTOGRAM, POLICY_INFO, REVOCATION_HISTOGRAM } from './catalogue.ts'
import type { DecisionTimes, Durations, RevocationTimes } from './decision-times.ts'
import type { Family, Tally } from './tally.ts'

interface Sample {
  labels: Record<string, string | number>
  value: number
  /** For a histogram: name with `_bucket`, `_sum` or `_count`. */
  metricName?: string
}

/** What prom-client's registry asks of a metric when it renders: nothing is stored twice. */
interface Collected {
  name: string
  help: string
  type: 'counter' | 'gauge' | 'histogram'
  values: Sample[]
  aggregator: Joining
}

/** How the values of several processes become one. */
type Joining = 'sum' | 'first' | 'max'

/** All metrics of one process, as plain data. */
export type Snapshot = readonly { name: string; type: unknown; aggregator?: string }[]

/** A registry of its own: nothing is shared with other users of prom-client in the process. */
export class Metrics {
  readonly #registry = new Registry()

  /** Takes the families declared in `tally` so far; declare the catalogue first. */
  constructor(tally: Tally) {
    collectDefaultMetrics({ register: this.#registry })
    for (const family of tally.families)
      this.#register(family, family.kind, () => familySamples(family, tally))
  }

  get contentType(): string {
    return this.#registry.contentType
  }

  /** Text exposition format. */
  render(): Promise<string> {
    return this.#registry.metrics()
  }

  /** For `joined`, in another process. */
  snapshot(): Promise<Snapshot> {
    return this.#registry.getMetricsAsJSON() as unknown as Promise<Snapshot>
  }

  /**
   * The metrics of several processes as one, in text exposition format.
   *
   * @param first what has one value for all of them is taken from it
   */
  static joined(first: Snapshot, others: readonly Snapshot[]): Promise<string> {
    return join(first, others).metrics()
  }

  /** What is to be added for a process that has ended: its counts, and not its gauges. */
  static async ended(before: Snapshot, last: Snapshot): Promise<Snapshot> {
    const counts = last.filter(({ type }) => type === 'counter' || type === 'histogram')
    return (await join(before, [counts]).getMetricsAsJSON()) as unknown as Snapshot
  }

  /**
   * @param read value of row i, asked at every scrape; row 0 for a gauge without labels
   * @param joining how the values of several processes become one
   */
  gauge(spec: GaugeSpec, read: (row: number) => number, joining: Joining = 'first'): void {
    const collect = (): Sample[] =>
      spec.rows.map((row, i) => ({ labels: labelsOf(spec, row), value: read(i) }))
    this.#register(spec, 'gauge', collect, joining)
  }

  decisionTimes(times: DecisionTimes): void {
    this.#register(HISTOGRAM, 'histogram', () => histogramSamples(HISTOGRAM.name, times))
  }

  revocationTimes(times: RevocationTimes): void {
    this.#register(REVOCATION_HISTOGRAM, 'histogram', () =>
      histogramSamples(REVOCATION_HISTOGRAM.name, times),
    )
  }

  buildInfo(version: string, node: string): void {
    this.#register(BUILD_INFO, 'gauge', () => [{ labels: { version, node }, value: 1 }], 'first')
  }

  /** @param version of the policy in force; asked at every scrape, so that only the current one is shown */
  policyInfo(version: () => string): void {
    this.#register(POLICY_INFO, 'gauge', () => [{ labels: { version: version() }, value: 1 }], 'first')
  }

  #register(
    named: { name: string; help: string },
    type: Collected['type'],
    collect: () => Sample[],
    aggregator: Joining = 'sum',
  ): void {
    const { name, help } = named
    const get = async (): Promise<Collected> => ({ name, help, type, values: collect(), aggregator })
    this.#registry.registerMetric({ name, get, reset: () => {} } as unknown as Metric)
  }
}

function join(first: Snapshot, others: readonly Snapshot[]): Registry {
  // prom-client would leave out what cannot be joined, such as the time of the start.
  const own = first.map((metric) =>
    metric.aggregator === 'omit' ? { ...metric, aggregator: 'first' } : metric,
  )
  return AggregatorRegistry.aggregate([own, ...others] as unknown as object[])
}

function familySamples(family: Family, tally: Tally): Sample[] {
  return family.rows.map((row, i) => ({ labels: labelsOf(family, row), value: tally.get(family.first + i) }))
}

function labelsOf(spec: { labelNames: readonly string[] }, row: readonly string[]): Record<string, string> {
  return Object.fromEntries(spec.labelNames.map((name, i) => [name, row[i]!]))
}

/** Prometheus buckets are cumulative. */
function histogramSamples(name: string, times: Durations): Sample[] {
  let count = 0
  const samples: Sample[] = [...times.bounds, Number.POSITIVE_INFINITY].map((bound, i) => {
    count += times.buckets[i]!
    const le = bound === Number.POSITIVE_INFINITY ? '+Inf' : bound
    return { metricName: `${name}_bucket`, labels: { le }, value: count }
  })
  samples.push({ metricName: `${name}_sum`, labels: {}, value: times.sum })
  samples.push({ metricName: `${name}_count`, labels: {}, value: count })
  return samples
}
