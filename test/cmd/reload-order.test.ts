// Changes at the worst moment: between the reading of a file and what follows from it.
import { execFileSync } from 'node:child_process'
import { linkSync, readFileSync, renameSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { App, readPolicy } from '../../src/app.ts'
import type { AuditRecord } from '../../src/audit/record.ts'
import { loadConfig } from '../../src/config/load.ts'
import { createLogger } from '../../src/telemetry/logger.ts'
import { JwksServer } from '../support/tokens.ts'
import { TravelClock } from '../support/travel-clock.ts'
import { Workspace } from './workspace.ts'

let workspace: Workspace
let app: App
let clock: TravelClock
/** Called with each line of the log. */
let onLine: (line: string) => void

beforeEach(async () => {
  workspace = await Workspace.create({}, rule('first'))
  clock = new TravelClock()
  onLine = () => {}
})
afterEach(async () => {
  await app.stop({ withinMs: 0 })
  workspace.remove()
})

function rule(topic: string): string {
  return `version: 1\nagents:\n  - { id: a, allow: publish, topic: ${topic} }\n`
}

function build(): App {
  const loaded = loadConfig(readFileSync(workspace.config, 'utf8'), workspace.config, {})
  if ('problems' in loaded) throw new Error(JSON.stringify(loaded.problems))
  const logger = createLogger({ level: 'info', clock, write: (line) => onLine(line) })
  return new App(loaded.config, { clock, logger, version: 'test' })
}

/** Resolves at the next line that says so. */
function logged(text: string): Promise<void> {
  return new Promise((resolve) => {
    onLine = (line) => {
      if (line.includes(text)) resolve()
    }
  })
}

/** Policy versions of the start and of each reload, in order. */
async function versions(): Promise<string[]> {
  await app.flushAudit()
  const lines = readFileSync(workspace.path('audit.jsonl'), 'utf8').trimEnd().split('\n')
  const records = lines.map((line) => JSON.parse(line) as AuditRecord)
  return records.filter(({ action }) => action !== 'keys').map(({ policy }) => policy)
}

it('a policy that changes while Postern starts is not missed', async () => {
  const keys = await new JwksServer([]).listen()
  keys.behaviour = 'hang'
  workspace.configure({ issuers: [{ issuer: 'https://issuer.example', jwks: { url: keys.url } }] })
  app = build()
  const asked = keys.nextRequest()
  const started = app.start()
  // Keys are asked for after the policy was read.
  await asked
  workspace.renameOver('policy.yaml', rule('second'))
  const reloaded = logged('"reloaded"')
  clock.advance(5_000)
  await started
  await reloaded
  expect(new Set(await versions()).size).toBe(2)
  await keys.close()
})

it('of two reloads at once the later one wins, however slow the first', async () => {
  app = build()
  await app.start()
  const pipe = workspace.path('pipe')
  execFileSync('mkfifo', [pipe])
  linkSync(pipe, workspace.path('policy.yaml.new'))
  renameSync(workspace.path('policy.yaml.new'), workspace.path('policy.yaml'))
  const slow = app.reload()
  // Opens when the reload has opened its end, which it reads until we close ours.
  const handle = await open(pipe, 'w')
  workspace.renameOver('policy.yaml', rule('third'))
  const later = app.reload()
  await handle.writeFile(rule('second'))
  await handle.close()
  await Promise.all([slow, later])
  const [first, second, third] = await versions()
  const { version } = await readPolicy(workspace.path('policy.yaml'))
  expect(third).toBe(version)
  expect(new Set([first, second, third]).size).toBe(3)
})
