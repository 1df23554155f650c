import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  formatAddress,
  formatDuration,
  formatSize,
  isLoopback,
  parseAddress,
  parseDuration,
  parseSize,
} from '../../src/config/fields.ts'

describe('duration', () => {
  it.each([
    ['500ms', 500],
    ['0s', 0],
    ['5s', 5000],
    ['15m', 900_000],
    ['24h', 86_400_000],
  ])('%s is %i milliseconds', (text, value) => {
    expect(parseDuration(text)).toEqual({ ok: true, value })
  })

  it.each([5, 0, '5', '500'])('%j lacks its unit', (value) => {
    expect(parseDuration(value)).toEqual({ ok: false, message: expect.stringContaining('needs a unit') })
  })

  it.each([
    '5 s',
    '1.5s',
    '-5s',
    '5d',
    '5S',
    's',
    '',
    '1e3ms',
    null,
    undefined,
    true,
    [],
    {},
    `${'9'.repeat(20)}h`,
  ])('%j is not a duration', (value) => {
    expect(parseDuration(value)).toEqual({ ok: false, message: expect.stringContaining('`15m`') })
  })

  it('survives being written and read', () => {
    fc.assert(
      fc.property(fc.nat({ max: 10 ** 12 - 1 }), (value) => {
        expect(parseDuration(formatDuration(value))).toEqual({ ok: true, value })
      }),
    )
  })
})

describe('size', () => {
  it.each([
    ['16KiB', 16_384],
    ['8MiB', 8_388_608],
    ['1GiB', 1_073_741_824],
    ['65536', 65_536],
    [65_536, 65_536],
    ['12B', 12],
  ])('%j is %i bytes', (text, value) => {
    expect(parseSize(text)).toEqual({ ok: true, value })
  })

  it.each(['16KB', '16kib', '16 KiB', '8M', '8mb'])('%s is told how a unit is written', (value) => {
    expect(parseSize(value)).toEqual({ ok: false, message: expect.stringContaining('1 KiB = 1024 bytes') })
  })

  it.each([-1, 1.5, 1e300, Number.NaN, '', 'KiB', '0x10', null, undefined, {}, ['16KiB']])(
    '%j is not a size',
    (value) => {
      expect(parseSize(value)).toEqual({ ok: false, message: expect.stringContaining('Write a size') })
    },
  )

  it('survives being written and read', () => {
    fc.assert(
      fc.property(fc.nat({ max: 10 ** 12 - 1 }), (value) => {
        expect(parseSize(formatSize(value))).toEqual({ ok: true, value })
      }),
    )
  })
})

describe('address', () => {
  const parse = (value: unknown) => parseAddress(value, '127.0.0.1:1883')

  it.each([
    ['127.0.0.1:1883', { kind: 'tcp', host: '127.0.0.1', port: 1883, path: '' }],
    ['127.0.0.1:0', { kind: 'tcp', host: '127.0.0.1', port: 0, path: '' }],
    ['[::1]:1883', { kind: 'tcp', host: '::1', port: 1883, path: '' }],
    ['broker.internal:8883', { kind: 'tcp', host: 'broker.internal', port: 8883, path: '' }],
    ['unix:/run/x.sock', { kind: 'unix', host: '', port: 0, path: '/run/x.sock' }],
  ])('%s is read and written alike', (text, value) => {
    const parsed = parse(text)
    expect(parsed).toEqual({ ok: true, value })
    expect(parsed.ok && formatAddress(parsed.value)).toBe(text)
  })

  it.each([
    [':1883', 'Name the host'],
    ['*:1883', 'Name the host'],
    ['1883', 'Name the host'],
    [1883, 'Name the host'],
    ['localhost', 'host and port'],
    ['localhost:', 'host and port'],
    ['a b:1', 'host and port'],
    ['::1:1883', 'in brackets'],
    ['[nonsense]:1883', 'IPv6 address'],
    ['127.0.0.1:65536', 'up to 65535'],
    ['mqtt://127.0.0.1:1883', 'Leave out the scheme'],
    ['unix:run/x.sock', 'absolute path'],
    ['unix:///run/x.sock', 'absolute path'],
    [`unix:/${'x'.repeat(120)}`, '107 characters'],
    [undefined, 'as text'],
    [{}, 'as text'],
  ])('%j: %s', (value, message) => {
    expect(parse(value)).toEqual({ ok: false, message: expect.stringContaining(message) })
  })

  it.each([
    ['127.0.0.1:1', true],
    ['127.9.9.9:1', true],
    ['localhost:1', true],
    ['[::1]:1', true],
    ['unix:/x', true],
    ['0.0.0.0:1', false],
    ['[::]:1', false],
    ['127.0.0.1.example:1', false],
    ['localhost.example:1', false],
    ['10.0.0.1:1', false],
  ])('%s is on loopback: %s', (text, expected) => {
    const parsed = parse(text)
    expect(parsed.ok && isLoopback(parsed.value)).toBe(expected)
  })
})
