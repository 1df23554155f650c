// One running Postern, changed and ended from outside. The tests follow one another: each leaves the open policy in force.
import { readFileSync, renameSync, symlinkSync } from 'node:fs'
import { connect as connectSocket, type Socket } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { AuditRecord } from '../../src/audit/record.ts'
import { type Broker, startMosquitto } from '../../src/dev/mosquitto.ts'
import { connect, disconnect, publish, subscribe } from '../support/frames.ts'
import { Observer } from '../support/observer.ts'
import { RawClient } from '../support/raw-client.ts'
import { RecordingRelay } from '../support/recording-relay.ts'
import { postern, RunningPostern } from './child.ts'
import { Workspace } from './workspace.ts'

/** Under the open policy agents use notes and load; under the closed one they do not. */
function policy(topics: 'open' | 'closed'): string {
  return `version: 1
agents:
  - { id: notes, allow: publish+subscribe, topics: [${topics}/#${topics === 'open' ? ', notes/#, load/#' : ''}] }
users:
  - { id: all, allow: publish+subscribe, topic: "#" }
`
}

let broker: Broker
let relay: RecordingRelay
let observer: Observer
let workspace: Workspace
let running: RunningPostern
let port: number
let admin: string

beforeAll(async () => {
  broker = await startMosquitto()
  relay = await RecordingRelay.start(broker)
  observer = await Observer.open(broker)
  workspace = await Workspace.create({ upstream: { address: `127.0.0.1:${relay.port}` } }, policy('open'))
  running = new RunningPostern([], {
    env: {
      POSTERN_CONFIG: workspace.config,
      POSTERN_INSTANCE: 'from-env',
      POSTERN_SESSIONS__DRAIN: '3s',
    },
  })
  admin = (await running.next({ msg: 'admin endpoints' }))['address'] as string
  port = portOf(await running.next({ msg: 'listening', listener: 'agents' }))
})
afterAll(async () => {
  await running?.kill()
  await observer?.close()
  await relay?.stop()
  await broker?.stop()
  workspace?.remove()
})

function portOf(line: Record<string, unknown>): number {
  return Number(String(line['address']).split(':').at(-1))
}

/** Connects; the CONNACK Reason Code. */
async function tryConnect(agent: string, token: string): Promise<[number | undefined, RawClient]> {
  const client = await RawClient.open({ port, name: agent })
  client.send(connect({ clientId: agent, password: token }))
  return [(await client.next('connack')).reasonCode, client]
}

async function agentNamed(name: string): Promise<RawClient> {
  const [code, client] = await tryConnect(name, await workspace.token(name))
  expect(code).toBe(0)
  return client
}

/** Publishes with QoS 1; the PUBACK Reason Code. */
async function publishing(client: RawClient, topic: string): Promise<number | undefined> {
  client.send(publish({ topic, qos: 1, packetId: 7 }))
  return (await client.next('puback')).reasonCode
}

async function subscribing(client: RawClient, filter: string): Promise<number | undefined> {
  client.send(subscribe({ filters: [[filter]] }))
  return (await client.next('suback')).granted[0] as number
}

async function metric(series: string): Promise<number> {
  const text = await (await fetch(`${admin}/metrics`)).text()
  return Number(
    text
      .split('\n')
      .find((line) => line.startsWith(`${series} `))
      ?.split(' ')
      .at(-1),
  )
}

function records(): AuditRecord[] {
  const lines = readFileSync(workspace.path('audit.jsonl'), 'utf8').trimEnd().split('\n')
  return lines.map((line) => JSON.parse(line) as AuditRecord)
}

it('takes the tokens that `postern token sign` makes', async () => {
  const args = ['token', 'sign', '--keys', workspace.path('keys'), '--agent', 'scout', '--user', 'alice']
  const { stdout } = await postern(args)
  const [code, client] = await tryConnect('scout', stdout.trimEnd())
  expect(code).toBe(0)
  client.destroy()
})

