import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { OUTCOME_NAMES } from '../../src/session/outcome.ts'
import { SHADOWED_ROWS } from '../../src/session/recorder.ts'
import { type Catalogue, declareCatalogue, PACKET_TYPES } from '../../src/telemetry/catalogue.ts'
import { DecisionTimes } from '../../src/telemetry/decision-times.ts'
import { LABELS } from '../../src/telemetry/labels.ts'
import { Metrics } from '../../src/telemetry/metrics.ts'
import { metricsTable } from '../../src/telemetry/metrics-table.ts'
import { slotOf, Tally } from '../../src/telemetry/tally.ts'
import { PacketType } from '../../src/wire/control-packet.ts'

const SETS = {
  verdicts: OUTCOME_NAMES,
  shadowed: SHADOWED_ROWS,
  authFailures: ['expired', 'bad_signature'],
  grantFailures: ['expired'],
  renewalFailures: ['expired'],
  carriedFailures: ['expired'],
  revocationSources: ['admin'],
  securityEvents: ['verification'],
  hasStore: true,
  eventStreams: ['idp'],
  faults: ['malformed', 'too_large'],
  endCauses: ['expired', 'client_closed'],
  issuers: ['https://one.example', 'https://two.example'],
  brokeredListeners: ['sidecar'],
}

function setUp(): { tally: Tally; catalogue: Catalogue; metrics: Metrics } {
  const tally = new Tally()
  const catalogue = declareCatalogue(tally, SETS)
  return { tally, catalogue, metrics: new Metrics(tally) }
}

/** Value of one line of a scrape. */
async function scrape(metrics: Metrics, series: string): Promise<number | undefined> {
  const line = (await metrics.render()).split('\n').find((text) => text.startsWith(`${series} `))
  return line === undefined ? undefined : Number(line.slice(series.length + 1))
}

