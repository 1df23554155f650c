import { describe, expect, it } from 'vitest'
import {
  compileFilter,
  covers,
  isTopicFilter,
  literalFilter,
  matches,
  overlaps,
  type TopicFilter,
} from '../../src/policy/topic-filter.ts'
import { filtersOver, naiveMatches, topicsOver } from '../support/naive-topics.ts'

function filter(text: string): TopicFilter {
  const compiled = compileFilter(text)
  if (typeof compiled === 'string') throw new Error(compiled)
  return compiled
}

/** In the middle of other bytes, so that a read past the range shows. */
function inside(text: string, ask: (buf: Buffer, start: number, end: number) => boolean): boolean {
  const bytes = Buffer.from(`#/${text}/#`)
  return ask(bytes, 2, bytes.length - 2)
}

const matchesText = (f: TopicFilter, name: string) => inside(name, (b, s, e) => matches(f, b, s, e))
const coversText = (f: TopicFilter, inner: string) => inside(inner, (b, s, e) => covers(f, b, s, e))
const overlapsText = (f: TopicFilter, other: string) => inside(other, (b, s, e) => overlaps(f, b, s, e))

describe('matches', () => {
  it.each([
    ['a/b', 'a/b'],
    ['a/+', 'a/b'],
    ['a/+', 'a/'],
    ['+/b', '/b'],
    ['a/#', 'a'],
    ['a/#', 'a/b/c'],
    ['a/+/#', 'a/b'],
    ['#', 'a'],
    ['#', '/'],
    ['/#', '/'],
    ['$SYS/#', '$SYS/x'],
    ['$SYS/+', '$SYS/x'],
    ['a/+', 'a/$x'],
    ['a//b', 'a//b'],
    ['a/+/b', 'a//b'],
    ['__proto__/+', '__proto__/constructor'],
  ])('B5: %s matches %s', (text, name) => {
    expect(matchesText(filter(text), name)).toBe(true)
    expect(naiveMatches(text, name)).toBe(true)
  })

  it.each([
    ['a', '/a'],
    ['a', 'a/'],
    ['a/b', 'a//b'],
    ['a/#', 'ab'],
    ['a/+/#', 'a'],
    ['+', 'a/b'],
    ['+', '/a'],
    ['#', '$SYS/x'],
    ['+/x', '$SYS/x'],
    ['/#', 'a'],
    ['agents/+', 'AGENTS/x'],
    ['a/\u00e9', 'a/e\u0301'],
    ['a', '\ufeffa'],
    ['toString', '__proto__'],
  ])('B5, B8: %s does not match %s', (text, name) => {
    expect(matchesText(filter(text), name)).toBe(false)
    expect(naiveMatches(text, name)).toBe(false)
  })
})

describe('bytes around the name', () => {
  it.each([
    ['ab/#', '', 'a', 'b/x'],
    ['a/b', '', 'a', '/b'],
    ['a/+', '', 'a', '/b'],
    ['+/b', 'a/', 'b', ''],
    ['+/+/b', 'a/', 'c/b', ''],
    ['#', '', '$x', ''],
  ])('%s does not match because of what stands beside it: %j %j %j', (text, before, name, after) => {
    const bytes = Buffer.from(before + name + after)
    expect(matches(filter(text), bytes, before.length, before.length + name.length)).toBe(false)
    expect(naiveMatches(text, name)).toBe(false)
  })
})

describe('containment', () => {
  it.each([
    ['a/+', 'a/#'],
    ['+', '#'],
    ['a/+/c', 'a/#'],
    ['a/+', 'a/+/#'],
    ['#', '$SYS/#'],
    ['+/#', '$SYS/x'],
    ['a/b', 'a/+'],
    ['a/+', 'a'],
    ['a/#', '+/b'],
  ])('B1: %s does not contain %s', (outer, inner) => {
    expect(coversText(filter(outer), inner)).toBe(false)
  })

  it.each([
    ['a/#', 'a/+/c'],
    ['a/#', 'a'],
    ['a/#', 'a/#'],
    ['#', '+/#'],
    ['+/#', '#'],
    ['/+/#', '/#'],
    ['$SYS/#', '$SYS/+'],
    ['a/+', 'a/$x'],
  ])('B1: %s contains %s', (outer, inner) => {
    expect(coversText(filter(outer), inner)).toBe(true)
  })
})

