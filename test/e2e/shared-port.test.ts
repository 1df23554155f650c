// One port that several workers accept on, each for itself: the real command in front of a real broker, with the
// kernel's own word on who listens.
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { connect as dial, type Socket } from 'node:net'
import mqttPacket from 'mqtt-packet'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Broker, startMosquitto } from '../../src/dev/mosquitto.ts'
import { proxyHeader } from '../../src/net/proxy-protocol.ts'
import { canSharePorts } from '../../src/net/shared-port.ts'
import { postern as command, RunningPostern } from '../cmd/child.ts'
import { Workspace } from '../cmd/workspace.ts'

const POLICY = `version: 1
agents: [{ id: own, allow: publish+subscribe, topic: "agents/{agent_id}/#" }]
users: [{ id: all, allow: publish+subscribe, topic: "#" }]
`
const MOST = 40

let broker: Broker
let workspace: Workspace
let postern: RunningPostern
let port = 0
let balanced = 0
let admin = ''
let token = ''
const held: Socket[] = []

beforeAll(async () => {
  broker = await startMosquitto()
  workspace = await Workspace.create({}, POLICY)
  workspace.configure({
    workers: 2,
    listeners: [
      { name: 'agents', address: '127.0.0.1:0' },
      { name: 'balanced', address: '127.0.0.1:0', proxyProtocolFrom: ['127.0.0.0/8'] },
    ],
    upstream: { address: `${broker.host}:${broker.port}` },
    clientId: { binding: 'prefix', separator: '-' },
    sessions: { drain: '100ms' },
    limits: { connections: MOST },
  })
  postern = new RunningPostern(['--config', workspace.config], { cwd: workspace.directory })
  admin = String((await postern.next({ msg: 'admin endpoints' }))['address'])
  const portOf = async (listener: string): Promise<number> => {
    const { address } = await postern.next({ msg: 'listening', listener })
    return Number(String(address).split(':').at(-1))
  }
  port = await portOf('agents')
  balanced = await portOf('balanced')
  token = await workspace.token('scout')
}, 30_000)
afterAll(async () => {
  await postern?.kill()
  await broker?.stop()
  workspace?.remove()
})

let names = 0

/** Reason Code of a CONNECT; undefined: the connection was refused, reset or closed without an answer. */
function tryConnect(to = port, header?: Buffer): Promise<number | undefined> {
  return new Promise((resolve) => {
    const socket = dial(to, '127.0.0.1')
    const parser = mqttPacket.parser({ protocolVersion: 5 })
    parser.on('packet', (packet) => {
      const code = packet.cmd === 'connack' ? packet.reasonCode : undefined
      if (code === 0) held.push(socket)
      resolve(code)
    })
    socket.on('data', (bytes) => parser.parse(bytes))
    socket.on('error', () => {})
    socket.on('close', () => resolve(undefined))
    if (header !== undefined) socket.write(header)
    const clientId = `scout-${names++}`
    const password = Buffer.from(token)
    socket.write(
      mqttPacket.generate({
        cmd: 'connect',
        protocolVersion: 5,
        clientId,
        clean: true,
        username: 'jwt',
        password,
      }),
    )
  })
}

async function leaveAll(): Promise<void> {
  for (const socket of held.splice(0))
    socket.end(mqttPacket.generate({ cmd: 'disconnect' }, { protocolVersion: 5 }))
  await expect.poll(connections, { timeout: 10_000 }).toBe(0)
}

async function connections(): Promise<number> {
  const text = await (await fetch(`${admin}/metrics`)).text()
  const counts = text.match(/^postern_connections\{[^}]*\} (\d+)$/gm) ?? []
  return counts.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0)
}

/** Process ids of the workers. */
function workers(): number[] {
  return readdirSync(`/proc/${postern.pid}/task`)
    .flatMap((task) => readFileSync(`/proc/${postern.pid}/task/${task}/children`, 'utf8').split(' '))
    .filter((pid) => pid !== '')
    .map(Number)
}

/** Who of these listens on a port, by the inodes of their sockets. */
function listeningOn(which: number, pids: readonly number[]): number[] {
  const suffix = `:${which.toString(16).toUpperCase().padStart(4, '0')}`
  const inodes = readFileSync('/proc/net/tcp', 'utf8')
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter((fields) => fields[1]?.endsWith(suffix) && fields[3] === '0A')
    .map((fields) => `socket:[${fields[9]}]`)
  return pids.filter((pid) => {
    const names = readdirSync(`/proc/${pid}/fd`).map((fd) => {
      try {
        return readlinkSync(`/proc/${pid}/fd/${fd}`)
      } catch {
        return '' // closed meanwhile
      }
    })
    return names.some((name) => inodes.includes(name))
  })
}