describe('OPS-01 a scrape', () => {
  it('shows what was counted', async () => {
    const { tally, catalogue, metrics } = setUp()
    tally.add(catalogue.connects.first)
    tally.add(catalogue.connects.first + 1 + SETS.authFailures.indexOf('bad_signature'))
    tally.add(catalogue.publishes.first + OUTCOME_NAMES.indexOf('deny_rule'), 3)
    tally.add(slotOf(catalogue.packets, 'server_to_client', 'puback'), 7)
    tally.add(catalogue.connections.first + 1, 2)
    tally.add(catalogue.connections.first + 1, -1)
    expect(await scrape(metrics, 'postern_connects_total{decision="allow",reason="ok"}')).toBe(1)
    expect(await scrape(metrics, 'postern_connects_total{decision="deny",reason="bad_signature"}')).toBe(1)
    expect(await scrape(metrics, 'postern_publishes_total{decision="deny",reason="deny_rule"}')).toBe(3)
    expect(await scrape(metrics, 'postern_packets_total{direction="server_to_client",type="puback"}')).toBe(7)
    expect(await scrape(metrics, 'postern_connections{state="active"}')).toBe(1)
  })

  it('shows every row from the start, with 0', async () => {
    const { tally, metrics } = setUp()
    const lines = (await metrics.render()).split('\n')
    for (const { name, rows } of tally.families) {
      const shown = lines.filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `))
      expect(shown).toHaveLength(rows.length)
      for (const line of shown) expect(line).toMatch(/ 0$/)
    }
  })

  it('asks gauges at each scrape', async () => {
    const { catalogue, metrics } = setUp()
    let age = 1
    metrics.gauge(catalogue.keySetAge, (issuer) => age + 10 * issuer)
    metrics.gauge(catalogue.ready, () => 1)
    expect(await scrape(metrics, 'postern_ready')).toBe(1)
    expect(await scrape(metrics, 'postern_key_set_age_seconds{issuer="https://two.example"}')).toBe(11)
    age = 5
    expect(await scrape(metrics, 'postern_key_set_age_seconds{issuer="https://one.example"}')).toBe(5)
  })

  it('shows only the policy in force', async () => {
    const { metrics } = setUp()
    let version = 'a1'
    metrics.policyInfo(() => version)
    metrics.buildInfo('0.1.0', 'v24.0.0')
    expect(await scrape(metrics, 'postern_policy_info{version="a1"}')).toBe(1)
    version = 'b2'
    expect(await scrape(metrics, 'postern_policy_info{version="a1"}')).toBeUndefined()
    expect(await scrape(metrics, 'postern_policy_info{version="b2"}')).toBe(1)
    expect(await scrape(metrics, 'postern_build_info{version="0.1.0",node="v24.0.0"}')).toBe(1)
  })

  it('shows decision times in cumulative buckets', async () => {
    const { metrics } = setUp()
    const times = new DecisionTimes()
    metrics.decisionTimes(times)
    times.observe(8e-6, 4) // 2 µs each: on the bound
    times.observe(3e-6, 1)
    times.observe(1, 1)
    times.observe(0, 0)
    const bucket = (le: string) => scrape(metrics, `postern_decision_seconds_bucket{le="${le}"}`)
    expect(await bucket('0.000001')).toBe(0)
    expect(await bucket('0.000002')).toBe(4)
    expect(await bucket('0.000005')).toBe(5)
    expect(await bucket('0.01')).toBe(5)
    expect(await bucket('+Inf')).toBe(6)
    expect(await scrape(metrics, 'postern_decision_seconds_count')).toBe(6)
    expect(await scrape(metrics, 'postern_decision_seconds_sum')).toBeCloseTo(1.000011)
  })

  it('has the metrics of the process, and a registry of its own', async () => {
    const { metrics } = setUp()
    expect(await scrape(metrics, 'process_resident_memory_bytes')).toBeGreaterThan(0)
    expect(() => setUp()).not.toThrow()
    expect(metrics.contentType).toContain('text/plain; version=0.0.4')
  })
})

describe('the catalogue', () => {
  it('OPS-02 has only labels with a documented closed set', () => {
    const { tally } = setUp()
    for (const family of tally.families) {
      for (const name of family.labelNames) expect(LABELS.has(name), `${family.name} ${name}`).toBe(true)
      for (const row of family.rows) expect(row).toHaveLength(family.labelNames.length)
    }
    for (const name of LABELS.keys()) expect(name).not.toMatch(/sub|topic|client|agent|user|token|jti/)
  })

  it('orders rows as documented', () => {
    const { catalogue: c } = setUp()
    expect(slotOf(c.publishes, 'allow', 'allow')).toBe(c.publishes.first)
    expect(slotOf(c.protocolErrors, 'server', 'too_large')).toBe(
      c.protocolErrors.first + SETS.faults.length + 1,
    )
    expect(slotOf(c.packets, 'client_to_server', 'connect')).toBe(c.packets.first)
    expect(slotOf(c.packets, 'server_to_client', 'auth')).toBe(c.packets.first + 14 + 15)
    expect(slotOf(c.reloads, 'keys', 'failed')).toBe(c.reloads.first + 3)
    expect(slotOf(c.auditRecords, 'lost')).toBe(c.auditRecords.first + 1)
  })

  it('names packet types by their numbers', () => {
    for (const [name, type] of Object.entries(PacketType))
      expect(PACKET_TYPES[type - 1]).toBe(name.toLowerCase())
  })

  it('follows the naming rules of Prometheus', () => {
    const { tally } = setUp()
    for (const { name, kind } of tally.families) {
      expect(name).toMatch(/^postern_[a-z_]+$/)
      expect(name.endsWith('_total')).toBe(kind === 'counter')
    }
  })

  it('is in docs/operations.md: what each metric is for, in one line of its table', () => {
    const manual = readFileSync('docs/operations.md', 'utf8')
    const documented = [...metricsTable(setUp().catalogue).matchAll(/^\| `(postern_\w+)`/gm)].map(
      ([, name]) => name!,
    )
    expect(documented.length).toBeGreaterThan(20)
    const table = manual.slice(manual.indexOf('\n## Metrics\n'), manual.indexOf('\n## Alerts\n'))
    expect(documented.filter((name) => !table.includes(`\`${name}\``))).toEqual([])
    const named = [...manual.matchAll(/`(postern_\w+)/g)].map(([, name]) => name!)
    expect(named.filter((name) => !documented.includes(name))).toEqual([])
  })

  it('is what docs/metrics.md says', async () => {
    await expect(metricsTable(setUp().catalogue)).toMatchFileSnapshot('../../docs/metrics.md')
  })

  it('gives no slot for a combination that was not declared', () => {
    expect(() => slotOf(setUp().catalogue.publishes, 'allow', 'deny_rule')).toThrow(TypeError)
  })
})

it('a tally keeps its counts when it grows', () => {
  const tally = new Tally()
  const one = tally.declare({ name: 'one', help: '', kind: 'counter', labelNames: [], rows: [[]] })
  tally.add(one.first, 5)
  const rows = Array.from({ length: 1000 }, (_, i) => [String(i)])
  const many = tally.declare({ name: 'many', help: '', kind: 'gauge', labelNames: ['i'], rows })
  tally.set(many.first + 999, 3)
  expect(tally.get(one.first)).toBe(5)
  expect(tally.get(many.first + 999)).toBe(3)
  expect(tally.get(many.first)).toBe(0)
})
