import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { NamedProperties } from '../../src/wire/user-properties.ts'
import { prop } from '../support/frames.ts'

const NAMES = ['one', 'two', 'é']

/** Finds within a buffer that has other bytes around the block. */
function find(properties: readonly Buffer[]): {
  named: NamedProperties
  source: Buffer
  value(i: number): string
} {
  const block = Buffer.concat(properties)
  const source = Buffer.concat([Buffer.of(0x26, 0, 3), block, Buffer.from('one')])
  const named = new NamedProperties(NAMES)
  named.find(source, 3, 3 + block.length)
  return { named, source, value: (i) => source.toString('utf8', named.startOf(i), named.endOf(i)) }
}

function others({ named, source }: ReturnType<typeof find>): Buffer {
  const target = Buffer.alloc(named.othersLength + 2, 0xee)
  expect(named.copyOthers(source, target, 1)).toBe(target.length - 1)
  expect([target[0], target.at(-1)]).toEqual([0xee, 0xee])
  return target.subarray(1, -1)
}

describe('User Properties of certain names', () => {
  it('are found with their number and the value of the last', () => {
    const found = find([
      prop.userProperty('one', '1'),
      prop.contentType('two'),
      prop.userProperty('é', ''),
      prop.userProperty('one', 'eins'),
    ])
    expect([0, 1, 2].map((i) => found.named.countOf(i))).toEqual([2, 0, 1])
    expect(found.named.count).toBe(3)
    expect([found.value(0), found.value(2)]).toEqual(['eins', ''])
  })

  it.each(['', 'on', 'onee', 'One', 'oné', 'eno'])('%j is another name', (name) => {
    expect(find([prop.userProperty(name, 'one')]).named.count).toBe(0)
  })

  it('a name in a value, or in a property of another kind, is none', () => {
    const { named } = find([
      prop.userProperty('x', 'one'),
      prop.contentType('one'),
      prop.correlationData('one'),
    ])
    expect(named.count).toBe(0)
  })

  it('an empty block has none, whatever was found before', () => {
    const found = find([prop.userProperty('one', '1')])
    found.named.find(found.source, 3, 3)
    expect([found.named.count, found.named.countOf(0), found.named.othersLength]).toEqual([0, 0, 0])
  })

  it('JIT-06 the others keep their order and bytes', () => {
    const any = fc.oneof(
      fc
        .tuple(fc.constantFrom(...NAMES, 'x', 'onee', ''), fc.string({ maxLength: 5 }))
        .map(([name, value]) => ({
          isNamed: NAMES.includes(name),
          bytes: prop.userProperty(name, value),
        })),
      fc
        .constantFrom(
          prop.contentType('one'),
          prop.messageExpiryInterval(0x26_00_03),
          prop.payloadFormatIndicator(1),
          prop.topicAlias(0x26),
          prop.correlationData(Buffer.of(0x26, 0, 3)),
        )
        .map((bytes) => ({ isNamed: false, bytes })),
    )
    fc.assert(
      fc.property(fc.array(any, { maxLength: 12 }), (all) => {
        const found = find(all.map(({ bytes }) => bytes))
        expect(found.named.count).toBe(all.filter(({ isNamed }) => isNamed).length)
        expect(others(found)).toEqual(
          Buffer.concat(all.filter(({ isNamed }) => !isNamed).map(({ bytes }) => bytes)),
        )
      }),
    )
  })
})