describe('a changed policy', () => {
  it.each([
    ['written in place', (text: string) => workspace.write('policy.yaml', text)],
    ['renamed over', (text: string) => workspace.renameOver('policy.yaml', text)],
    ['by a swapped link, as in Kubernetes', swapLink],
  ])('%s is in force at once, for live connections and their subscriptions', async (_, change) => {
    const scout = await agentNamed('scout')
    expect(await subscribing(scout, 'notes/in')).toBe(1)
    expect(await publishing(scout, 'notes/out')).toBeLessThan(0x80)
    const { toBroker } = relay.sessions.at(-1)!
    change(policy('closed'))
    await running.next({ msg: 'reloaded', what: 'policy' })
    for (const cmd of ['connect', 'subscribe', 'publish'] as const) await toBroker.next(cmd)
    expect((await toBroker.next('unsubscribe')).unsubscriptions).toEqual(['notes/in'])
    expect(await publishing(scout, 'notes/out')).toBe(0x87)
    await observer.publish('notes/in', 'secret')
    await scout.ping()
    change(policy('open'))
    await running.next({ msg: 'reloaded', what: 'policy' })
    expect(await publishing(scout, 'notes/out')).toBeLessThan(0x80)
    scout.send(disconnect())
    await scout.closed()
  })

  let swaps = 0
  /** The file is a link to a file in a directory behind a second link, which is replaced. */
  function swapLink(text: string): void {
    const version = `v${++swaps}.yaml`
    workspace.write(version, text)
    symlinkSync(version, workspace.path('..data_tmp'))
    renameSync(workspace.path('..data_tmp'), workspace.path('..data'))
    if (swaps > 1) return
    symlinkSync('..data', workspace.path('policy.yaml.new'))
    renameSync(workspace.path('policy.yaml.new'), workspace.path('policy.yaml'))
  }

  it('OPS-07 under load judges every message by one policy, and no connection ends of it', async () => {
    const scout = await agentNamed('scout')
    const codes = new Set<number | undefined>()
    let isLoading = true
    let onAnswer = (): void => {}
    const load = (async () => {
      while (isLoading) {
        codes.add(await publishing(scout, 'load/x'))
        onAnswer()
      }
    })()
    for (const next of ['closed', 'open', 'closed', 'open'] as const) {
      workspace.renameOver('policy.yaml', policy(next))
      await running.next({ msg: 'reloaded', what: 'policy' })
      await new Promise<void>((resolve) => {
        onAnswer = resolve
      })
    }
    isLoading = false
    await load
    expect([...codes].filter((code) => code! < 0x80)).not.toEqual([])
    expect(codes).toContain(0x87)
    const byPolicy = new Map<string, Set<string>>()
    for (const record of records().filter(({ resource }) => resource?.topic === 'load/x')) {
      const decisions = byPolicy.get(record.policy) ?? new Set()
      byPolicy.set(record.policy, decisions.add(record.decision))
    }
    expect([...byPolicy.values()].map((decisions) => [...decisions])).toEqual([['allow'], ['deny']])
    scout.send(disconnect())
    await scout.closed()
  })

  it('OPS-07 that is bad leaves the former one in force, is counted, and logged with every problem', async () => {
    const scout = await agentNamed('scout')
    workspace.renameOver(
      'policy.yaml',
      'version: 1\nagents:\n  - { id: a, allow: publish }\n  - { id: a, topic: x }\n',
    )
    const line = await running.next({ level: 'error', what: 'policy' })
    const problems = line['problems'] as { file: string; line: number; message: string }[]
    expect(problems.map(({ line }) => line)).toEqual(expect.arrayContaining([3, 4]))
    expect(problems[0]).toMatchObject({
      file: workspace.path('policy.yaml'),
      message: expect.stringMatching(/\.$/),
    })
    expect(await metric('postern_reloads_total{what="policy",result="failed"}')).toBe(1)
    expect(await publishing(scout, 'notes/out')).toBeLessThan(0x80)
    workspace.renameOver('policy.yaml', policy('open'))
    await running.next({ msg: 'reloaded', what: 'policy' })
    scout.destroy()
  })
})

