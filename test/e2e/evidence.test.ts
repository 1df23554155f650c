// What is left behind of a run: records, metrics, logs and upstream bytes. Each action once, and no secret anywhere.
// Ids: agent-specs.md 6.9 (A), identity-standards.md 13 (TOK-14, AUD, OPS), peers.md 2 (`peers.`).
import { execFileSync } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import mqtt from 'mqtt'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { ChainVerifier } from '../../src/audit/hash-chain.ts'
import { connect, disconnect, PINGREQ, prop, publish, subscribe, unsubscribe } from '../support/frames.ts'
import type { TestPostern } from '../support/postern.ts'
import { openStage, type Stage } from '../support/stage.ts'

const SECRETS = {
  userName: 'marker-user-name',
  upstream: 'marker-upstream-password',
  payload: 'marker-payload',
  willPayload: 'marker-will',
  correlation: 'marker-correlation',
  bad: 'eyJtYXJrZXI.bad-token-marker.c2ln',
}
const LOGIN = { username: 'observer', password: 'observer-password' }
const note = 'a2a/v1/notes/scout/a'

let stage: Stage
let tokens: string[]
/** The records, the metrics and the log of the run. */
let records: Awaited<ReturnType<TestPostern['records']>>
let metrics: string
let log: string
let audit: Buffer

beforeAll(async () => {
  stage = await openStage({
    mosquitto: { users: { observer: LOGIN.password, scout: SECRETS.upstream, analyst: SECRETS.upstream } },
    observer: LOGIN,
    config: {
      upstream: { username: '{agent_id}', password: SECRETS.upstream },
      denial: { overlappingDeny: 'filter' },
      log: { level: 'debug' },
    },
  })
  await run()
})
afterAll(() => stage?.stop())

/** One of everything that is decided. */
async function run(): Promise<void> {
  const { postern } = stage
  tokens = [await stage.token('scout'), await stage.token('analyst'), await stage.token('scout')]
  const bad = await stage.socket()
  bad.send(connect({ userName: SECRETS.userName, password: SECRETS.bad }))
  await bad.closed()
  const thief = await stage.socket()
  thief.send(connect({ clientId: 'analyst', password: tokens[0]! }))
  await thief.closed()
  const wills = await stage.socket()
  wills.send(connect({ password: tokens[0]!, will: { topic: 'x', payload: SECRETS.willPayload } }))
  await wills.closed()

  const scout = await stage.socket()
  const will = { topic: 'a2a/v1/notes/scout/will', payload: SECRETS.willPayload }
  scout.send(connect({ userName: SECRETS.userName, password: tokens[0]!, will }))
  await scout.next('connack')
  const properties = [prop.correlationData(SECRETS.correlation)]
  scout.send(
    publish({ topic: note, qos: 1, packetId: 1, payload: SECRETS.payload, properties }),
    publish({ topic: 'x', qos: 1, packetId: 2, payload: SECRETS.payload, properties }),
    publish({ topic: 'y', payload: SECRETS.payload }),
    subscribe({
      packetId: 3,
      filters: [
        [note, 1],
        ['#', 1],
      ],
    }),
    unsubscribe([note], 4),
    PINGREQ,
  )
  while ((await scout.nextAny()).cmd !== 'pingresp');
  scout.send(disconnect())
  await scout.closed()

  const analyst = await stage.socket()
  analyst.send(
    connect({
      clientId: 'analyst',
      properties: [prop.authenticationMethod('OAUTH2-JWT'), prop.authenticationData(tokens[1]!)],
    }),
  )
  await analyst.next('connack')
  analyst.send(subscribe({ filters: [['a2a/v1/vault/#', 1]] }))
  await analyst.next('suback')
  await stage.observer.publish('a2a/v1/vault/secret', SECRETS.payload)
  await analyst.ping()
  analyst.send(Buffer.from(SECRETS.bad))
  await analyst.closed()

  records = await postern.records()
  metrics = await (await fetch(`${postern.app.adminUrl}/metrics`)).text()
  log = JSON.stringify(postern.log, (_, value: unknown) =>
    value instanceof Error ? `${value.stack} ${value.cause}` : value,
  )
  audit = await readFile(join(postern.directory, 'audit.jsonl'))
}

/** Every text that must be nowhere. */
function secrets(): string[] {
  const parts = tokens.flatMap((token) => [token, ...token.split('.').slice(1)])
  return [...Object.values(SECRETS), ...parts]
}

describe('AUD-03, A3, peers.K11 no token, password, user name or payload', () => {
  test.each([
    ['is in the audit log', () => audit.toString('latin1')],
    ['is in the log', () => log],
    ['is in the metrics', () => metrics],
  ])('%s', (_, text) => {
    expect(text().length).toBeGreaterThan(100)
    expect(secrets().filter((secret) => text().includes(secret))).toEqual([])
  })

  test('but the digest of each is: of the token, and of the payload with its length', async () => {
    const published = records.find((record) => record.action === 'publish' && record.decision === 'allow')!
    expect(published.payload).toMatchObject({ length: SECRETS.payload.length })
    expect(published.payload?.sha256).toMatch(/^[0-9a-f]{64}$/)
    expect(published.identity?.token?.sha256).toMatch(/^[0-9a-f]{64}$/)
    expect(published.resource?.correlation_sha256).toMatch(/^[0-9a-f]{64}$/)
  })
})