describe('against brute force', () => {
  // Two letters, the empty level and a `$`-level, to depth 4; names have one more letter and one more level than
  // any filter can name, so that a set difference always has a witness.
  const filters = filtersOver(['a', 'b', '', '+', '#', '$x'], 4)
  const names = topicsOver(['a', 'b', '', '$x', 'fresh'], 5)
  const compiled = filters.map(filter)
  const words = Math.ceil(names.length / 32)
  const sets = filters.map((text) => {
    const bits = new Int32Array(words)
    for (const [i, name] of names.entries()) if (naiveMatches(text, name)) bits[i >> 5]! |= 1 << (i & 31)
    return bits
  })

  it('B2: matches agrees on every filter and name', () => {
    const wrong: string[] = []
    for (const [f, set] of sets.entries()) {
      for (const [i, name] of names.entries()) {
        const bytes = Buffer.from(name)
        if (matches(compiled[f]!, bytes, 0, bytes.length) !== ((set[i >> 5]! & (1 << (i & 31))) !== 0)) {
          wrong.push(`${filters[f]} ${name}`)
        }
      }
    }
    expect(wrong).toEqual([])
  })

  it('B2, ACL-04: covers is set inclusion and overlaps is set intersection, for every pair', () => {
    const bytes = filters.map((text) => Buffer.from(text))
    const wrong: string[] = []
    for (const [o, outer] of sets.entries()) {
      for (const [i, inner] of sets.entries()) {
        let included = true
        let shared = false
        for (let w = 0; w < words; w++) {
          if ((inner[w]! & ~outer[w]!) !== 0) included = false
          if ((inner[w]! & outer[w]!) !== 0) shared = true
        }
        const b = bytes[i]!
        if (covers(compiled[o]!, b, 0, b.length) !== included)
          wrong.push(`${filters[o]} covers ${filters[i]}`)
        if (overlaps(compiled[o]!, b, 0, b.length) !== shared)
          wrong.push(`${filters[o]} overlaps ${filters[i]}`)
      }
    }
    expect(wrong.slice(0, 20)).toEqual([])
  })
})

describe('filters that are none', () => {
  it.each([
    '',
    'a#',
    'a+',
    '#/a',
    'a/#/b',
    '+a/b',
    'a/b+/c',
    '##',
    '++',
    'a\u0000',
    'a\u007f',
    'a\u0085',
    '\ud800',
  ])('B6: %j is refused', (text) => {
    expect(typeof compileFilter(text)).toBe('string')
  })

  it.each(['a#', 'a+', '#/a', 'a/#/b', '+a', '##', '++', '#+', '+#'])(
    'B6: the bytes %j are no filter',
    (text) => {
      expect(inside(text, isTopicFilter)).toBe(false)
    },
  )

  it.each(['a', '/', 'a/', '+/+', '+/#', '#', 'a//b', '$x/#'])('the bytes %j are a filter', (text) => {
    expect(inside(text, isTopicFilter)).toBe(true)
  })

  it('refuses more than 65535 bytes', () => {
    expect(typeof compileFilter('é'.repeat(32_768))).toBe('string')
    expect(typeof compileFilter('é'.repeat(32_767))).toBe('object')
  })
})

describe('a literal filter', () => {
  const literal = literalFilter('t/#')
  it('covers and overlaps its own text only', () => {
    expect(coversText(literal, 't/#')).toBe(true)
    expect(overlapsText(literal, 't/#')).toBe(true)
    expect(coversText(literal, 't/a')).toBe(false)
    expect(overlapsText(literal, '#')).toBe(false)
    expect(matchesText(literal, 't/a')).toBe(false)
  })
})