/** Connections that a worker has accepted and the broker has taken, by its audit log. */
function connectsOf(chain: '.w1' | '.w2'): number {
  return readFileSync(workspace.path(`audit.jsonl${chain}`), 'utf8').match(/"action":"connect"/g)?.length ?? 0
}

describe.runIf(await canSharePorts())('a port of two workers', () => {
  it('is listened on by the workers, and not by the process that started them', () => {
    const pids = workers()
    expect(pids).toHaveLength(2)
    expect(listeningOn(port, [postern.pid, ...pids])).toEqual(pids)
  })

  it('many connections are spread over both, by chance', async () => {
    const codes: unknown[] = []
    for (let i = 0; i < MOST; i++) codes.push(await tryConnect())
    expect(codes.every((code) => code === 0)).toBe(true)
    // Of 40 that fall to either side by a hash, fewer than 5 are on one side once in five million runs.
    await expect.poll(() => connectsOf('.w1') + connectsOf('.w2')).toBe(MOST)
    expect(Math.min(connectsOf('.w1'), connectsOf('.w2'))).toBeGreaterThanOrEqual(5)
    await leaveAll()
  })

  it('the limit of connections is one for both, also when many come at once', async () => {
    const codes = await Promise.all(Array.from({ length: 2 * MOST }, () => tryConnect()))
    expect(codes.filter((code) => code === 0)).toHaveLength(MOST)
    expect(codes.filter((code) => code === 0x89)).toHaveLength(MOST)
    await leaveAll()
    expect(await tryConnect()).toBe(0)
    await leaveAll()
  })

  it('load balancers name the agent to whoever accepts', async () => {
    const target = { host: '127.0.0.1', port: balanced }
    const header = proxyHeader('203.0.113.7:4711', target)
    for (let i = 0; i < 4; i++) expect(await tryConnect(balanced, header)).toBe(0)
    const peers = (): number =>
      ['.w1', '.w2'].reduce((sum, chain) => {
        const text = readFileSync(workspace.path(`audit.jsonl${chain}`), 'utf8')
        return sum + (text.match(/"action":"connect","connection":\{[^}]*203\.0\.113\.7:4711/g)?.length ?? 0)
      }, 0)
    await expect.poll(peers).toBe(4)
    await leaveAll()
  })

  it('is not shared with another Postern: it ends with a sentence', async () => {
    const other = await Workspace.create({}, POLICY)
    for (const count of [1, 2]) {
      other.configure({ workers: count, listeners: [{ name: 'mine', address: `127.0.0.1:${port}` }] })
      const { status, stderr } = await command(['run', '--config', other.config], { cwd: other.directory })
      expect(status).toBe(1)
      expect(stderr).toContain(
        `listener mine cannot bind: listen EADDRINUSE: address already in use 127.0.0.1:${port}`,
      )
    }
    other.remove()
  })

  it('kill -9 of a worker while agents connect: the other goes on, and the one in its place accepts there too', async () => {
    let isOver = false
    const codes: (number | undefined)[] = []
    const storm = (async () => {
      while (!isOver) {
        codes.push(await tryConnect())
        for (const socket of held.splice(0)) socket.destroy()
      }
    })()
    const [victim, other] = workers()
    process.kill(victim!, 'SIGKILL')
    await postern.next({ msg: 'a worker was started again', worker: 'w1' })
    isOver = true
    await storm
    // Resets are of the one that was killed.
    expect(codes.every((code) => code === 0 || code === undefined)).toBe(true)
    expect(codes).toContain(0)
    const pids = workers()
    expect(pids).toHaveLength(2)
    expect(pids).toContain(other)
    expect(listeningOn(port, pids)).toEqual(pids)
    await expect.poll(async () => (await fetch(`${admin}/readyz`)).status).toBe(200)
    for (let i = 0; i < 10; i++) expect(await tryConnect()).toBe(0)
    await leaveAll()
  })

  it('SIGTERM: nobody accepts any more, those who are there are told', async () => {
    expect(await tryConnect()).toBe(0)
    const [agent] = held.splice(0)
    const told = new Promise<number>((resolve) => {
      agent!.on('data', (bytes) => resolve(bytes[0]! >> 4))
    })
    postern.signal('SIGTERM')
    expect(await told).toBe(14) // DISCONNECT
    expect(await postern.exited).toBe(0)
    expect(await tryConnect()).toBeUndefined()
  })
})
