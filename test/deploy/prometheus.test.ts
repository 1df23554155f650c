// Rules and dashboard against the real thing: promtool, and a Prometheus that scrapes a Postern with traffic.
import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { findExecutable } from '../../src/dev/debian-package.ts'
import { CAEP, EVENT_AUDIENCE, SSF, signSet } from '../support/events.ts'
import { publish, subscribe } from '../support/frames.ts'
import { type Prometheus, startPrometheus } from '../support/prometheus.ts'
import { openStage, type Stage } from '../support/stage.ts'
import { TEST_ISSUER } from '../support/tokens.ts'

const run = promisify(execFile)
/** There with a store, with workers, or with a credential of its own towards the broker only. */
const OPTIONAL = /^postern_(store_up|worker|credential_)/
const SECRET = 'a-secret-of-the-operator'
const RULES = 'deploy/prometheus/postern.rules.yaml'
const [prometheus, promtool] = await Promise.all([findExecutable('prometheus'), findExecutable('promtool')])

interface Rule {
  alert?: string
  record?: string
  expr: string
  annotations?: Record<string, string>
}
const rules = (parse(readFileSync(RULES, 'utf8')) as { groups: { rules: Rule[] }[] }).groups.flatMap(
  (group) => group.rules,
)
const dashboard = JSON.parse(readFileSync('deploy/grafana/postern.json', 'utf8')) as {
  panels: { title: string; targets: { expr: string }[] }[]
  annotations: { list: { expr: string }[] }
}
const queries = dashboard.panels.flatMap(({ title, targets }) =>
  targets.map(({ expr }) => [title, expr] as const),
)

describe('the rules', () => {
  test.skipIf(promtool === undefined)('are rules, and do what their unit tests say', async () => {
    await run(promtool!, ['check', 'rules', RULES])
    const tests = [
      'deploy/prometheus/postern.rules.test.yaml',
      'deploy/prometheus/postern.rules.weeks.test.yaml',
    ]
    await run(promtool!, ['test', 'rules', ...tests])
  })

  test('each alert has a severity, a unit test, and a section of the operations manual', () => {
    const manual = readFileSync('docs/operations.md', 'utf8')
    const tests = ['test', 'weeks.test'].map((name) =>
      readFileSync(`deploy/prometheus/postern.rules.${name}.yaml`, 'utf8'),
    )
    const alerts = rules.flatMap(({ alert }) => alert ?? [])
    expect(alerts).toHaveLength(13)
    expect(alerts.filter((alert) => !new RegExp(`^### ${alert}$`, 'm').test(manual))).toEqual([])
    expect(alerts.filter((alert) => !tests.join().includes(`alertname: ${alert}\n`))).toEqual([])
    for (const { alert, annotations } of rules) {
      if (alert !== undefined)
        expect(annotations?.['runbook']).toBe(`docs/operations.md#${alert.toLowerCase()}`)
    }
  })
})

