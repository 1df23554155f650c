import { describe, expect, it } from 'vitest'
import { type LintOptions, lintPolicy } from '../../src/policy/lint.ts'
import { policyOf } from '../support/permission.ts'

function findings(rules: string[], options: LintOptions = {}, rest = ''): string[] {
  const list = rules.map((rule) => `  - { ${rule} }\n`).join('')
  const policy = policyOf(`version: 1\nattributes: [team]\n${rest}agents:\n${list}`)
  return lintPolicy(policy, options)
    .map(({ rule, line, message }) => `${rule}:${line ?? ''} ${message}`)
    .filter((finding) => !finding.includes('attribute team is declared'))
}

describe('K8: finds', () => {
  it.each<[string, string[], string]>([
    ['a rule for everything', ['id: a, allow: publish, topic: "#"'], 'a:4 Rule a is very broad'],
    ['a rule for every first level', ['id: a, allow: subscribe, topic: +/x'], 'a:4 Rule a is very broad'],
    [
      'publishing as another agent',
      ['id: a, allow: publish, topic: agents/+/card'],
      'a:4 Rule a lets every agent publish as any other on',
    ],
    ['wrapped topics', ['id: a, allow: subscribe, topic: $queue/x'], 'a:4 Rule a names `$queue`'],
    [
      'administration',
      ['id: a, allow: publish, topic: $CONTROL/x'],
      'a:4 Rule a lets agents administer the broker',
    ],
    [
      'any share group',
      ['id: a, allow: subscribe, topic: x, shareGroups: any'],
      'a:4 Rule a lets agents join any share group',
    ],
    [
      'a rule given twice',
      ['id: a, allow: publish, topic: x', 'id: b, allow: publish, topic: x'],
      'b:5 Rule b changes nothing: rule a has',
    ],
    [
      'a wider rule before',
      ['id: a, allow: publish+subscribe, topic: x/+', 'id: b, allow: publish, topic: x/y'],
      'b:5 Rule b changes nothing: rule a has',
    ],
    [
      'a wider rule after',
      ['id: a, allow: publish, topic: x/y, maxQos: 1', 'id: b, allow: publish, topic: x/y'],
      'a:4 Rule a changes nothing: rule b has',
    ],
    [
      'a placeholder under a wildcard',
      ['id: a, allow: subscribe, topic: x/+', 'id: b, allow: subscribe, topic: "x/{team}"'],
      'b:5 Rule b changes nothing',
    ],
    [
      'a narrower audience',
      ['id: a, allow: publish, topic: x, agents: [m, n]', 'id: b, allow: publish, topic: x, agents: [n]'],
      'b:5 Rule b changes nothing',
    ],
    [
      'a second deny',
      [
        'id: x, allow: publish, topic: x/y',
        'id: a, deny: publish, topic: x/#',
        'id: b, deny: publish, topic: x/y',
      ],
      'b:6 Rule b changes nothing: rule a has',
    ],
    [
      'an allow under a deny',
      ['id: a, allow: publish, topic: x/y', 'id: b, deny: publish, topic: x/+'],
      'a:4 Rule a never allows anything: the deny b covers',
    ],
    [
      'a deny of nothing',
      ['id: a, allow: publish, topic: x', 'id: b, deny: publish, topic: y'],
      'b:5 Rule b denies nothing',
    ],
    [
      'a deny of another action',
      ['id: a, allow: publish, topic: x', 'id: b, deny: subscribe, topic: x'],
      'b:5 Rule b denies nothing',
    ],
    ['only denies', ['id: a, deny: publish, topic: x'], ': No rule under `agents` allows anything'],
  ])('%s', (_, rules, expected) => {
    expect(findings(rules).join('\n')).toContain(expected)
  })

  it('of two equal rules the second', () => {
    const rule = 'allow: publish, topic: x'
    expect(findings([`id: a, ${rule}`, `id: b, ${rule}`])).toHaveLength(1)
  })

  it('a tenant layer that bounds nothing', () => {
    const rest = 'tenant: { topics: ["+/#", "{org_id}/#"] }\n'
    expect(findings(['id: a, allow: publish, topic: x'], {}, rest)).toEqual([
      'tenant:3 Rule tenant bounds no tenant: `+/#` starts with a wildcard, not with {org_id}.',
    ])
  })

  it('names that no rule uses or no issuer fills', () => {
    const policy = policyOf(
      'version: 1\nattributes: [team, unit]\nagents:\n  - { id: a, allow: publish, topic: "x/{team}" }',
    )
    expect(lintPolicy(policy).map(({ message }) => message)).toEqual([
      'The attribute unit is declared, but no rule uses it.',
    ])
    expect(lintPolicy(policy, { mapped: new Set(['unit']) }).map(({ message }) => message)).toContain(
      "Rule a never applies: no issuer's configuration maps a claim to team.",
    )
    const deny = policyOf(
      'version: 1\nattributes: [team]\nagents:\n  - { id: o, allow: publish, topic: x }\n  - { id: a, deny: publish, topic: x, when: { team: b } }',
    )
    expect(lintPolicy(deny, { mapped: new Set() }).map(({ message }) => message)).toEqual([
      "Rule a applies to any value of team: no issuer's configuration maps a claim to it.",
    ])
  })

  it('missing user rules, where they are required', () => {
    const rule = ['id: a, allow: publish, topic: x']
    expect(findings(rule, { userLayer: 'required' })).toHaveLength(1)
    expect(findings(rule, { userLayer: 'none' })).toEqual([])
  })
})

