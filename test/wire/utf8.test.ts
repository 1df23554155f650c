import { isUtf8 } from 'node:buffer'
import { describe, expect, it } from 'vitest'
import { Fault } from '../../src/wire/fault.ts'
import {
  decodeSequence,
  identifierFault,
  isDisallowed,
  sequenceLength,
  stringFault,
} from '../../src/wire/utf8.ts'

describe('decodeSequence', () => {
  it('reads every code point from U+0080 up, and its length', () => {
    for (let codePoint = 0x80; codePoint <= 0x10_ffff; codePoint++) {
      if (codePoint === 0xd800) codePoint = 0xe000
      const bytes = Buffer.from(String.fromCodePoint(codePoint))
      if (
        decodeSequence(bytes, 0, bytes.length) !== codePoint ||
        sequenceLength(codePoint) !== bytes.length ||
        decodeSequence(bytes, 0, bytes.length - 1) !== -1
      ) {
        expect.unreachable(`U+${codePoint.toString(16)}`)
      }
    }
  })

  it('refuses what Node refuses, for every pair of first bytes', () => {
    const endings = [
      Buffer.of(0x80, 0x80),
      Buffer.of(0xbf, 0xbf),
      Buffer.of(0x80, 0x20),
      Buffer.of(0x20, 0x80),
    ]
    for (let pair = 0x8000; pair <= 0xffff; pair++) {
      if ((pair & 0xff) === 0) continue
      for (const ending of endings) {
        for (const length of [1, 2, 3, 4]) {
          const bytes = Buffer.of(pair >> 8, pair & 0xff, ...ending).subarray(0, length)
          const refused = stringFault(bytes, 0, length) === Fault.ILL_FORMED_UTF8
          if (refused === isUtf8(bytes)) expect.unreachable(bytes.toString('hex'))
        }
      }
    }
  })
})

describe('strings', () => {
  it.each([
    ['', Fault.NONE, Fault.NONE],
    ['plain', Fault.NONE, Fault.NONE],
    ['grüße 世界 🤖', Fault.NONE, Fault.NONE],
    ['\u{feff}bom', Fault.NONE, Fault.NONE],
    ['tab\there', Fault.NONE, Fault.DISALLOWED_CHARACTER],
    ['\u{7f}', Fault.NONE, Fault.DISALLOWED_CHARACTER],
    ['\u{85}', Fault.NONE, Fault.DISALLOWED_CHARACTER],
    ['\u{ffff}', Fault.NONE, Fault.DISALLOWED_CHARACTER],
    ['nul\u{0}', Fault.NULL_CHARACTER, Fault.NULL_CHARACTER],
  ])('%j', (text, asString, asIdentifier) => {
    const bytes = Buffer.from(`x${text}x`)
    expect(stringFault(bytes, 1, bytes.length - 1)).toBe(asString)
    expect(identifierFault(bytes, 1, bytes.length - 1)).toBe(asIdentifier)
  })

  it('a sequence is not completed by what lies behind the string', () => {
    const bytes = Buffer.from('aé')
    expect(stringFault(bytes, 0, 2)).toBe(Fault.ILL_FORMED_UTF8)
    expect(identifierFault(bytes, 0, 2)).toBe(Fault.ILL_FORMED_UTF8)
  })

  it('the disallowed code points are those that §1.5.4 names', () => {
    const disallowed = []
    for (let codePoint = 1; codePoint <= 0x10_ffff; codePoint++) {
      if (isDisallowed(codePoint)) disallowed.push(codePoint)
    }
    const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => from + i)
    const planes = range(0, 16).flatMap((plane) => [plane * 0x1_0000 + 0xfffe, plane * 0x1_0000 + 0xffff])
    const expected = [...range(1, 0x1f), ...range(0x7f, 0x9f), ...range(0xfdd0, 0xfdef), ...planes]
    expect(disallowed).toEqual(expected.sort((a, b) => a - b))
  })
})
