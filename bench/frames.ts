// The few packets that source and sink say, encoded once.

import { generate } from 'mqtt-packet'

const V5 = { protocolVersion: 5 } as const

export function connect(clientId: string, password: string): Buffer {
  const id = { protocolId: 'MQTT', protocolVersion: 5, clean: true, keepalive: 0, clientId } as const
  return generate({ cmd: 'connect', ...id, username: 'x', password: Buffer.from(password) }, V5)
}

export const CONNACK: Buffer = generate({ cmd: 'connack', reasonCode: 0, sessionPresent: false }, V5)

export function subscribe(filter: string): Buffer {
  return generate({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: filter, qos: 0 }] }, V5)
}

export const SUBACK: Buffer = generate({ cmd: 'suback', messageId: 1, granted: [0] }, V5)

export function publish(topic: string, payloadBytes: number, qos: 0 | 1 = 0): Buffer {
  const payload = Buffer.alloc(payloadBytes, 0x61)
  const id = qos === 0 ? {} : { messageId: 1 }
  return generate({ cmd: 'publish', topic, payload, qos, dup: false, retain: false, ...id }, V5)
}

/** A copy of a message whose payload ends with the time. */
export function stamped(frame: Buffer): Buffer {
  const copy = Buffer.from(frame)
  copy.writeDoubleBE(machineMs(), copy.length - STAMP_BYTES)
  return copy
}

/** How long ago the message that ends at `end` was stamped, by another process or this one; milliseconds. */
export function ageMs(chunk: Buffer, end: number): number {
  return machineMs() - chunk.readDoubleBE(end - STAMP_BYTES)
}

const STAMP_BYTES = 8

/** The same for all processes of the machine. */
function machineMs(): number {
  const [s, ns] = process.hrtime()
  return s * 1000 + ns / 1e6
}

/** One write of about `bytes` made of whole frames, taken in turn from `frames`; each occurs. */
export function batch(frames: readonly Buffer[], bytes: number): { buffer: Buffer; count: number } {
  const parts: Buffer[] = []
  let size = 0
  while (size < bytes || parts.length % frames.length !== 0) {
    const frame = frames[parts.length % frames.length]!
    parts.push(frame)
    size += frame.length
  }
  return { buffer: Buffer.concat(parts), count: parts.length }
}
