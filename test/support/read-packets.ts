// Drives a PacketReader over a stream cut in any way, and tells what it found in comparable form.

import { Direction, PACKET_NAMES, PacketType } from '../../src/wire/control-packet.ts'
import { FAULTS } from '../../src/wire/fault.ts'
import { PacketReader, type ReaderLimits, Step } from '../../src/wire/packet-reader.ts'

export const LIMITS: Readonly<ReaderLimits> = {
  publishHeadBytes: 16_384,
  controlPacketBytes: 65_536,
  connectBytes: 65_536,
  filters: 100,
  userProperties: 64,
  packetBytes: 1_048_576,
}

export type From = 'client' | 'server'

export function newReader(from: From, limits: Partial<ReaderLimits> = {}): PacketReader {
  const direction = from === 'client' ? Direction.CLIENT_TO_SERVER : Direction.SERVER_TO_CLIENT
  return new PacketReader(direction, { ...LIMITS, ...limits })
}

export interface Found {
  packet: string
  /** Bytes of the head. */
  head: string
  bodyLength: number
  /** Fields of the head object; offsets count from the start of the frame. */
  fields: Record<string, unknown>
}

export interface Reading {
  heads: Found[]
  /** Name of the fault, or undefined. */
  fault: string | undefined
}

/** Reads `chunks` to the end or to the first fault. */
export function readPackets(chunks: Iterable<Buffer>, reader: PacketReader): Reading {
  const heads: Found[] = []
  for (const chunk of chunks) {
    if (chunk.length === 0) continue
    reader.load(chunk)
    let step = reader.next()
    while (step === Step.HEAD) {
      heads.push(found(reader))
      step = reader.next()
    }
    if (step === Step.FAULT) return { heads, fault: FAULTS[reader.fault]!.name }
  }
  return { heads, fault: undefined }
}

/** `stream` in chunks of `size` bytes. */
export function* slices(stream: Buffer, size: number): Generator<Buffer> {
  for (let at = 0; at < stream.length; at += size) yield stream.subarray(at, at + size)
}

/** The head object that belongs to the packet just found. */
export function headOf(reader: PacketReader): object | undefined {
  switch (reader.packetType) {
    case PacketType.PUBLISH:
      return reader.publish
    case PacketType.CONNECT:
      return reader.connect
    case PacketType.CONNACK:
      return reader.connack
    case PacketType.SUBSCRIBE:
    case PacketType.UNSUBSCRIBE:
      return reader.filters
    case PacketType.SUBACK:
    case PacketType.UNSUBACK:
      return reader.codes
    case PacketType.PINGREQ:
    case PacketType.PINGRESP:
      return undefined
    default:
      return reader.ack
  }
}

function found(reader: PacketReader): Found {
  const base = reader.frameStart
  const fields: Record<string, unknown> = {}
  for (const [name, value] of Object.entries(headOf(reader) ?? {})) {
    const isOffset = /Start$|End$/.test(name)
    const relative = (offset: number) => (offset < 0 ? offset : offset - base)
    if (Array.isArray(value)) {
      fields[name] = value.slice(0, reader.filters.count).map((v) => (isOffset ? relative(v) : v))
    } else fields[name] = isOffset && typeof value === 'number' ? relative(value) : value
  }
  return {
    packet: PACKET_NAMES[reader.packetType]!,
    head: reader.source.toString('hex', reader.frameStart, reader.headEnd),
    bodyLength: reader.bodyLength,
    fields,
  }
}
