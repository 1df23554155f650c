// Several workers: the real command with its processes in front of a real broker. What holds for one process holds for
// all of them together.
import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import mqtt, { type IClientOptions, type IConnackPacket, type MqttClient } from 'mqtt'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Models } from '../../src/audit/models.ts'
import type { AuditRecord, WrittenRecord } from '../../src/audit/record.ts'
import { DEV_ISSUER } from '../../src/dev/issuer.ts'
import { type Broker, startMosquitto } from '../../src/dev/mosquitto.ts'
import { postern as command, type Ended, RunningPostern } from '../cmd/child.ts'
import { Workspace } from '../cmd/workspace.ts'

const SECRET = 'a-secret-of-the-operator'

const policy = (extra = ''): string => `version: 1
agents:
  - { id: own, allow: publish+subscribe, topic: "agents/{agent_id}/#" }
${extra}
users:
  - { id: all, allow: publish+subscribe, topic: "#" }
`

let broker: Broker
let workspace: Workspace
let postern: RunningPostern
let tlsPort = 0
let admin = ''

beforeAll(async () => {
  broker = await startMosquitto()
  workspace = await Workspace.create({}, policy())
  workspace.configure({
    workers: 2,
    listeners: [
      { name: 'agents', address: '127.0.0.1:0' },
      { name: 'socket', address: `unix:${workspace.path('agents.sock')}` },
      { name: 'tls', address: '127.0.0.1:0', tls: { certFile: 'cert.pem', keyFile: 'key.pem' } },
    ],
    upstream: { address: `${broker.host}:${broker.port}` },
    clientId: { binding: 'prefix', separator: '-' },
    sessions: { delegated: 'resume', drain: '100ms' },
    revocation: { file: 'revocations.jsonl', secretFile: 'secret' },
    limits: { failedTries: 3, connections: 12 },
  })
  workspace.write('secret', SECRET)
  const subject = ['-subj', '/CN=localhost', '-days', '2', '-keyout', 'key.pem', '-out', 'cert.pem']
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']
  execFileSync('openssl', ['req', '-x509', ...curve, ...subject], {
    cwd: workspace.directory,
    stdio: 'ignore',
  })
  postern = new RunningPostern(['--config', workspace.config], { cwd: workspace.directory })
  admin = String((await postern.next({ msg: 'admin endpoints' }))['address'])
  const portOf = async (listener: string): Promise<number> => {
    const { address } = await postern.next({ msg: 'listening', listener })
    return Number(String(address).split(':').at(-1))
  }
  tlsPort = await portOf('tls')
}, 30_000)
afterAll(async () => {
  await postern?.kill()
  await broker?.stop()
  workspace?.remove()
})

/** How often each client has been connected. */
const connected = new Map<string, number>()
/** Whether the broker had a session for it. */
const resumed = new WeakMap<MqttClient, boolean>()

/**
 * A way in on which connections are handed over, each to the worker that has fewest: here it is known whose turn it is. See
 * shared-port.test.ts for ports, where the kernel spreads them by chance.
 */
const handedOver = (): IClientOptions => ({
  ...{ protocol: 'mqtt', unixSocket: true, path: workspace.path('agents.sock'), host: '' },
})

async function connect(
  clientId: string,
  { user = 'alice', password, ...options }: { user?: string } & IClientOptions = {},
): Promise<MqttClient> {
  const client = mqtt.connect({
    ...handedOver(),
    protocolVersion: 5,
    clientId,
    username: 'jwt',
    password: password ?? (await workspace.token(clientId.split('-')[0]!, user)),
    reconnectPeriod: 0,
    ...options,
  })
  const { sessionPresent } = await new Promise<IConnackPacket>((resolve, reject) => {
    client.once('connect', resolve)
    client.once('error', reject)
  })
  resumed.set(client, sessionPresent)
  client.on('error', () => {})
  connected.set(clientId, (connected.get(clientId) ?? 0) + 1)
  return client
}

function records(chain: '' | '.w1' | '.w2'): AuditRecord[] {
  const models = new Models()
  const lines = readFileSync(workspace.path(`audit.jsonl${chain}`), 'utf8')
    .split('\n')
    .slice(0, -1)
  return lines.flatMap((line) => models.records(JSON.parse(line) as WrittenRecord))
}

/** In which worker's log the last CONNECT of this client is. Records are on disk after the flush interval. */
async function workerOf(clientId: string): Promise<'.w1' | '.w2'> {
  for (;;) {
    const found = (['.w1', '.w2'] as const)
      .flatMap((chain) => records(chain).map((record) => ({ chain, record })))
      .filter(({ record: { action, decision, connection } }) => {
        return action === 'connect' && decision === 'allow' && connection?.client_id === clientId
      })
      .sort((a, b) => a.record.time.localeCompare(b.record.time))
    if (found.length === connected.get(clientId)) return found.at(-1)!.chain
    await new Promise((resolve) => setImmediate(resolve))
  }
}

