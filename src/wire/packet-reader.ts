// CONTRACT STUB, being implemented.
import type { Direction } from './control-packet.ts'
import type { AckHead, CodeList, ConnackHead, ConnectHead, FilterList, PublishHead } from './heads.ts'

export const Step = { NEED_MORE: 0, HEAD: 1, FAULT: 2 } as const
export type Step = (typeof Step)[keyof typeof Step]

export interface ReaderLimits {
  /** Longest head of a PUBLISH (fixed header to end of properties), bytes. */
  publishHeadBytes: number
  /** Longest other packet, whole, bytes. For CONNECT see `connectBytes`. */
  controlPacketBytes: number
  connectBytes: number
  /** Most filters in one SUBSCRIBE or UNSUBSCRIBE. */
  filters: number
  /** Most User Properties in one packet (J7). */
  userProperties: number
  /** Whole-packet limit, Remaining Length and fixed header, bytes: the Maximum Packet Size told to the peer. */
  packetBytes: number
}

/**
 * Strict streaming reader for one direction of one connection. See the prompt of the wire task.
 */
export declare class PacketReader {
  constructor(direction: Direction, limits: ReaderLimits)
  limits: ReaderLimits
  packetType: number
  flags: number
  source: Buffer
  fromSeam: boolean
  frameStart: number
  headEnd: number
  frameLength: number
  bodyLength: number
  pos: number
  tail: number
  fault: number
  readonly publish: PublishHead
  readonly ack: AckHead
  readonly filters: FilterList
  readonly codes: CodeList
  readonly connect: ConnectHead
  readonly connack: ConnackHead
  load(chunk: Buffer): void
  next(): Step
  takeSeam(): Buffer
}
