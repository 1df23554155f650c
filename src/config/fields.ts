// Small parsers of what a person writes in one field, and their reverse for the effective configuration.
// Pure. A failure is a sentence that says what to write; it never repeats the value, which may be a secret.
import { isIP, isIPv6 } from 'node:net'
import type { Address } from './config.ts'

export type Parsed<T> = { ok: true; value: T } | { ok: false; message: string }

const fail = (message: string): { ok: false; message: string } => ({ ok: false, message })

const DURATION_UNITS = new Map([
  ['ms', 1],
  ['s', 1000],
  ['m', 60_000],
  ['h', 3_600_000],
])
const SIZE_UNITS = new Map([
  ['B', 1],
  ['KiB', 2 ** 10],
  ['MiB', 2 ** 20],
  ['GiB', 2 ** 30],
])

/** `500ms`, `5s`, `15m`, `24h` to milliseconds. */
export function parseDuration(value: unknown): Parsed<number> {
  if (typeof value === 'number' || (typeof value === 'string' && /^\d+$/.test(value))) {
    return fail('A duration needs a unit: write `500ms`, `5s`, `15m` or `24h`.')
  }
  const match = typeof value === 'string' ? /^(\d{1,12})(ms|s|m|h)$/.exec(value) : null
  if (match === null)
    return fail('Write a duration as a whole number and a unit: `500ms`, `5s`, `15m` or `24h`.')
  return { ok: true, value: Number(match[1]) * DURATION_UNITS.get(match[2]!)! }
}

/** `16KiB`, `8MiB`, `65536` to bytes. */
export function parseSize(value: unknown): Parsed<number> {
  const text = typeof value === 'number' ? String(value) : value
  if (typeof text === 'string' && /^\d+ ?[kKmMgG]i?[bB]?$/.test(text) && !/^\d+[KMG]iB$/.test(text)) {
    return fail('Write `KiB`, `MiB` or `GiB` (1 KiB = 1024 bytes) right after the number, such as `16KiB`.')
  }
  const match = typeof text === 'string' ? /^(\d{1,12})(B|KiB|MiB|GiB)?$/.exec(text) : null
  if (match === null) return fail('Write a size in bytes, such as `65536`, `16KiB` or `8MiB`.')
  return { ok: true, value: Number(match[1]) * SIZE_UNITS.get(match[2] ?? 'B')! }
}

/**
 * `127.0.0.1:1883`, `[::1]:1883`, `broker.internal:1883`, `unix:/run/broker.sock`.
 *
 * @param example the address that the message proposes
 */
export function parseAddress(value: unknown, example: string): Parsed<Address> {
  if (typeof value === 'number' || (typeof value === 'string' && /^(\*|)(:?\d+)$/.test(value))) {
    return fail(
      `Name the host as well as the port: write \`${example}\`; \`0.0.0.0\` as host means every interface.`,
    )
  }
  if (typeof value !== 'string') return fail(`Write an address as text, such as \`${example}\`.`)
  if (value.startsWith('unix:')) {
    const path = value.slice('unix:'.length)
    if (!path.startsWith('/') || path.startsWith('//')) {
      return fail('Write the absolute path of the Unix socket, such as `unix:/run/postern/broker.sock`.')
    }
    // sockaddr_un.sun_path has room for 107 bytes and a NUL (unix(7)).
    if (path.length > 107 || path.includes('\0')) {
      return fail('The path of a Unix socket has at most 107 characters and no NUL: choose a shorter one.')
    }
    return { ok: true, value: { kind: 'unix', host: '', port: 0, path } }
  }
  if (value.includes('://')) return fail(`Leave out the scheme: write \`${example}\`.`)
  const match = /^(?:\[([^\]]+)\]|([A-Za-z0-9._-]+)):(\d{1,5})$/.exec(value)
  if (match === null) {
    return fail(
      value.split(':').length > 2
        ? `Put an IPv6 address in brackets and quotes: write \`"[::1]:1883"\`.`
        : `Write the address as host and port, such as \`${example}\`, or as \`unix:/path\`.`,
    )
  }
  const port = Number(match[3])
  if (port > 65_535) return fail('A port is a number up to 65535.')
  const host = match[1] ?? match[2]!
  if (match[1] !== undefined && !isIPv6(host))
    return fail('Between the brackets stands an IPv6 address, such as `[::1]:1883`.')
  return { ok: true, value: { kind: 'tcp', host, port, path: '' } }
}

/** `10.0.0.0/8`, `2001:db8::/32`, or one address. */
export function parseNetwork(value: unknown): Parsed<string> {
  const match = typeof value === 'string' ? /^([^/]+)(?:\/(\d{1,3}))?$/.exec(value) : null
  const version = match === null ? 0 : isIP(match[1]!)
  if (version === 0) return fail('Write a network such as `10.0.0.0/8` or `2001:db8::/32`, or one address.')
  const bits = version === 4 ? 32 : 128
  if (match![2] !== undefined && Number(match![2]) > bits) {
    return fail(`A network of this kind has at most ${bits} bits after the \`/\`.`)
  }
  return { ok: true, value: value as string }
}

/** The form that `parseDuration` reads, in the largest unit without a remainder. */
export function formatDuration(ms: number): string {
  return inLargestUnit(ms, DURATION_UNITS, 'ms')
}

/** The form that `parseSize` reads, in the largest unit without a remainder. */
export function formatSize(bytes: number): string {
  return inLargestUnit(bytes, SIZE_UNITS, 'B')
}

/** The form that `parseAddress` reads. */
export function formatAddress(address: Address): string {
  if (address.kind === 'unix') return `unix:${address.path}`
  return `${address.host.includes(':') ? `[${address.host}]` : address.host}:${address.port}`
}

export function isLoopback(address: Address): boolean {
  if (address.kind === 'unix') return true
  return isLoopbackHost(address.host)
}

export function isLoopbackHost(host: string): boolean {
  const name = host.toLowerCase().replace(/^\[|\]$/g, '')
  return name === 'localhost' || name === '::1' || /^127(\.\d{1,3}){3}$/.test(name)
}

function inLargestUnit(value: number, units: ReadonlyMap<string, number>, smallest: string): string {
  let text = `${value}${smallest}`
  for (const [unit, factor] of units)
    if (value !== 0 && value % factor === 0) text = `${value / factor}${unit}`
  return text
}
