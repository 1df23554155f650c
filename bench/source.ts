// The agents of a benchmark, in a process of their own: connects them, then sends as fast as the sockets take it or at
// a rate. Everything it sends was encoded before the clock started.

import { connect as dial, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect as dialTls } from 'node:tls'
import { batch, connect, publish, stamped, subscribe } from './frames.ts'
import { serve } from './processes.ts'

export interface Client {
  id: string
  password: string
}

export interface SendOrder {
  topics: string[]
  /** Every so many-th message goes to this topic instead, which the policy denies. */
  denied: { topic: string; every: number } | undefined
  payload: number
  seconds: number
  /** Messages per second over all clients; 0: pipelined. */
  rate: number
  qos: 0 | 1
}

/** What was sent. `allowedBytes` are those of messages that no policy denies. Latencies in milliseconds, QoS 1 only. */
export interface Sent {
  messages: number
  bytes: number
  allowedBytes: number
  latencies: Float64Array | undefined
}

/** When all connections were ended by the other side; milliseconds since the epoch. */
export interface Ends {
  firstPacketMs: number
  lastPacketMs: number
  lastEndMs: number
  /** Connections that were sent something first. */
  packets: number
}

const PIPELINE_BYTES = 64 * 1024
const PUBACK_BYTES = 4
const CONNECTING_AT_A_TIME = 64

let sockets: Socket[] = []
let received = 0
let target = Number.POSITIVE_INFINITY
let reached = (): void => {}
let onReply: ((socket: number, bytes: number) => void) | undefined

function open(port: number, index: number, client: Client, filter?: string, tls = false): Promise<Socket> {
  return new Promise((resolve, reject) => {
    // Half open, so that the end costs this process no more than seeing it.
    const to = { port, host: '127.0.0.1', noDelay: true, allowHalfOpen: true }
    // The certificate was made for this run.
    const socket = tls ? dialTls({ ...to, rejectUnauthorized: false }) : dial(to)
    let phase = 0
    socket.on('error', reject)
    socket.on('close', () => reject(new Error('closed before it was connected')))
    socket.once(tls ? 'secureConnect' : 'connect', () => socket.write(connect(client.id, client.password)))
    socket.on('data', (chunk: Buffer) => {
      if (phase === 0) {
        if (chunk[3] !== 0) return reject(new Error(`CONNACK 0x${chunk[3]?.toString(16)}`))
        phase = filter === undefined ? 2 : 1
        if (filter === undefined) resolve(socket)
        else socket.write(subscribe(filter))
        return
      }
      if (phase === 1) {
        phase = 2
        return resolve(socket)
      }
      received += chunk.length
      onReply?.(index, chunk.length)
      if (received >= target) {
        target = Number.POSITIVE_INFINITY
        reached()
      }
    })
  })
}

/** Every message in turn, as the order says. */
function framesOf({ topics, denied, payload, qos }: SendOrder): { frame: Buffer; allowed: boolean }[] {
  const allowed = topics.map((topic) => ({ frame: publish(topic, payload, qos), allowed: true }))
  if (denied === undefined) return allowed
  const rest = Array.from({ length: denied.every - 1 }, (_, i) => allowed[i % allowed.length]!)
  return [...rest, { frame: publish(denied.topic, payload, qos), allowed: false }]
}

async function pipeline(order: SendOrder): Promise<Sent> {
  const frames = framesOf(order)
  const { buffer, count } = batch(
    frames.map(({ frame }) => frame),
    PIPELINE_BYTES,
  )
  let allowedBytes = 0
  for (let i = 0; i < count; i++) {
    const { frame, allowed } = frames[i % frames.length]!
    if (allowed) allowedBytes += frame.length
  }
  const until = performance.now() + order.seconds * 1000
  let writes = 0
  await Promise.all(
    sockets.map(async (socket) => {
      while (performance.now() < until) {
        writes += 1
        if (!socket.write(buffer)) await new Promise((resolve) => socket.once('drain', resolve))
      }
    }),
  )
  return {
    messages: writes * count,
    bytes: writes * buffer.length,
    allowedBytes: writes * allowedBytes,
    latencies: undefined,
  }
}

