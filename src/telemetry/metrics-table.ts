// The catalogue as the table of docs/metrics.md; a test keeps the file in step.

import {
  BUILD_INFO,
  type Catalogue,
  type GaugeSpec,
  HISTOGRAM,
  POLICY_INFO,
  REVOCATION_HISTOGRAM,
} from './catalogue.ts'
import { LABELS } from './labels.ts'
import type { Family } from './tally.ts'

const HEAD = `# Metrics

<!-- Made from src/telemetry/catalogue.ts; \`npx vitest run test/telemetry -u\` writes it anew. -->

Served as Prometheus text on the admin listener under \`/metrics\`, next to the process metrics of prom-client
(\`process_*\`, \`nodejs_*\`). Every row of a counter is there from the start, with 0. No label holds a subject, a topic,
a client id or a token id: those are in the audit log.

| Metric | Type | Labels | Meaning |
| --- | --- | --- | --- |
`

export function metricsTable(catalogue: Catalogue): string {
  const rows = Object.values(catalogue).map((spec: Family | GaugeSpec) =>
    row(spec, 'kind' in spec ? spec.kind : 'gauge', spec.labelNames),
  )
  rows.push(row(HISTOGRAM, 'histogram', ['le']))
  rows.push(row(REVOCATION_HISTOGRAM, 'histogram', ['le']))
  rows.push(row(BUILD_INFO, 'gauge', ['version', 'node']))
  rows.push(row(POLICY_INFO, 'gauge', ['version']))
  const labels = [...LABELS].map(([name, values]) => `| \`${name}\` | ${values} |\n`)
  return `${HEAD}${rows.join('')}\n| Label | Values |\n| --- | --- |\n${labels.join('')}`
}

function row(spec: { name: string; help: string }, type: string, labelNames: readonly string[]): string {
  return `| \`${spec.name}\` | ${type} | ${labelNames.map((name) => `\`${name}\``).join(', ')} | ${spec.help} |\n`
}
