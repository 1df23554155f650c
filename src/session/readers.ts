// The two packet readers of a session, with the limits of the configuration.

import type { Config } from '../config/config.ts'
import { Direction } from '../wire/control-packet.ts'
import { PacketReader, type ReaderLimits } from '../wire/packet-reader.ts'

/** Largest packet that MQTT can express: 5 bytes of fixed header and 268,435,455 bytes. */
export const PROTOCOL_MAXIMUM_BYTES = 268_435_460
/** Longest head of a delivery. */
const DELIVERY_HEAD_BYTES = 1024 * 1024

function limitsOf(limits: Config['limits']): ReaderLimits {
  return {
    publishHeadBytes: limits.publishHeadBytes,
    controlPacketBytes: limits.controlPacketBytes,
    connectBytes: limits.connectBytes,
    filters: limits.filtersPerPacket,
    userProperties: limits.userProperties,
    packetBytes: limits.packetBytes,
  }
}

/** For what the agent sends. */
export function clientReader(limits: Config['limits']): PacketReader {
  return new PacketReader(Direction.CLIENT_TO_SERVER, limitsOf(limits))
}

/** The same for all connections: nothing in them is changed. */
const ofServers = new WeakMap<Config['limits'], ReaderLimits>()

/**
 * For what the broker sends. What the agent cannot take, it told the broker in its own Maximum Packet Size; and what
 * others published must not end its connection.
 */
export function serverReader(limits: Config['limits']): PacketReader {
  let shared = ofServers.get(limits)
  if (shared === undefined) {
    shared = {
      ...limitsOf(limits),
      packetBytes: PROTOCOL_MAXIMUM_BYTES,
      publishHeadBytes: Math.max(limits.publishHeadBytes, DELIVERY_HEAD_BYTES),
      userProperties: Number.POSITIVE_INFINITY,
    }
    ofServers.set(limits, shared)
  }
  return new PacketReader(Direction.SERVER_TO_CLIENT, shared)
}