describe('changed keys', () => {
  it('KEY-08 replace the old ones without a restart; connections that exist go on', async () => {
    const old = await agentNamed('scout')
    const oldIssuer = await workspace.rotateKeys()
    await running.next({ msg: 'reloaded', what: 'keys' })
    expect(
      (await tryConnect('analyst', await workspace.token('analyst', 'alice', 60_000, oldIssuer)))[0],
    ).toBe(0x86)
    const fresh = await agentNamed('analyst')
    expect(await publishing(old, 'notes/out')).toBeLessThan(0x80)
    for (const client of [old, fresh]) client.destroy()
  })

  it('KEY-08 that are bad leave the former ones in force', async () => {
    workspace.renameOver('keys/jwks.json', '{"keys": [')
    const line = await running.next({ level: 'error', what: 'keys' })
    expect(line['err']).toMatchObject({ message: expect.stringContaining('the JWK Set is not JSON') })
    expect(await metric('postern_reloads_total{what="keys",result="failed"}')).toBe(1)
    const scout = await agentNamed('scout')
    scout.destroy()
    workspace.renameOver('keys/jwks.json', JSON.stringify(workspace.issuer.publicJwks()))
    await running.next({ msg: 'reloaded', what: 'keys' })
  })
})

it('SIGHUP reads policy and keys again, whether or not they look changed', async () => {
  running.signal('SIGHUP')
  await running.next({ msg: 'reloaded', what: 'policy' })
  await running.next({ msg: 'reloaded', what: 'keys' })
})

describe('SIGTERM', () => {
  let silent: Socket

  it('sends agents away over time with 0x8B, takes no new ones, is not ready, and ends with exit code 0', async () => {
    silent = connectSocket(Number(new URL(admin).port), '127.0.0.1')
    const first = await agentNamed('first')
    const last = await agentNamed('last')
    running.signal('SIGTERM')
    await running.next({ msg: 'draining', signal: 'SIGTERM' })
    expect(await first.closed()).toMatchObject([{ cmd: 'disconnect', reasonCode: 0x8b }])
    const ready = await fetch(`${admin}/readyz`)
    expect(ready.status).toBe(503)
    expect(await ready.json()).toMatchObject({
      ready: false,
      checks: expect.arrayContaining([{ name: 'draining', ok: false, message: 'Postern is shutting down.' }]),
    })
    await expect(RawClient.open({ port })).rejects.toMatchObject({ code: 'ECONNREFUSED' })
    expect(await publishing(last, 'notes/out')).toBeLessThan(0x80)
    expect(await last.closed()).toMatchObject([{ cmd: 'disconnect', reasonCode: 0x8b }])
    expect(await running.exited).toBe(0)
  })

  it('leaves an audit log that verifies, from `start` to `stop`', async () => {
    silent.destroy()
    const all = records()
    expect(all[0]).toMatchObject({ action: 'start', instance: 'from-env' })
    expect(all.at(-1)).toMatchObject({ action: 'stop' })
    expect(all.filter(({ action }) => action === 'policy').map(({ decision }) => decision)).toContain('deny')
    const { status, stdout } = await postern(['audit', 'verify', workspace.path('audit.jsonl')])
    expect({ status, stdout }).toEqual({ status: 0, stdout: expect.stringContaining(`OK  `) })
    expect(stdout).toContain(`${all.length} records, seq 1..${all.length}, head ${all.at(-1)!.hash}`)
  })

  it('a second signal ends at once with exit code 1; with `admin: off` there is nothing to ask', async () => {
    const second = new RunningPostern(['--config', workspace.config], {
      env: { POSTERN_ADMIN: 'off', POSTERN_SESSIONS__DRAIN: '1h' },
    })
    port = portOf(await second.next({ msg: 'listening' }))
    const first = await agentNamed('first')
    const last = await agentNamed('last')
    expect(second.messages).not.toContain('admin endpoints')
    second.signal('SIGINT')
    expect(await first.closed()).toMatchObject([{ cmd: 'disconnect', reasonCode: 0x8b }])
    expect(await publishing(last, 'notes/out')).toBeLessThan(0x80)
    second.signal('SIGTERM')
    await last.closed()
    expect(await second.exited).toBe(1)
  })

  it('with audit records that cannot be written ends with exit code 1, after it has said so', async () => {
    const third = new RunningPostern(['--config', workspace.config], {
      env: { POSTERN_AUDIT__FILE: 'full.jsonl' },
      diskIsFull: true,
    })
    await third.next({ msg: 'listening' })
    for (let i = 0; i < 5; i++) {
      third.signal('SIGHUP')
      await third.next({ msg: 'reloaded', what: 'keys' })
    }
    await third.next({ msg: 'the audit log cannot be written' })
    third.signal('SIGTERM')
    await third.next({ level: 'error', msg: 'audit records are lost' })
    expect(await third.exited).toBe(1)
  })
})
