// Laws of the PDP on random policies and claims. fast-check prints the seed of a failure.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { isBindable } from '../../src/policy/template.ts'
import { compileFilter, covers, matches, overlaps, TopicFilter } from '../../src/policy/topic-filter.ts'
import { naiveMatches } from '../support/naive-topics.ts'
import { aclOf, deliver, publish, type SubjectOptions, subscribe } from '../support/permission.ts'

const level = fc.constantFrom('a', 'b', '', 'aa', '$x', 'é', '__proto__')
const nameOf = fc
  .array(level, { minLength: 1, maxLength: 5 })
  .map((levels) => levels.join('/'))
  .filter((name) => name !== '')
const filterOf = fc
  .tuple(fc.array(fc.oneof(level, fc.constant('+')), { maxLength: 4 }), fc.boolean())
  .map(([levels, hash]) => (hash ? [...levels, '#'] : levels).join('/'))
  .filter((filter) => filter !== '')

const compiled = (text: string) => {
  const filter = compileFilter(text)
  if (!(filter instanceof TopicFilter)) throw new Error(filter)
  return filter
}
const whole = (ask: typeof covers, filter: string, text: string) => {
  const bytes = Buffer.from(text)
  return ask(compiled(filter), bytes, 0, bytes.length)
}

describe('matcher and containment', () => {
  it('ACL-04: matches is the naive matcher', () => {
    fc.assert(
      fc.property(
        filterOf,
        nameOf,
        (filter, name) => whole(matches, filter, name) === naiveMatches(filter, name),
      ),
      { numRuns: 3000 },
    )
  })

  it('ACL-04: what a contained filter matches, the containing one matches; what two match, they share', () => {
    fc.assert(
      fc.property(filterOf, filterOf, nameOf, (outer, inner, name) => {
        if (!naiveMatches(inner, name)) return
        if (whole(covers, outer, inner)) expect(naiveMatches(outer, name)).toBe(true)
        if (naiveMatches(outer, name)) expect(whole(overlaps, outer, inner)).toBe(true)
      }),
      { numRuns: 3000 },
    )
  })
})

describe('claim binding', () => {
  const text = 'version: 1\nagents: [{ id: a, allow: publish+subscribe, topic: "x/{agent_id}/y" }]'
  const value = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.string(),
    fc.constantFrom('+', '#', 'a/b', '$a', '', '\u0000', '\ud800'),
  )

  it('A2: is injective: only the topic whose level is the claim, byte for byte', () => {
    fc.assert(
      fc.property(value, value, (claim, other) => {
        const acl = aclOf(text, { agent: claim })
        const same = Buffer.from(claim).equals(Buffer.from(other))
        expect(publish(acl, `x/${other}/y`) === 'allow').toBe(same && isBindable(claim))
        expect(deliver(acl, `x/${other}/y`) === 'allow').toBe(same && isBindable(claim))
      }),
      { numRuns: 2000 },
    )
  })

  it('A2: never grants a filter with a wildcard', () => {
    fc.assert(
      fc.property(value, filterOf, (claim, filter) => {
        const wild = filter.split('/').some((each) => each === '+' || each === '#')
        if (wild) expect(subscribe(aclOf(text, { agent: claim }), filter)).toBeTypeOf('string')
      }),
    )
  })
})

describe('the intersection', () => {
  interface RandomRule {
    effect: string
    action: string
    topic: string
    maxQos: number
  }
  const rule: fc.Arbitrary<RandomRule> = fc.record({
    effect: fc.constantFrom('allow', 'allow', 'allow', 'deny'),
    action: fc.constantFrom('publish', 'subscribe', 'publish+subscribe'),
    topic: fc.oneof(filterOf, fc.constantFrom('{agent_id}/#', '+/{user_id}', '#')),
    maxQos: fc.constantFrom(0, 1, 2),
  })
  const rules = fc.array(rule, { minLength: 1, maxLength: 4 })
  const write = (prefix: string, list: readonly RandomRule[]) =>
    JSON.stringify(
      list.map(({ effect, action, topic, maxQos }, i) => ({
        id: `${prefix}${i}`,
        [effect]: action,
        topic,
        ...(effect === 'allow' ? { maxQos } : {}),
      })),
    )
  const all = (id: string) => JSON.stringify([{ id, allow: 'publish+subscribe', topics: ['#', '$x/#'] }])
  const who: SubjectOptions = { agent: 'a', user: 'b', org: 'a' }
  const policy = (agents: string, users: string, tenant = '["#", "$x/#"]') =>
    `{"version": 1, "tenant": {"topics": ${tenant}}, "agents": ${agents}, "users": ${users}}`

  it('DEL-09: what is allowed, each layer alone allows, in every direction', () => {
    fc.assert(
      fc.property(
        rules,
        rules,
        filterOf,
        nameOf,
        filterOf,
        fc.constantFrom(0, 1, 2),
        (agents, users, tenant, name, filter, qos) => {
          const [a, u, t] = [write('a', agents), write('u', users), JSON.stringify([tenant])]
          const together = aclOf(policy(a, u, t), who)
          const alone = [policy(a, all('u')), policy(all('a'), u), policy(all('a'), all('u'), t)].map(
            (each) => aclOf(each, who),
          )
          const allowed = (ask: (acl: typeof together) => boolean) => {
            expect(ask(together)).toBe(alone.every(ask))
          }
          allowed((acl) => publish(acl, name, { qos }) === 'allow')
          allowed((acl) => deliver(acl, name) === 'allow')
          const granted = subscribe(together, filter, qos)
          const each = alone.map((acl) => subscribe(acl, filter, qos))
          if (typeof granted === 'string') expect(each.some((one) => typeof one === 'string')).toBe(true)
          else expect(granted).toBe(Math.min(...each.map(Number)))
        },
      ),
      { numRuns: 1000 },
    )
  })

  it('ACL-04, ACL-05: every topic of a granted filter may be delivered', () => {
    fc.assert(
      fc.property(rules, rules, filterOf, nameOf, (agents, users, filter, name) => {
        const acl = aclOf(policy(write('a', agents), write('u', users)), who)
        if (typeof subscribe(acl, filter, 0) === 'number' && naiveMatches(filter, name)) {
          expect(deliver(acl, name)).toBe('allow')
        }
      }),
      { numRuns: 1000 },
    )
  })
})
