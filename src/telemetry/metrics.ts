// The Prometheus side of the counters: copies them when somebody scrapes. The only file that imports prom-client.

import { collectDefaultMetrics, type Metric, Registry } from 'prom-client'
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
  aggregator: 'sum'
}

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

  /** @param read value of row i, asked at every scrape; row 0 for a gauge without labels */
  gauge(spec: GaugeSpec, read: (row: number) => number): void {
    this.#register(spec, 'gauge', () =>
      spec.rows.map((row, i) => ({ labels: labelsOf(spec, row), value: read(i) })),
    )
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
    this.#register(BUILD_INFO, 'gauge', () => [{ labels: { version, node }, value: 1 }])
  }

  /** @param version of the policy in force; asked at every scrape, so that only the current one is shown */
  policyInfo(version: () => string): void {
    this.#register(POLICY_INFO, 'gauge', () => [{ labels: { version: version() }, value: 1 }])
  }

  #register(named: { name: string; help: string }, type: Collected['type'], collect: () => Sample[]): void {
    const { name, help } = named
    const get = async (): Promise<Collected> => ({ name, help, type, values: collect(), aggregator: 'sum' })
    this.#registry.registerMetric({ name, get, reset: () => {} } as unknown as Metric)
  }
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
