// PROXY protocol v2: bytes of the specification (proxy-protocol.txt §2.2), and everything that is not them.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { networkTest } from '../../src/net/networks.ts'
import { proxyHeader, readProxyHeader } from '../../src/net/proxy-protocol.ts'

const SIGNATURE = '0d0a0d0a000d0a515549540a'
const bytes = (hex: string) => Buffer.from(hex.replaceAll(' ', ''), 'hex')
const V4 = `${SIGNATURE} 21 11 000c c0000201 c6336402 cf8b 075b`

describe('reading', () => {
  it.each([
    ['TCP over IPv4', V4, { length: 28, source: { host: '192.0.2.1', port: 53131 } }],
    [
      'bytes of the agent behind it',
      `${V4} 1011`,
      { length: 28, source: { host: '192.0.2.1', port: 53131 } },
    ],
    [
      'TCP over IPv6',
      `${SIGNATURE} 21 21 0024 20010db8000000000000000000000001 20010db8000000000000000000000002 cf8b 075b`,
      { length: 52, source: { host: '2001:db8::1', port: 53131 } },
    ],
    [
      'an IPv4 address inside of IPv6',
      `${SIGNATURE} 21 21 0024 00000000000000000000ffffc0000201 00000000000000000000ffffc6336402 cf8b 075b`,
      { length: 52, source: { host: '192.0.2.1', port: 53131 } },
    ],
    [
      'TLVs',
      `${SIGNATURE} 21 11 0012 c0000201 c6336402 cf8b 075b 04 0003 000000`,
      { length: 34, source: { host: '192.0.2.1', port: 53131 } },
    ],
    ['LOCAL', `${SIGNATURE} 20 00 0000`, { length: 16, source: undefined }],
    ['LOCAL with something to skip', `${SIGNATURE} 20 00 0002 ffff`, { length: 18, source: undefined }],
    ['an address that is cut off', `${SIGNATURE} 21 11 000c c00002`, 'incomplete'],
    ['nothing yet', '', 'incomplete'],
    ['the beginning of the signature', '0d0a0d', 'incomplete'],
    ['an MQTT CONNECT', '101000044d5154540502', 'malformed'],
    [
      'version 1',
      Buffer.from('PROXY TCP4 192.0.2.1 198.51.100.2 53131 1883\r\n').toString('hex'),
      'malformed',
    ],
    ['another version', `${SIGNATURE} 31 11 000c c0000201 c6336402 cf8b 075b`, 'malformed'],
    ['another command', `${SIGNATURE} 22 11 000c c0000201 c6336402 cf8b 075b`, 'malformed'],
    ['UDP', `${SIGNATURE} 21 12 000c c0000201 c6336402 cf8b 075b`, 'malformed'],
    ['a Unix socket', `${SIGNATURE} 21 31 00d8`, 'malformed'],
    ['PROXY without an address', `${SIGNATURE} 21 00 0000`, 'malformed'],
    ['too few bytes for its family', `${SIGNATURE} 21 11 000b c0000201 c6336402 cf8b 07`, 'malformed'],
    [
      'a TLV that ends behind the header',
      `${SIGNATURE} 21 11 000f c0000201 c6336402 cf8b 075b 04 0001`,
      'malformed',
    ],
    ['a header without end', `${SIGNATURE} 21 11 ffff`, 'malformed'],
  ])('%s', (_, hex, expected) => {
    expect(readProxyHeader(bytes(hex))).toEqual(expected)
  })

  it('is the same however the bytes come in', () => {
    const whole = bytes(V4)
    for (let i = 0; i < whole.length; i++) expect(readProxyHeader(whole.subarray(0, i))).toBe('incomplete')
  })
})

describe('writing', () => {
  it('gives the bytes of the specification', () => {
    expect(proxyHeader('192.0.2.1:53131', { host: '198.51.100.2', port: 1883 })).toEqual(bytes(V4))
  })

  it.each(['unix', '', 'broker.example:1883', '999.1.1.1:5'])('%j has no address: LOCAL', (source) => {
    expect(proxyHeader(source, { host: '198.51.100.2', port: 1883 })).toEqual(
      bytes(`${SIGNATURE} 20 00 0000`),
    )
  })

  it('reads back as what was written', () => {
    const host = fc.oneof(fc.ipV4(), fc.ipV6())
    const port = fc.integer({ min: 1, max: 65_535 })
    fc.assert(
      fc.property(host, port, host, (from, fromPort, to) => {
        const name = from.includes(':') ? `[${from}]:${fromPort}` : `${from}:${fromPort}`
        const written = proxyHeader(name, { host: to, port: 1883 })
        const read = readProxyHeader(written)
        if (typeof read === 'string') throw new Error(read)
        expect(read.length).toBe(written.length)
        expect(read.source?.port).toBe(fromPort)
        // The same address, whatever its spelling: written again it is the same bytes.
        const again = read.source!.host.includes(':')
          ? `[${read.source!.host}]:${fromPort}`
          : `${read.source!.host}:${fromPort}`
        if (from.includes(':') === again.startsWith('[')) {
          expect(proxyHeader(again, { host: to, port: 1883 })).toEqual(written)
        }
      }),
    )
  })
})

describe('networks', () => {
  it.each([
    ['10.1.2.3', true],
    ['11.1.2.3', false],
    ['::ffff:10.1.2.3', true],
    ['2001:db8::1', true],
    ['2001:db9::1', false],
    ['192.0.2.7', true],
    ['192.0.2.8', false],
    ['unix', false],
    ['', false],
  ])('%s: %s', (address, expected) => {
    expect(networkTest(['10.0.0.0/8', '2001:db8::/32', '192.0.2.7'])(address)).toBe(expected)
  })
})