describe('TOK-14, C1 what goes to the broker', () => {
  test('holds no byte of token, user name, password, Authentication Method or Data', () => {
    const upstream = stage.relay.bytesToBroker.toString('latin1')
    const forbidden = [
      SECRETS.userName,
      SECRETS.bad,
      'OAUTH2-JWT',
      ...tokens.flatMap((token) => [token, ...token.split('.')]),
    ]
    expect(forbidden.filter((text) => upstream.includes(text))).toEqual([])
  })

  test('peers.L6 holds Postern’s own credential instead, with the agent’s name as user name', () => {
    const connects = stage.relay.sessions.map((tap) => tap.toBroker.waiting[0])
    expect(connects).toMatchObject([
      { cmd: 'connect', clientId: 'scout', username: 'scout' },
      { cmd: 'connect', clientId: 'analyst', username: 'analyst' },
    ])
    for (const packet of connects) {
      expect(packet).toMatchObject({ password: Buffer.from(SECRETS.upstream) })
      expect(JSON.stringify(packet)).not.toContain('authentication')
    }
  })

  test('OPS-05 without it the broker lets nobody in', async () => {
    const { host, port } = stage.broker
    const direct = mqtt.connectAsync({
      host,
      port,
      protocolVersion: 5,
      password: tokens[2]!,
      username: 'scout',
      reconnectPeriod: 0,
    })
    await expect(direct).rejects.toMatchObject({ code: 0x87 })
  })
})

describe('AUD-01 each decision is one record', () => {
  test('in the order in which they were made, with what was done', () => {
    const told = records.map(
      ({ action, decision, reason, effect }) => `${action} ${decision} ${reason}: ${effect}`,
    )
    expect(told).toEqual([
      'start allow ok: listening',
      'connect deny malformed_token: connack 0x86',
      'connect deny client_id_mismatch: connack 0x85',
      'will deny no_rule: connack 0x87',
      'connect deny will_denied: connack 0x87',
      'will allow allow: forwarded',
      'connect allow ok: forwarded',
      'publish allow allow: forwarded',
      'publish deny no_rule: puback 0x87',
      'publish deny no_rule: dropped',
      'subscribe allow allow: forwarded',
      'subscribe deny no_rule: suback 0x87',
      'unsubscribe allow ok: forwarded',
      'disconnect allow client_disconnected: closed',
      'connect allow ok: forwarded',
      'subscribe allow allow: forwarded',
      'deliver deny deny_rule: dropped',
      'disconnect allow client_fault: disconnect 0x81',
    ])
  })

  test('AUD-02 with who, for whom, what, which rule of each layer, policy, time and connection', () => {
    const { policy, time, connection, identity, rules, resource } = records.find(
      (record) => record.action === 'publish',
    )!
    expect(policy).toMatch(/^[0-9a-f]{16}$/)
    expect(Date.parse(time)).toBeGreaterThan(0)
    expect(connection).toMatchObject({ client_id: 'scout', listener: 'agents' })
    expect(identity).toMatchObject({ agent: { id: 'scout' }, human: { id: 'u1' }, tenant: 'org_a' })
    expect(rules).toEqual({ agent: 'own-notes', user: 'any-user' })
    expect(resource).toMatchObject({ topic: note, qos: 1, retain: false })
  })

  test('OPS-01 and the counters say the same', () => {
    const value = (series: string): number => {
      const line = metrics.split('\n').find((one) => one.startsWith(`${series} `))
      return Number(line?.split(' ').at(-1) ?? Number.NaN)
    }
    const deny = (reason: string): string => `{decision="deny",reason="${reason}"}`
    const allow = '{decision="allow",reason="allow"}'
    expect({
      connects: [
        value('postern_connects_total{decision="allow",reason="ok"}'),
        value(`postern_connects_total${deny('malformed_token')}`),
        value(`postern_connects_total${deny('client_id_mismatch')}`),
        value(`postern_connects_total${deny('will_denied')}`),
      ],
      publishes: [
        value(`postern_publishes_total${allow}`),
        value(`postern_publishes_total${deny('no_rule')}`),
      ],
      subscribes: [
        value(`postern_subscribes_total${allow}`),
        value(`postern_subscribes_total${deny('no_rule')}`),
      ],
      deliveries: value(`postern_deliveries_total${deny('deny_rule')}`),
      wills: [value(`postern_wills_total${allow}`), value(`postern_wills_total${deny('no_rule')}`)],
      ended: [
        value('postern_sessions_ended_total{cause="client_disconnected"}'),
        value('postern_sessions_ended_total{cause="client_fault"}'),
      ],
      connections: [
        value('postern_connections{state="active"}'),
        value('postern_connections{state="unauthenticated"}'),
      ],
      records: value('postern_audit_records_total{result="written"}'),
    }).toEqual({
      connects: [2, 1, 1, 1],
      publishes: [1, 2],
      subscribes: [2, 1],
      deliveries: 1,
      wills: [1, 1],
      ended: [1, 1],
      connections: [0, 0],
      records: records.length,
    })
  })

  test('OPS-02 no label holds a topic, a client id, a subject or a token id', () => {
    const jtis = records.flatMap((record) => record.identity?.token?.jti ?? [])
    const names = ['scout', 'analyst', 'u1', 'org_a', 'a2a/', note, ...jtis]
    const labels = metrics
      .split('\n')
      .filter((line) => !line.startsWith('#'))
      .map((line) => line.replace(/ .*$/, ''))
      .join('\n')
    expect(names.filter((name) => labels.includes(name))).toEqual([])
  })

  test('OPS-03 metrics are on a listener of their own, on loopback', () => {
    const admin = new URL(stage.postern.app.adminUrl!)
    expect(admin.hostname).toBe('127.0.0.1')
    expect(Number(admin.port)).not.toBe(stage.postern.port)
  })
})