describe('says nothing about', () => {
  it.each<[string, string[]]>([
    ['own topics', ['id: a, allow: publish, topic: "agents/{agent_id}/#"']],
    ['a wide rule for named agents', ['id: a, allow: publish, topic: r/+, agents: [gtm]']],
    ['an exact topic', ['id: a, allow: publish, topic: x']],
    [
      'another limit',
      ['id: a, allow: publish, topic: x, maxQos: 0', 'id: b, allow: publish, topic: x, minQos: 1'],
    ],
    [
      'another retain',
      ['id: a, allow: publish, topic: x', 'id: b, allow: publish, topic: x, retain: required'],
    ],
    [
      'another size',
      ['id: a, allow: publish, topic: x, maxPayload: 1', 'id: b, allow: publish, topic: x, maxQos: 1'],
    ],
    [
      'another response filter',
      [
        'id: a, allow: publish, topic: x, responseFilter: r',
        'id: b, allow: publish, topic: x, responseFilter: s',
      ],
    ],
    [
      'another audience',
      ['id: a, allow: publish, topic: x, agents: [m]', 'id: b, allow: publish, topic: x, users: [u]'],
    ],
    [
      'another condition',
      [
        'id: a, allow: publish, topic: x, when: { team: r }',
        'id: b, allow: publish, topic: x, when: { team: s }',
      ],
    ],
    [
      'another situation',
      [
        'id: a, allow: publish, topic: x, actingFor: self',
        'id: b, allow: publish, topic: x, actingFor: user',
      ],
    ],
    [
      'other share groups',
      [
        'id: a, allow: subscribe, topic: x, shareGroups: [h]',
        'id: b, allow: subscribe, topic: x, shareGroups: [g]',
      ],
    ],
    ['another action', ['id: a, allow: publish, topic: x', 'id: b, allow: subscribe, topic: x']],
    [
      'two placeholders',
      ['id: a, allow: publish, topic: "x/{team}"', 'id: b, allow: publish, topic: "x/{agent_id}"'],
    ],
    [
      'a deny of a part',
      ['id: a, allow: publish, topic: "x/{team}"', 'id: b, deny: publish, topic: x/secret'],
    ],
    ['a deny for some', ['id: a, allow: publish, topic: x', 'id: b, deny: publish, topic: x, agents: [m]']],
  ])('%s', (_, rules) => {
    expect(findings(rules)).toEqual([])
  })
})

it('a rule for shared subscriptions alone does not make one for the plain filter useless', () => {
  const shared = '{"topic": "$share/g/work", "action": "sub"}'
  const plain = '{"topic": "work", "action": "sub"}'
  const useless = (text: string) =>
    lintPolicy(policyOf(text)).filter(({ message }) => message.includes('changes nothing'))
  expect(useless(`[${shared}, ${plain}]`)).toEqual([])
  expect(useless(`[${shared}, ${shared}]`)).toHaveLength(1)
})

it('a rule on the tenant never applies when no issuer has tenants', () => {
  const policy = policyOf('version: 1\nagents: [{ id: a, allow: publish, topic: "{org_id}/x" }]')
  const messages = (mapped: string[]) =>
    lintPolicy(policy, { mapped: new Set(mapped) }).map(({ message }) => message)
  expect(messages([])).toEqual(["Rule a never applies: no issuer's configuration maps a claim to org_id."])
  expect(messages(['org_id'])).toEqual([])
})