async function metric(series: string): Promise<number> {
  const text = await (await fetch(`${admin}/metrics`)).text()
  const line = text.split('\n').find((candidate) => candidate.startsWith(`${series} `))
  return line === undefined ? 0 : Number(line.slice(series.length + 1))
}

const connections = (): Promise<number> => metric('postern_connections{state="active"}')

async function order(sub: string): Promise<number> {
  const response = await fetch(`${admin}/revocations`, {
    method: 'POST',
    headers: { authorization: `Bearer ${SECRET}`, 'content-type': 'application/json' },
    body: JSON.stringify({ sub_id: { format: 'iss_sub', iss: DEV_ISSUER, sub } }),
  })
  return response.status
}

/** Clients that are connected, four to each worker or as many as asked for. */
async function connectMany(prefix: string, count: number, options: Parameters<typeof connect>[1] = {}) {
  const clients: MqttClient[] = []
  for (let i = 0; i < count; i++) clients.push(await connect(`${prefix}-${i}`, options))
  return clients
}

function closed(client: MqttClient): Promise<void> {
  return new Promise((resolve) => client.once('close', resolve))
}

async function leave(clients: readonly MqttClient[]): Promise<void> {
  await Promise.all(clients.map((client) => client.endAsync()))
}

/** Process ids of the workers. */
function workers(): number[] {
  return readdirSync(`/proc/${postern.pid}/task`)
    .flatMap((task) => readFileSync(`/proc/${postern.pid}/task/${task}/children`, 'utf8').split(' '))
    .filter((pid) => pid !== '')
    .map(Number)
}

