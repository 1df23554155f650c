// The broker of a benchmark, in a process of its own: answers CONNECT and SUBSCRIBE, counts bytes, acknowledges QoS 1
// and sends deliveries when told to. It takes no packet apart that it need not: it must be cheaper than any proxy.

import { createServer, type Socket } from 'node:net'
import { ageMs, batch, CONNACK, publish, SUBACK } from './frames.ts'
import { serve } from './processes.ts'

/** One buffer for all reads: nothing that was read is kept. */
const READ_BYTES = 1024 * 1024
const DELIVERY_BYTES = 64 * 1024

const subscribers = new Set<Socket>()
let received = 0
let target = Number.POSITIVE_INFINITY
let reached = (): void => {}
let acknowledge = false
/** Length of every message, when they are stamped. */
let stampedBytes = 0
let ages: number[] = []

const server = createServer({ noDelay: true, highWaterMark: READ_BYTES }, (socket) => {
  let greeted = false
  socket.on('error', () => {})
  socket.on('close', () => subscribers.delete(socket))
  socket.on('data', (chunk: Buffer) => {
    if (!greeted) {
      greeted = true
      socket.write(CONNACK)
      return
    }
    if (chunk[0] === 0x82 && target === Number.POSITIVE_INFINITY) {
      subscribers.add(socket)
      socket.write(SUBACK)
      return
    }
    received += chunk.length
    if (acknowledge) acknowledgeAll(socket, chunk)
    if (stampedBytes > 0)
      for (let end = stampedBytes; end <= chunk.length; end += stampedBytes) ages.push(ageMs(chunk, end))
    if (received >= target) {
      target = Number.POSITIVE_INFINITY
      reached()
    }
  })
})

/** QoS 1 loads send whole packets below 16 KiB: no head straddles two reads. */
function acknowledgeAll(socket: Socket, chunk: Buffer): void {
  for (let at = 0; at + 2 <= chunk.length; ) {
    const short = chunk[at + 1]! < 0x80
    const length = short ? chunk[at + 1]! : (chunk[at + 1]! & 0x7f) | (chunk[at + 2]! << 7)
    const start = at + (short ? 2 : 3)
    const id = start + 2 + chunk.readUInt16BE(start)
    socket.write(Buffer.of(0x40, 2, chunk[id]!, chunk[id + 1]!))
    at = start + length
  }
}

serve({
  listen: () =>
    new Promise((resolve) => {
      server.listen(0, '127.0.0.1', 4096, () =>
        resolve({ port: (server.address() as { port: number }).port }),
      )
    }),
  /** Counts anew. */
  start: (question: { acknowledge: boolean; stampedBytes: number }) => {
    received = 0
    stampedBytes = question.stampedBytes
    ages = []
    target = Number.POSITIVE_INFINITY
    acknowledge = question.acknowledge
    return {}
  },
  /** How long each stamped message was under way since `start`, sorted. */
  ages: () => ({ ages: Float64Array.from(ages).sort() }),
  /** Answers when so many bytes have come since `start`. */
  received: ({ bytes }: { bytes: number }) =>
    new Promise((resolve) => {
      if (received >= bytes) return resolve({})
      target = bytes
      reached = () => resolve({})
    }),
  /** Sends to every subscriber for so long, as fast as each takes it. Answers with messages and bytes sent. */
  deliver: async ({ topics, payload, seconds }: { topics: string[]; payload: number; seconds: number }) => {
    const { buffer, count } = batch(
      topics.map((topic) => publish(topic, payload)),
      Math.min(DELIVERY_BYTES, Math.max(4096, (1024 * 1024) / subscribers.size)),
    )
    const until = performance.now() + seconds * 1000
    let writes = 0
    await Promise.all(
      [...subscribers].map(async (socket) => {
        while (performance.now() < until) {
          writes += 1
          if (!socket.write(buffer)) await new Promise((resolve) => socket.once('drain', resolve))
          else await new Promise((resolve) => setImmediate(resolve))
        }
      }),
    )
    return { messages: writes * count, bytes: writes * buffer.length }
  },
})
