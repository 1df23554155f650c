import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Roll } from '../../src/session/roll.ts'

test('a roll has whoever came and has not left, as a Set would', () => {
  const step = fc.record({ who: fc.nat(9), comes: fc.boolean() })
  fc.assert(
    fc.property(fc.array(step), (steps) => {
      const people = Array.from({ length: 10 }, (_, name) => ({ name, place: -1 }))
      const roll = new Roll<(typeof people)[number]>()
      const expected = new Set<unknown>()
      for (const { who, comes } of steps) {
        const one = people[who]!
        if (!comes) expect(roll.remove(one)).toBe(expected.delete(one))
        else if (!expected.has(one)) {
          expected.add(one)
          roll.add(one)
        }
        expect(roll.size).toBe(expected.size)
      }
      expect(new Set(roll.all)).toEqual(expected)
    }),
  )
})