describe('two workers', () => {
  it('connections that are handed over are spread evenly, and all of them are counted', async () => {
    const publishes = 'postern_publishes_total{decision="allow",reason="allow"}'
    const before = await metric(publishes)
    const clients = await connectMany('scout', 6)
    const chains = await Promise.all(clients.map(({ options }) => workerOf(options.clientId!)))
    expect(chains.filter((chain) => chain === '.w1')).toHaveLength(3)
    for (const client of clients) {
      for (let i = 0; i < 5; i++) await client.publishAsync('agents/scout/x', 'x', { qos: 1 })
    }
    expect(await metric('postern_connections{state="active"}')).toBe(6)
    expect(await metric('postern_workers')).toBe(2)
    expect((await metric(publishes)) - before).toBe(30)
    expect(await metric('postern_decision_seconds_count')).toBeGreaterThanOrEqual(30)
    await leave(clients)
  })

  it('a policy reaches all, a bad one none, and is told once', async () => {
    const clients = await connectMany('scout', 2)
    const publish = (): Promise<unknown[]> =>
      Promise.all(clients.map((client) => client.publishAsync('new/topic', 'x', { qos: 1 })))
    await expect(publish()).rejects.toMatchObject({ code: 0x87 })
    workspace.renameOver('policy.yaml', policy('  - { id: new, allow: publish, topic: "new/#" }'))
    await postern.next({ msg: 'reloaded', what: 'policy' })
    await publish()
    workspace.renameOver('policy.yaml', 'version: 1\nagents: [{ allow: fly }]\n')
    await postern.next({ msg: 'reload failed; the former one stays in force' })
    await publish()
    expect(await metric('postern_reloads_total{what="policy",result="failed"}')).toBe(1)
    expect(records('').filter(({ reason }) => reason === 'reload_failed')).toHaveLength(1)
    workspace.renameOver('policy.yaml', policy())
    await postern.next({ msg: 'reloaded', what: 'policy' })
    await leave(clients)
  })

  it('keys that are replaced are replaced everywhere', async () => {
    const old = await workspace.rotateKeys()
    await postern.next({ msg: 'reloaded', what: 'keys' })
    const password = await workspace.token('scout', 'alice', 900_000, old)
    for (let i = 0; i < 2; i++) {
      const held = await connect(`scout-${i}`)
      await expect(connect(`scout-x${i}`, { user: 'zoe', password })).rejects.toMatchObject({ code: 0x86 })
      await held.endAsync()
    }
  })

  it('REV-01 one call cuts at all workers before it is answered, and keeps out of all', async () => {
    await expect.poll(connections).toBe(0)
    const [ofAlice, ofBob] = [await connectMany('scout', 4), await connectMany('other', 2, { user: 'bob' })]
    const cuts = Promise.all(ofAlice.map(closed))
    const token = await workspace.token('scout')
    expect(await order('alice')).toBe(204)
    await cuts
    for (const chain of ['.w1', '.w2'] as const) {
      expect(records(chain).filter(({ reason }) => reason === 'revoked')).toHaveLength(2)
    }
    expect(records('').at(-1)).toMatchObject({ action: 'revoke', effect: '4 cut' })
    for (let i = 0; i < 4; i++) {
      await expect(connect(`scout-${i}`, { password: token })).rejects.toMatchObject({ code: 0x87 })
    }
    expect(ofBob.every((client) => client.connected)).toBe(true)
    await leave(ofBob)
  })

  it('TOK-18 failed tries count at all workers', async () => {
    const password = await workspace.token('erin', 'zoe')
    const held = [await connect('scout-1', { user: 'zoe' })]
    for (let i = 0; i < 3; i++) {
      await expect(connect('somebody-else', { password })).rejects.toMatchObject({ code: 0x85 })
      if (i === 1) await leave(held)
    }
    /** Reason Code of a CONNECT with a good token. */
    const tried = async (): Promise<unknown> => {
      try {
        await leave([await connect('erin', { password })])
        return 0
      } catch (error) {
        return (error as { code: unknown }).code
      }
    }
    for (let i = 0; i < 2; i++) {
      // The other worker is told: that may take as long as the next CONNECT.
      await expect.poll(tried).toBe(0x9f)
      held[i] = await connect(`scout-${i}`, { user: 'zoe' })
    }
    await leave(held)
  })

  it('the limit of connections is one for all', async () => {
    await expect.poll(connections).toBe(0)
    const clients = await connectMany('scout', 12, { user: 'zoe' })
    await expect(connect('scout-12', { user: 'zoe' })).rejects.toMatchObject({ code: 0x89 })
    await leave(clients)
  })

  describe('an MQTT session goes on at another worker', () => {
    const session = { user: 'carol', clean: false, properties: { sessionExpiryInterval: 60 } }

    it.each([
      ['after it was left', true],
      ['while its connection is open', false],
    ])('%s', async (_, isLeft) => {
      await expect.poll(connections).toBe(0)
      const clientId = isLeft ? 'scout-left' : 'scout-open'
      const first = await connect(clientId, session)
      await first.subscribeAsync(`agents/scout/${clientId}`, { qos: 1 })
      const from = await workerOf(clientId)
      // So that it is the other worker's turn: as many connections there, and one more here.
      const held = await connectMany('held', 3, { user: 'zoe' })
      if (isLeft) await first.endAsync()
      for (const client of held) {
        if ((await workerOf(client.options.clientId!)) !== from) await client.endAsync()
      }
      await expect.poll(connections).toBe(isLeft ? 1 : 2)
      const second = await connect(clientId, session)
      const to = await workerOf(clientId)
      expect(to).not.toBe(from)
      // Whoever remembers the session's subscriptions takes those away that a policy takes away.
      workspace.renameOver('policy.yaml', policy().replace('agents/{agent_id}/#', 'agents/{agent_id}/card'))
      await postern.next({ msg: 'reloaded', what: 'policy' })
      const taken = (): AuditRecord[] =>
        records(to).filter(
          ({ action, connection }) => action === 'unsubscribe' && connection?.client_id === clientId,
        )
      await expect.poll(taken).toHaveLength(1)
      workspace.renameOver('policy.yaml', policy())
      await postern.next({ msg: 'reloaded', what: 'policy' })
      await leave([...held, first, second])
    })

    it('but never for another human', async () => {
      await expect.poll(connections).toBe(0)
      const first = await connect('scout-shared', session)
      await first.subscribeAsync('agents/scout/shared', { qos: 1 })
      await first.endAsync()
      await expect.poll(connections).toBe(0)
      const held = await connect('held', { user: 'zoe' })
      const second = await connect('scout-shared', { ...session, user: 'dave' })
      expect(resumed.get(second)).toBe(false)
      await leave([held, second])
    })
  })

  it('Unix sockets and ports with TLS are served by all', async () => {
    const overUnix = await connect('scout-unix', { user: 'zoe' })
    const overTls = await Promise.all(
      ['a', 'b'].map((name) =>
        connect(`scout-${name}`, {
          user: 'zoe',
          ...{ protocol: 'mqtts', unixSocket: false, path: '', host: '127.0.0.1', port: tlsPort },
          rejectUnauthorized: false,
        }),
      ),
    )
    for (const client of [overUnix, ...overTls]) {
      await client.publishAsync('agents/scout/x', 'x', { qos: 1 })
    }
    await leave([overUnix, ...overTls])
  })
})

