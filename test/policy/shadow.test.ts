// Shadow mode in the permission itself: what it lets through, what it still names, and what it never weakens.
import { describe, expect, it } from 'vitest'
import { explainPublish } from '../../src/policy/explain.ts'
import { lintPolicy } from '../../src/policy/lint.ts'
import { VERDICT_NAMES } from '../../src/policy/verdict.ts'
import { aclOf, policyOf, problemsOf, publish, subscribe } from '../support/permission.ts'

const RULES = `
tenant: { topics: ["{org_id}/#"] }
agents:
  - { id: a, allow: publish+subscribe, topic: "org/#", maxQos: 1 }
  - { id: never, deny: publish+subscribe, topic: org/secret }
users:
  - { id: u, allow: publish+subscribe, topic: org/shared/# }
pairs:
  - { id: p, allow: { users: [u1] } }
`
const acl = (mode: string, user = 'u1') => aclOf(`version: 1\n${mode}${RULES}`, { user, org: 'org' })

/** The answer, and what it would have been. */
function both(mode: string, topic: string, user?: string): [string | number, string, Record<string, string>] {
  const asked = acl(mode, user)
  return [publish(asked, topic), VERDICT_NAMES[asked.shadowed], asked.decidedRules()]
}

describe('a rule set in shadow mode', () => {
  it.each([
    ['mode: { users: shadow }\n', 'org/own', 'allow', 'no_rule', { user: '-' }],
    ['mode: { users: shadow }\n', 'org/secret', 'deny_rule', 'allow', { agent: 'never', user: '-' }],
    ['mode: { agents: shadow }\n', 'org/own', 'no_rule', 'allow', { user: '-' }],
    [
      'mode: { agents: shadow, users: shadow }\n',
      'org/secret',
      'allow',
      'deny_rule',
      { agent: 'never', user: '-' },
    ],
    [
      'mode: { tenant: shadow, agents: shadow, users: shadow }\n',
      'else',
      'allow',
      'outside_tenant',
      { tenant: '-', agent: '-', user: '-' },
    ],
    ['mode: shadow\n', 'else', 'allow', 'outside_tenant', { tenant: '-', agent: '-', user: '-' }],
    ['mode: enforce\n', 'org/own', 'no_rule', 'allow', { user: '-' }],
    ['', 'org/own', 'no_rule', 'allow', { user: '-' }],
    [
      'mode: shadow\n',
      'org/shared/x',
      'allow',
      'allow',
      { tenant: 'tenant', agent: 'a', user: 'u', pair: 'p' },
    ],
  ])('%j: PUBLISH to %s: %s, would be %s', (mode, topic, answer, wouldBe, rules) => {
    expect(both(mode, topic)).toEqual([answer, wouldBe, rules])
  })

  it('lets a pair through that may not act', () => {
    expect(both('mode: { pairs: shadow }\n', 'org/shared/x', 'u2')).toEqual([
      'allow',
      'no_rule',
      { pair: '-' },
    ])
    expect(both('', 'org/shared/x', 'u2')[0]).toBe('no_rule')
  })

  it('narrows no QoS of a SUBSCRIBE', () => {
    expect(subscribe(acl(''), 'org/shared/x', 2)).toBe(1)
    expect(subscribe(acl('mode: { agents: shadow }\n'), 'org/shared/x', 2)).toBe(2)
  })

  it('lets a Response Topic through, and names it', () => {
    const asked = acl('mode: shadow\n')
    expect(publish(asked, 'org/shared/x', { response: 'elsewhere' })).toBe('allow')
    expect(VERDICT_NAMES[asked.shadowed]).toBe('response_topic_not_allowed')
    expect(publish(acl(''), 'org/shared/x', { response: 'elsewhere' })).toBe('response_topic_not_allowed')
  })

  it('never lets a token do more than its ceiling', () => {
    const ceilings = [{ format: 'scope' as const, firstMatch: false, rules: [] }]
    const asked = aclOf(`version: 1\nmode: shadow\n${RULES}`, { user: 'u1', org: 'org', ceilings })
    expect(publish(asked, 'org/shared/x')).toBe('no_rule')
  })

  it('never lets a malformed filter through', () => {
    expect(subscribe(acl('mode: shadow\n'), '$share/+/x')).toBe('no_rule')
  })

  it('changes the version of the policy, so that records tell which was in force', () => {
    const version = (mode: string) => policyOf(`version: 1\n${mode}${RULES}`).version
    expect(version('mode: shadow\n')).not.toBe(version(''))
    expect(version('mode: enforce\n')).toBe(version(''))
  })

  it.each(['mode: off\n', 'mode: { agent: shadow }\n', 'mode: { users: dry-run }\n'])(
    '%j is refused with its line',
    (mode) => {
      expect(problemsOf(`version: 1\n${mode}${RULES}`).join()).toMatch(
        /^2: .*(must be enforce or shadow|is no key)/,
      )
    },
  )

  it('is a warning', () => {
    const messages = (mode: string) =>
      lintPolicy(policyOf(`version: 1\n${mode}${RULES}`)).map(({ message }) => message)
    expect(messages('mode: { users: shadow, pairs: shadow }\n')).toContain(
      'What these layers deny is let through (`mode: shadow`): user, pair.',
    )
    expect(messages('').join()).not.toContain('shadow')
  })

  it('is no allow for `explain`', () => {
    const question = { topic: 'org/own', qos: 0, retain: false, payloadLength: 0 }
    expect(explainPublish(acl('mode: shadow\n'), question)).toMatchObject({
      reason: 'no_rule',
      shadowed: true,
    })
    expect(explainPublish(acl(''), question)).toMatchObject({ reason: 'no_rule', shadowed: false })
  })
})

describe('a listener in shadow mode', () => {
  it('lets through what any layer denies, ceilings included', () => {
    const ceilings = [{ format: 'scope' as const, firstMatch: false, rules: [] }]
    const asked = aclOf(`version: 1\n${RULES}`, { user: 'u1', org: 'org', ceilings }, { shadow: true })
    expect(publish(asked, 'x')).toBe('allow')
    expect(VERDICT_NAMES[asked.shadowed]).toBe('no_rule')
    expect(subscribe(asked, '#', 2)).toBe(2)
  })
})
