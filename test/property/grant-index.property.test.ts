// The index leaves out only what cannot match: what is left holds every match, in the order of the list.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { GrantIndex } from '../../src/policy/grant-index.ts'
import { Grant } from '../../src/policy/layer.ts'
import { UNLIMITED } from '../../src/policy/rule.ts'
import { compileFilter, literalFilter, matches, type TopicFilter } from '../../src/policy/topic-filter.ts'

const level = fc.constantFrom('a', 'b', 'ab', '', '$x', 'é')
const name = fc
  .array(level, { minLength: 1, maxLength: 4 })
  .map((levels) => levels.join('/'))
  .filter((text) => text !== '')
const filter = fc
  .tuple(fc.array(fc.oneof(level, level, fc.constant('+')), { maxLength: 4 }), fc.boolean(), fc.boolean())
  .map(([levels, all, literal]): TopicFilter | string => {
    const text = (all ? [...levels, '#'] : levels).join('/')
    return literal ? literalFilter(text) : compileFilter(text)
  })
  .filter((one) => typeof one !== 'string') as fc.Arbitrary<TopicFilter>

test('the grants that match are those that match in the whole list, and in its order', () => {
  fc.assert(
    fc.property(fc.array(filter, { maxLength: 60 }), fc.array(name, { minLength: 1 }), (filters, names) => {
      const grants = filters.map((one, i) => new Grant(`r${i}`, one, UNLIMITED, 'any'))
      const index = new GrantIndex(grants, (grant) => grant.filter)
      for (const text of names) {
        const bytes = Buffer.from(`..${text}..`)
        const end = bytes.length - 2
        const hits = (list: readonly Grant[]) => list.filter((grant) => matches(grant.filter, bytes, 2, end))
        expect(hits(index.candidates(bytes, 2, end))).toEqual(hits(grants))
        expect(index.firstMatch(bytes, 2, end)).toBe(hits(grants)[0])
      }
    }),
    { numRuns: 1000 },
  )
})

test('of ten thousand rules about other topics none is looked at', () => {
  const filters = Array.from({ length: 10_000 }, (_, i) => compileFilter(`services/s${i}/scout/events`))
  const grants = filters.map((one, i) => new Grant(`r${i}`, one as TopicFilter, UNLIMITED, 'any'))
  const index = new GrantIndex(grants, (grant) => grant.filter)
  const topic = Buffer.from('services/s77/scout/events')
  expect(index.candidates(topic, 0, topic.length)).toEqual([grants[77]])
})