describe('A1 the chain', () => {
  const verify = (bytes: Buffer): { ok: boolean; seq?: number } => {
    const verifier = new ChainVerifier({ known: { seq: records.length, hash: records.at(-1)!.hash } })
    verifier.push(bytes)
    return verifier.end()
  }
  const lines = (): string[] => audit.toString().trimEnd().split('\n')
  const joined = (all: string[]): Buffer => Buffer.from(`${all.join('\n')}\n`)

  test('of the run is whole', () => {
    expect(verify(audit)).toMatchObject({ ok: true, records: records.length })
  })

  test.each<[string, (all: string[]) => string[], number]>([
    ['a byte changed', (all) => all.with(8, all[8]!.replace('"deny"', '"dent"')), 9],
    ['a record taken out', (all) => all.toSpliced(4, 1), 5],
    ['two records swapped', (all) => all.with(5, all[6]!).with(6, all[5]!), 6],
    ['a record put in twice', (all) => all.toSpliced(3, 0, all[2]!), 4],
    ['the end cut off', (all) => all.slice(0, -2), 17],
  ])('with %s is not, and the place is named', (_, change, seq) => {
    expect(verify(joined(change(lines())))).toMatchObject({ ok: false, seq })
  })
})

/** A disk of its own is the only honest full disk; to make one takes root. */
const isRoot = process.getuid?.() === 0

describe('A2 an audit log', () => {
  const connectAs = { username: 'scout', password: SECRETS.upstream }

  test.skipIf(!isRoot)('on a full disk: denies everything until it can be written again', async () => {
    const disk = await mkdtemp(join(tmpdir(), 'postern-disk-'))
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', disk])
    try {
      const file = join(disk, 'audit.jsonl')
      const audit = { file, flushInterval: '1ms', maxPending: '64KiB' }
      const postern = await stage.anotherPostern({ config: { audit, upstream: connectAs } })
      const scout = await stage.agent('scout', {}, postern)
      let sent = 0
      const send = async (): Promise<number> => {
        scout.send(publish({ topic: note, qos: 1, packetId: ++sent }))
        return (await scout.next('puback')).reasonCode ?? 0
      }
      let code = 0
      while (code < 0x80 && sent < 1000) code = await send()
      expect(code).toBe(0x83)
      scout.send(subscribe({ packetId: 2000, filters: [[note, 1]] }))
      expect(await scout.next('suback')).toMatchObject({ granted: [0x83] })
      scout.send(unsubscribe([note], 2001))
      expect(await scout.next('unsuback')).toMatchObject({ granted: [0x83] })
      expect((await stage.tryConnect('analyst', {}, postern)).connack.reasonCode).toBe(0x88)
      expect(postern.app.ready).toBe(false)
      execFileSync('mount', ['-o', 'remount,size=10m', disk])
      postern.clock.advance(1_000)
      await postern.app.flushAudit()
      expect(await send()).toBeLessThan(0x80)
      await postern.stop()
    } finally {
      execFileSync('umount', ['-l', disk])
      await rm(disk, { recursive: true, force: true })
    }
  })

  test('that cannot keep up: the agent waits, nothing is denied and nothing is lost', async () => {
    const audit = { file: 'audit.jsonl', flushInterval: '1m', maxPending: '64KiB' }
    const postern = await stage.anotherPostern({ config: { audit, upstream: connectAs } })
    const scout = await stage.agent('scout', {}, postern)
    const frames = Array.from({ length: 500 }, (_, i) => publish({ topic: note, qos: 1, packetId: i + 1 }))
    scout.send(Buffer.concat(frames))
    for (const _ of frames) expect((await scout.next('puback')).reasonCode ?? 0).toBeLessThan(0x80)
    const records = (await postern.records()).filter(({ action }) => action === 'publish')
    expect(records).toHaveLength(500)
  })
})