describe.skipIf(prometheus === undefined)('a Prometheus that scrapes a Postern', () => {
  let stage: Stage
  let server: Prometheus

  async function tell(path: string, contentType: string, body: string): Promise<void> {
    const headers = { authorization: `Bearer ${SECRET}`, 'content-type': contentType }
    const { ok, status } = await fetch(`${stage.postern.app.adminUrl}/${path}`, {
      method: 'POST',
      headers,
      body,
    })
    if (!ok) throw new Error(`${path}: ${status}`)
  }

  beforeAll(async () => {
    stage = await openStage({
      files: { secret: SECRET },
      config: {
        listeners: [{ name: 'agents', address: '127.0.0.1:0' }],
        clientId: { binding: 'prefix', separator: '~' },
        revocation: {
          file: 'revocations.jsonl',
          secretFile: 'secret',
          events: [
            {
              name: 'idp',
              issuer: TEST_ISSUER,
              audience: EVENT_AUDIENCE,
              jwks: { file: 'jwks.json' },
              secretFile: 'secret',
            },
          ],
        },
      },
    })
    server = await startPrometheus(prometheus!, stage.postern.app.adminUrl!.slice('http://'.length), RULES)
    // What happens before the first scrape is no increase.
    await server.until('up{job="postern"} == 1')
    const scout = await stage.agent('scout', { will: { topic: 'a2a/v1/notes/scout/will', payload: 'x' } })
    scout.send(
      subscribe({
        filters: [
          ['a2a/v1/notes/scout/#', 1],
          ['a2a/v1/notes/other/#', 1],
        ],
      }),
      publish({ topic: 'a2a/v1/notes/scout/x', qos: 1, packetId: 1 }),
      publish({ topic: 'a2a/v1/notes/other/x', qos: 1, packetId: 2 }),
    )
    let packet = await scout.nextAny()
    while (packet.cmd !== 'publish') packet = await scout.nextAny()
    scout.send(publish({ topic: '$postern/token', qos: 1, packetId: 3, payload: 'no token' }))
    await scout.next('puback')
    const [analyst, operator] = [await stage.agent('analyst'), await stage.agent('operator')]
    const issSub = (sub: string): object => ({ format: 'iss_sub', iss: TEST_ISSUER, sub })
    await tell('revocations', 'application/json', JSON.stringify({ sub_id: issSub('analyst') }))
    const event = await signSet(stage.postern.issuer, `${CAEP}session-revoked`, issSub('operator'))
    await tell('events/idp', 'application/secevent+jwt', event)
    await tell(
      'events/idp',
      'application/secevent+jwt',
      await signSet(stage.postern.issuer, `${SSF}verification`, { format: 'opaque', id: 'idp' }),
    )
    await Promise.all([analyst.closed(), operator.closed()])
    await stage.tryConnect('scout', { claims: { aud: 'https://elsewhere.test' } })
    await stage.postern.app.flushAudit()
  })
  afterAll(async () => {
    await server?.stop()
    await stage?.stop()
  })

  test('gets every metric of the documentation', async () => {
    await server.until('up{job="postern"} == 1')
    const documented = [...readFileSync('docs/metrics.md', 'utf8').matchAll(/^\| `(postern_\w+)`/gm)].map(
      ([, name]) => name!,
    )
    expect(documented.length).toBeGreaterThan(20)
    const names = (await server.api('label/__name__/values')) as string[]
    const isThere = (name: string): boolean => names.includes(name) || names.includes(`${name}_bucket`)
    expect(documented.filter((name) => !OPTIONAL.test(name) && !isThere(name))).toEqual([])
  })

  test('evaluates every rule, and the recorded ones hold values', async () => {
    for (const { record } of rules) if (record !== undefined) await server.until(record)
    const { groups } = (await server.api('rules')) as {
      groups: { rules: { name: string; health: string; state?: string }[] }[]
    }
    const evaluated = groups.flatMap((group) => group.rules)
    expect(evaluated).toHaveLength(rules.length)
    expect(evaluated.filter(({ health }) => health !== 'ok')).toEqual([])
    expect(evaluated.filter(({ state }) => state === 'firing')).toEqual([])
  })

  test.each(queries)('the dashboard’s panel %s has data: %s', async (_, expression) => {
    await server.until('count_over_time(up{job="postern"}[1m]) > 4')
    const filled = expression.replaceAll('$__rate_interval', '1m').replaceAll('$instance', '.*')
    expect((await server.until(filled)).length).toBeGreaterThan(0)
  })

  test('the dashboard’s annotation is a query', async () => {
    for (const { expr } of dashboard.annotations.list) {
      await expect(server.query(expr.replaceAll('$instance', '.*'))).resolves.toBeInstanceOf(Array)
    }
  })

  test('counts what was denied', async () => {
    const [denied] = await server.until('sum(postern_publishes_total{decision="deny"}) > 0')
    expect(denied!.value[1]).toBe('1')
  })
})
