// The PROXY protocol, version 2 (haproxy.org, proxy-protocol.txt §2.2): read strictly from a load balancer, written for
// the broker. Bytes only.

import { isIPv4, isIPv6, SocketAddress } from 'node:net'

const SIGNATURE = Buffer.from('0d0a0d0a000d0a515549540a', 'hex')
const FIXED_BYTES = 16
/** A header with TLVs that is longer is not read; load balancers send some hundred bytes. */
const MOST_BYTES = 2048

const VERSION_2 = 0x20
const LOCAL = 0x0
const PROXY = 0x1
/** Address family and transport: TCP over IPv4, over IPv6; the only ones that can be an agent's. */
const TCP4 = 0x11
const TCP6 = 0x21
const UNSPECIFIED = 0x00
const ADDRESS_BYTES: ReadonlyMap<number, number> = new Map([
  [TCP4, 12],
  [TCP6, 36],
])

export type ProxyHeader =
  | 'incomplete'
  | 'malformed'
  /** `source` is undefined for LOCAL: the load balancer speaks for itself, for example a health check. */
  | { length: number; source: { host: string; port: number } | undefined }

/** Reads the header at the beginning of `bytes`; what follows it is the agent's. */
export function readProxyHeader(bytes: Buffer): ProxyHeader {
  const known = Math.min(bytes.length, SIGNATURE.length)
  if (!bytes.subarray(0, known).equals(SIGNATURE.subarray(0, known))) return 'malformed'
  if (bytes.length < FIXED_BYTES) return 'incomplete'
  const command = bytes[12]! & 0x0f
  if ((bytes[12]! & 0xf0) !== VERSION_2 || command > PROXY) return 'malformed'
  const family = bytes[13]!
  const length = FIXED_BYTES + bytes.readUInt16BE(14)
  if (length > MOST_BYTES) return 'malformed'
  const addressBytes =
    ADDRESS_BYTES.get(family) ?? (family === UNSPECIFIED && command === LOCAL ? 0 : undefined)
  if (addressBytes === undefined || length < FIXED_BYTES + addressBytes) return 'malformed'
  if (bytes.length < length) return 'incomplete'
  if (family !== UNSPECIFIED && !hasWholeValues(bytes.subarray(FIXED_BYTES + addressBytes, length)))
    return 'malformed'
  if (command === LOCAL) return { length, source: undefined }
  const four = family === TCP4
  const host = four ? bytes.subarray(16, 20).join('.') : ipv6Text(bytes.subarray(16, 32))
  return { length, source: { host, port: bytes.readUInt16BE(four ? 24 : 48) } }
}

/** Type, length, value: they fill the rest exactly. */
function hasWholeValues(bytes: Buffer): boolean {
  let at = 0
  while (at + 3 <= bytes.length) at += 3 + bytes.readUInt16BE(at + 1)
  return at === bytes.length
}

/**
 * The header that tells the broker whose connection this is.
 *
 * @param source `host:port` or `[host]:port` of the agent; anything else (a Unix socket) becomes LOCAL
 * @param target address of the broker's end of this connection
 */
export function proxyHeader(source: string, target: { host: string; port: number }): Buffer {
  const from = /^\[?([^[\]]+)\]?:(\d+)$/.exec(source)
  const host = from?.[1] ?? ''
  if (from === null || (!isIPv4(host) && !isIPv6(host))) return header(LOCAL, UNSPECIFIED, Buffer.alloc(0))
  const ports = Buffer.alloc(4)
  ports.writeUInt16BE(Number(from[2]), 0)
  ports.writeUInt16BE(target.port, 2)
  if (isIPv4(host) && isIPv4(target.host)) {
    return header(PROXY, TCP4, Buffer.concat([ipv4Bytes(host), ipv4Bytes(target.host), ports]))
  }
  return header(PROXY, TCP6, Buffer.concat([ipv6Bytes(host), ipv6Bytes(target.host), ports]))
}

function header(command: number, family: number, addresses: Buffer): Buffer {
  const head = Buffer.alloc(4)
  head[0] = VERSION_2 | command
  head[1] = family
  head.writeUInt16BE(addresses.length, 2)
  return Buffer.concat([SIGNATURE, head, addresses])
}

function ipv4Bytes(host: string): Buffer {
  return Buffer.from(host.split('.').map(Number))
}

/** Of an IPv4 address: mapped into IPv6 (RFC 4291 §2.5.5.2). Anything else that is no address: unspecified. */
function ipv6Bytes(host: string): Buffer {
  const bytes = Buffer.alloc(16)
  if (isIPv4(host)) {
    bytes.fill(0xff, 10, 12)
    ipv4Bytes(host).copy(bytes, 12)
    return bytes
  }
  if (!isIPv6(host)) return bytes
  const text = host.split('%')[0]!.replace(/(\d+)\.(\d+)\.(\d+)\.(\d+)$/, (_, ...parts: string[]) => {
    const [a, b, c, d] = parts.slice(0, 4).map(Number) as [number, number, number, number]
    return `${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`
  })
  const [left, right] = text.split('::').map((half) => (half === '' ? [] : half.split(':')))
  left!.forEach((group, i) => {
    bytes.writeUInt16BE(Number.parseInt(group, 16), i * 2)
  })
  right?.forEach((group, i) => {
    bytes.writeUInt16BE(Number.parseInt(group, 16), 16 - (right.length - i) * 2)
  })
  return bytes
}

/** RFC 5952 form, so that one address is always the same text. */
function ipv6Text(bytes: Buffer): string {
  const groups = Array.from({ length: 8 }, (_, i) => bytes.readUInt16BE(i * 2).toString(16))
  const { address } = new SocketAddress({ address: groups.join(':'), family: 'ipv6' })
  return address.replace(/^::ffff:(?=\d+\.)/, '')
}