describe('the end of a worker', () => {
  it('kill -9: its connections are lost, the others go on, and the one in its place knows all', async () => {
    await expect.poll(connections).toBe(0)
    const clients = await connectMany('scout', 4, { user: 'zoe' })
    for (const client of clients) await client.publishAsync('agents/scout/x', 'x', { qos: 1 })
    const token = await workspace.token('victim', 'victor')
    expect(await order('victor')).toBe(204)
    const publishes = 'postern_publishes_total{decision="allow",reason="allow"}'
    const before = await metric(publishes)
    const lost: MqttClient[] = []
    for (const client of clients) client.once('close', () => lost.push(client))
    process.kill(workers()[0]!, 'SIGKILL')
    await postern.next({
      msg: 'a worker has ended, and its connections with it; it is started again',
      worker: 'w1',
    })
    await expect.poll(() => lost).toHaveLength(2)
    for (const client of clients.filter((one) => !lost.includes(one))) {
      await client.publishAsync('agents/scout/x', 'x', { qos: 1 })
    }
    expect((await fetch(`${admin}/readyz`)).status).toBe(503)
    await postern.next({ msg: 'a worker was started again', worker: 'w1' })
    expect((await fetch(`${admin}/readyz`)).status).toBe(200)
    expect(await metric(publishes)).toBe(before + 2)
    expect(await metric('postern_worker_exits_total')).toBe(1)
    expect(await metric('postern_connections{state="active"}')).toBe(2)
    // It is its turn, as it has none.
    await expect(connect('victim', { password: token })).rejects.toMatchObject({ code: 0x87 })
    await expect.poll(() => records('.w1').at(-1)).toMatchObject({ action: 'connect', reason: 'revoked' })
    await leave(clients.filter((one) => one.connected))
  })

  it('SIGTERM: every agent is told, every chain is whole, and no process stays', async () => {
    const clients = await connectMany('scout', 4, { user: 'zoe' })
    const codes = Promise.all(
      clients.map(
        (client) =>
          new Promise((resolve) => client.once('disconnect', (packet) => resolve(packet.reasonCode))),
      ),
    )
    const pids = workers()
    expect(pids).toHaveLength(2)
    postern.signal('SIGTERM')
    expect(await codes).toEqual([0x8b, 0x8b, 0x8b, 0x8b])
    expect(await postern.exited).toBe(0)
    for (const pid of pids) expect(() => process.kill(pid, 0)).toThrow('ESRCH')
    for (const chain of ['', '.w1', '.w2'] as const)
      expect(records(chain).at(-1)).toMatchObject({ action: 'stop' })
  })
})

describe('the logs of all processes are one set', () => {
  const audit = (...args: string[]): Promise<Ended> =>
    command(['audit', ...args], { cwd: workspace.directory })

  it('verify proves each chain, and names the one that was changed', async () => {
    const good = await audit('verify', 'audit.jsonl')
    expect(good.status).toBe(0)
    expect(good.stdout.match(/^OK {2}[^:]+/gm)).toEqual([
      'OK  audit.jsonl',
      'OK  audit.jsonl.w1',
      'OK  audit.jsonl.w2',
    ])
    const path = workspace.path('audit.jsonl.w2')
    const text = readFileSync(path, 'utf8')
    writeFileSync(path, text.replace('"scout"', '"SCOUT"'))
    const bad = await audit('verify', 'audit.jsonl')
    writeFileSync(path, text)
    expect(bad.status).toBe(1)
    expect(bad.stdout).toMatch(/^OK {2}audit\.jsonl\.w1.*\nBAD audit\.jsonl\.w2:/m)
  })

  it('query answers in the order of time', async () => {
    const { stdout } = await audit('query', '--agent', 'scout', '--format', 'jsonl', 'audit.jsonl')
    const found = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as AuditRecord)
    const times = found.map(({ time }) => time)
    expect(times).toEqual([...times].sort())
    expect(new Set(found.map(({ instance }) => instance))).toEqual(new Set(['postern.w1', 'postern.w2']))
    const both = (['.w1', '.w2'] as const).flatMap(records)
    expect(found).toHaveLength(both.filter(({ identity }) => identity?.agent?.id === 'scout').length)
  })

  it('report is about all of them', async () => {
    expect((await audit('report', '--out', 'page.html', 'audit.jsonl')).status).toBe(0)
    expect(readFileSync(workspace.path('page.html'), 'utf8')).toMatch(/audit\.jsonl\.w1: records 1 to/)
  })
})
