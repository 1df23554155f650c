// A whole Postern in the test's process: real sockets, real files, real broker behind it, time that can be moved.
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Writable } from 'node:stream'
import { App } from '../../src/app.ts'
import { Models } from '../../src/audit/models.ts'
import type { AuditRecord, WrittenRecord } from '../../src/audit/record.ts'
import { loadConfig } from '../../src/config/load.ts'
import type { Broker } from '../../src/dev/mosquitto.ts'
import type { Logger } from '../../src/telemetry/logger.ts'
import { TEST_AUDIENCE, TEST_ISSUER, TestIssuer } from './tokens.ts'
import { TravelClock } from './travel-clock.ts'

export interface PosternOptions {
  broker: Pick<Broker, 'host' | 'port'>
  /** YAML or JSON text of the policy. */
  policy: string
  /** Merged over the defaults of this harness, as in a configuration file. */
  config?: Record<string, unknown>
  /** Keys of the one issuer of the default configuration that are changed or added. */
  issuer?: Record<string, unknown>
  /** Whose tokens are accepted; default: an identity provider of its own. */
  idp?: TestIssuer
  clock?: TravelClock
  /** Further files beside the configuration, by name. */
  files?: Readonly<Record<string, string>>
  /** In place of standard output. */
  output?: Writable
}

export interface TestPostern {
  app: App
  clock: TravelClock
  issuer: TestIssuer
  host: string
  port: number
  directory: string
  /** What was logged, newest last. */
  log: { level: string; message: string; fields: object }[]
  /** The audit records written so far, whole. */
  records(): Promise<AuditRecord[]>
  /** One metric's value, such as `value('postern_connects_total{decision="allow",reason="ok"}')`; 0 if absent. */
  metric(series: string): Promise<number>
  /** Replaces the policy file and waits until it is in force (or refused). */
  usePolicy(text: string): Promise<void>
  stop(): Promise<void>
}

export async function startPostern(options: PosternOptions): Promise<TestPostern> {
  const directory = await mkdtemp(join(tmpdir(), 'postern-test-'))
  const clock = options.clock ?? new TravelClock()
  const issuer = options.idp ?? (await TestIssuer.create(clock))
  const policyFile = join(directory, 'policy.yaml')
  const auditFile = join(directory, 'audit.jsonl')
  await writeFile(policyFile, options.policy)
  for (const [name, text] of Object.entries(options.files ?? {})) await writeFile(join(directory, name), text)
  await writeFile(join(directory, 'jwks.json'), JSON.stringify(issuer.dev.publicJwks()))
  const file = {
    listeners: [{ name: 'agents', address: '127.0.0.1:0' }],
    upstream: { address: `${options.broker.host}:${options.broker.port}` },
    issuers: [
      { issuer: TEST_ISSUER, audience: TEST_AUDIENCE, jwks: { file: 'jwks.json' }, ...options.issuer },
    ],
    policy: { file: 'policy.yaml' },
    audit: { file: 'audit.jsonl', flushInterval: '1ms' },
    admin: { address: '127.0.0.1:0' },
    ...options.config,
  }
  const loaded = loadConfig(JSON.stringify(file), join(directory, 'postern.json'), {})
  if ('problems' in loaded) throw new Error(loaded.problems.map((p) => `${p.path}: ${p.message}`).join('\n'))
  const log: TestPostern['log'] = []
  const app = new App(loaded.config, {
    clock,
    logger: recordingLogger(log),
    version: 'test',
    ...(options.output === undefined ? {} : { output: options.output }),
  })
  await app.start()
  const port = Number(app.listeners[0]!.address.split(':').at(-1))
  return {
    app,
    clock,
    issuer,
    host: '127.0.0.1',
    port,
    directory,
    log,
    records: async () => {
      await app.flushAudit()
      const text = await readFile(auditFile, 'utf8')
      const models = new Models()
      return text
        .split('\n')
        .filter((line) => line !== '')
        .flatMap((line) => models.records(JSON.parse(line) as WrittenRecord))
    },
    metric: async (series) => {
      const text = await (await fetch(`${app.adminUrl}/metrics`)).text()
      const line = text.split('\n').find((candidate) => candidate.startsWith(`${series} `))
      return line === undefined ? 0 : Number(line.slice(series.length + 1))
    },
    usePolicy: async (text) => {
      await writeFile(policyFile, text)
      await app.reload()
    },
    stop: async () => {
      await app.stop({ withinMs: 0 })
      await rm(directory, { recursive: true, force: true })
    },
  }
}

function recordingLogger(log: TestPostern['log']): Logger {
  const at = (level: string) => (fields: object, message: string) => void log.push({ level, message, fields })
  const logger: Logger = {
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
    child: () => logger,
  }
  return logger
}
