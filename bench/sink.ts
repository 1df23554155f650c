// The broker of a benchmark, in a process of its own: answers CONNECT and SUBSCRIBE, counts what it gets, acknowledges
// QoS 1 when told to, and sends deliveries when told to. Far cheaper than anything in front of it.

import { createServer, type Socket } from 'node:net'
import { batch, CONNACK, publish, SUBACK } from './frames.ts'

/** Biggest read; one buffer serves all connections, since nothing of it is kept. */
const READ_BYTES = 1024 * 1024

const sockets = new Set<Socket>()
let received = 0
let target = Number.POSITIVE_INFINITY
let acknowledge = false

const server = createServer({ noDelay: true }, (socket) => {
  sockets.add(socket)
  let greeted = false
  socket.on('error', () => {})
  socket.on('close', () => sockets.delete(socket))
  socket.on('data', (chunk) => {
    if (!greeted) {
      greeted = true
      socket.write(CONNACK)
      return
    }
    if (target === Number.POSITIVE_INFINITY && chunk[0] === 0x82) {
      socket.write(SUBACK)
      process.send!({ type: 'subscribed' })
      return
    }
    received += chunk.length
    if (acknowledge) acknowledgeAll(socket, chunk)
    if (received >= target) {
      target = Number.POSITIVE_INFINITY
      process.send!({ type: 'complete', at: Number(process.hrtime.bigint()) })
    }
  })
})

/** One small QoS 1 PUBLISH per chunk at these rates, or several: each is answered. */
function acknowledgeAll(socket: Socket, chunk: Buffer): void {
  for (let at = 0; at + 2 <= chunk.length; ) {
    const length = chunk[at + 1]! < 0x80 ? chunk[at + 1]! : (chunk[at + 1]! & 0x7f) | (chunk[at + 2]! << 7)
    const start = at + (chunk[at + 1]! < 0x80 ? 2 : 3)
    const topicLength = chunk.readUInt16BE(start)
    const id = start + 2 + topicLength
    socket.write(Buffer.of(0x40, 2, chunk[id]!, chunk[id + 1]!))
    at = start + length
  }
}

process.on('message', (message: { type: string; bytes: number; topic: string; payload: number; messages: number; acknowledge: boolean }) => {
  if (message.type === 'expect') {
    received = 0
    target = message.bytes
    acknowledge = message.acknowledge
    process.send!({ type: 'expecting' })
  } else if (message.type === 'deliver') void deliver(message)
})

async function deliver({ topic, payload, messages }: { topic: string; payload: number; messages: number }): Promise<void> {
  const { buffer, count } = batch([publish(topic, payload)], Math.min(READ_BYTES / 16, payload * 64))
  const each = Math.ceil(messages / sockets.size / count)
  await Promise.all(
    [...sockets].map(async (socket) => {
      for (let i = 0; i < each; i++) {
        if (!socket.write(buffer)) await new Promise((resolve) => socket.once('drain', resolve))
      }
    }),
  )
}

server.listen(Number(process.argv[2] ?? 0), '127.0.0.1', 4096, () => {
  const { port } = server.address() as { port: number }
  process.send!({ type: 'listening', port })
})
