import { describe, expect, it } from 'vitest'
import { readVarint, VARINT_MAX, Varint, varintLength, writeVarint } from '../../src/wire/varint.ts'
import { varint } from '../support/frames.ts'

const BOUNDS = [0, 1, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152, VARINT_MAX]

describe('Variable Byte Integer, MQTT 5.0 §1.5.5', () => {
  it.each(BOUNDS)('%i is read, measured and written', (value) => {
    const bytes = Buffer.concat([Buffer.of(0xff), varint(value)])
    expect(readVarint(bytes, 1, bytes.length)).toBe(value)
    expect(varintLength(value)).toBe(bytes.length - 1)
    const written = Buffer.alloc(bytes.length, 0xff)
    expect(writeVarint(written, value, 1)).toBe(bytes.length)
    expect(written).toEqual(bytes)
  })

  it.each(BOUNDS)('%i cut short at any byte asks for more', (value) => {
    const bytes = varint(value)
    for (let end = 0; end < bytes.length; end++) expect(readVarint(bytes, 0, end)).toBe(Varint.CUT_SHORT)
  })

  it.each([
    [0, 2],
    [0, 3],
    [0, 4],
    [127, 2],
    [128, 3],
    [16_384, 4],
  ])('J1: %i in %i bytes is not minimal', (value, width) => {
    expect(readVarint(varint(value, width), 0, 4)).toBe(Varint.NOT_MINIMAL)
  })

  it('J1: a fourth byte that asks for a fifth is too long', () => {
    expect(readVarint(Buffer.from('ffffffff01', 'hex'), 0, 5)).toBe(Varint.TOO_LONG)
    expect(readVarint(Buffer.from('80808080', 'hex'), 0, 4)).toBe(Varint.TOO_LONG)
  })
})
