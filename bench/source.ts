// The agents of a benchmark, in a process of their own: connects them, then sends what it is told to, as fast as the
// sockets take it or at a rate. Everything it sends was encoded before the clock started.

import { connect as dial, type Socket } from 'node:net'
import { batch, connect, publish, subscribe } from './frames.ts'

interface Connect {
  type: 'connect'
  port: number
  clients: { id: string; password: string }[]
  filter: string | undefined
}

interface Send {
  type: 'send'
  topics: string[]
  payload: number
  messages: number
  /** Messages per second over all clients; 0: as fast as the sockets take them, in writes of about 64 KiB. */
  rate: number
  qos: 0 | 1
}

const PIPELINE_BYTES = 64 * 1024

let sockets: Socket[] = []
let received = 0
let target = Number.POSITIVE_INFINITY
let onReply: ((socket: number) => void) | undefined

function open(port: number, index: number, { id, password }: Connect['clients'][number], filter?: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = dial({ port, host: '127.0.0.1', noDelay: true })
    let phase = 0
    socket.on('error', reject)
    socket.once('connect', () => socket.write(connect(id, password)))
    socket.on('data', (chunk) => {
      if (phase === 0) {
        if (chunk[3] !== 0) return reject(new Error(`CONNACK 0x${chunk[3]?.toString(16)}`))
        phase = filter === undefined ? 2 : 1
        if (filter === undefined) resolve(socket)
        else socket.write(subscribe(filter))
      } else if (phase === 1) {
        phase = 2
        resolve(socket)
      } else {
        received += chunk.length
        onReply?.(index)
        if (received >= target) {
          target = Number.POSITIVE_INFINITY
          process.send!({ type: 'complete' })
        }
      }
    })
  })
}

async function openAll({ port, clients, filter }: Connect): Promise<void> {
  for (const socket of sockets) socket.destroy()
  sockets = []
  for (let i = 0; i < clients.length; i += 50) {
    const some = clients.slice(i, i + 50).map((client, j) => open(port, i + j, client, filter))
    sockets.push(...(await Promise.all(some)))
  }
  process.send!({ type: 'connected' })
}

async function pipeline({ topics, payload, messages, qos }: Send): Promise<void> {
  const { buffer, count } = batch(topics.map((topic) => publish(topic, payload, qos)), PIPELINE_BYTES)
  const each = Math.ceil(messages / sockets.length / count)
  await Promise.all(
    sockets.map(async (socket) => {
      for (let i = 0; i < each; i++) {
        if (!socket.write(buffer)) await new Promise((resolve) => socket.once('drain', resolve))
      }
    }),
  )
}

/** One message of one client at a time, evenly over time: nothing is there to be batched. */
async function paced({ topics, payload, messages, rate, qos }: Send): Promise<void> {
  const frames = topics.map((topic) => publish(topic, payload, qos))
  const sentAt = new Float64Array(sockets.length)
  const latencies = qos === 1 ? new Float64Array(messages) : undefined
  let answered = 0
  onReply = (socket) => {
    if (latencies !== undefined) latencies[answered++] = performance.now() - sentAt[socket]!
  }
  const start = performance.now()
  for (let sent = 0; sent < messages; ) {
    const due = Math.min(messages, Math.floor(((performance.now() - start) / 1000) * rate))
    for (; sent < due; sent++) {
      const socket = sent % sockets.length
      sentAt[socket] = performance.now()
      sockets[socket]!.write(frames[sent % frames.length]!)
    }
    await new Promise((resolve) => setImmediate(resolve))
  }
  if (latencies !== undefined) {
    while (answered < messages) await new Promise((resolve) => setTimeout(resolve, 1))
    process.send!({ type: 'latencies', milliseconds: latencies.sort() })
  }
  onReply = undefined
}

process.on('message', (message: Connect | Send | { type: 'expect'; bytes: number }) => {
  if (message.type === 'connect') void openAll(message).catch((error) => process.send!({ type: 'failed', why: String(error) }))
  else if (message.type === 'send') void (message.rate === 0 ? pipeline(message) : paced(message))
  else {
    received = 0
    target = message.bytes
    process.send!({ type: 'expecting' })
  }
})
