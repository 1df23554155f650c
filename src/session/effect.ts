// Words for the `effect` of audit records.

import { PacketType } from '../wire/control-packet.ts'

/** A Reason Code as the specification writes it, such as `0x87`. */
export function hex(code: number): string {
  return `0x${code.toString(16).padStart(2, '0')}`
}

/** A denied PUBLISH was answered with this packet and Reason Code. */
export function answered(type: number, code: number): string {
  return `${type === PacketType.PUBACK ? 'puback' : 'pubrec'} ${hex(code)}`
}