/** One message of one client at a time, evenly over time: nothing is there to be batched. */
async function paced(order: SendOrder): Promise<Sent> {
  const frames = framesOf(order)
  const messages = Math.round(order.rate * order.seconds)
  const sentAt: number[][] = sockets.map(() => [])
  const latencies = order.qos === 1 ? new Float64Array(messages) : undefined
  let answered = 0
  if (latencies !== undefined) {
    onReply = (socket, bytes) => {
      const now = performance.now()
      for (let i = 0; i < bytes; i += PUBACK_BYTES) latencies[answered++] = now - sentAt[socket]!.shift()!
    }
  }
  let bytes = 0
  let allowedBytes = 0
  // Between few messages it sleeps: it is not to be in the way on machines of few cores.
  const isSlow = order.rate <= 1000
  const start = performance.now()
  for (let sent = 0; sent < messages; ) {
    const due = Math.min(messages, Math.floor(((performance.now() - start) / 1000) * order.rate))
    for (; sent < due; sent++) {
      const socket = sent % sockets.length
      const { frame, allowed } = frames[sent % frames.length]!
      if (latencies !== undefined) sentAt[socket]!.push(performance.now())
      sockets[socket]!.write(latencies === undefined ? stamped(frame) : frame)
      bytes += frame.length
      if (allowed) allowedBytes += frame.length
    }
    await (isSlow ? sleep(1) : new Promise((resolve) => setImmediate(resolve)))
  }
  if (latencies !== undefined) while (answered < messages) await new Promise((r) => setTimeout(r, 1))
  onReply = undefined
  return { messages, bytes, allowedBytes, latencies: latencies?.sort() }
}

serve({
  connect: async (order: { port: number; clients: Client[]; filter?: string; tls?: boolean }) => {
    const { port, clients, filter, tls } = order
    for (const socket of sockets) socket.destroy()
    sockets = []
    for (let i = 0; i < clients.length; i += CONNECTING_AT_A_TIME) {
      const some = clients.slice(i, i + CONNECTING_AT_A_TIME)
      sockets.push(...(await Promise.all(some.map((client, j) => open(port, i + j, client, filter, tls)))))
    }
    received = 0
    return {}
  },
  send: (order: SendOrder) => (order.rate === 0 ? pipeline(order) : paced(order)),
  /** Connects and leaves again, so many times; several at a time. */
  storm: async ({ port, clients }: { port: number; clients: Client[] }) => {
    let next = 0
    const one = async (): Promise<void> => {
      for (let i = next++; i < clients.length; i = next++)
        (await open(port, 0, clients[i]!)).resetAndDestroy()
    }
    await Promise.all(Array.from({ length: CONNECTING_AT_A_TIME }, one))
    return {}
  },
  /** Answers when the other side has ended all connections. */
  ended: (): Promise<Ends> =>
    new Promise((resolve) => {
      const now = (): number => performance.timeOrigin + performance.now()
      const ends: Ends = { firstPacketMs: 0, lastPacketMs: 0, lastEndMs: 0, packets: 0 }
      let open = sockets.length
      for (const socket of sockets) {
        socket.once('data', () => {
          ends.lastPacketMs = now()
          ends.firstPacketMs ||= ends.lastPacketMs
          ends.packets += 1
        })
        socket.once('end', () => {
          open -= 1
          if (open > 0) return
          ends.lastEndMs = now()
          resolve(ends)
        })
      }
    }),
  /** Counts anew. */
  start: () => {
    received = 0
    target = Number.POSITIVE_INFINITY
    return {}
  },
  /** Answers when so many bytes have come since `start`. */
  received: ({ bytes }: { bytes: number }) =>
    new Promise((resolve) => {
      if (received >= bytes) return resolve({})
      target = bytes
      reached = () => resolve({})
    }),
})
