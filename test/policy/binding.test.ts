// Values of claims in topics, conditions and selectors: peers.md 2, group A.
import { describe, expect, it } from 'vitest'
import { MAX_FILTERS_PER_RULE } from '../../src/policy/bind.ts'
import { isBindable } from '../../src/policy/template.ts'
import { aclOf, deliver, publish, type SubjectOptions, subscribe } from '../support/permission.ts'

const EVIL = [
  '',
  '/',
  '+',
  '#',
  'a/b',
  'a/+',
  'a/#',
  '#a',
  'x+',
  '$SYS',
  '$',
  'x\u0000',
  '\n',
  'a\r\nb',
  '\u007f',
  '\u0085',
  '\ud800',
]
const ODD = [
  '__proto__',
  'constructor',
  'toString',
  'hasOwnProperty',
  '.*',
  '(a|b)',
  'a\\',
  'a%2Fb',
  '{agent_id}',
  'é',
  'e\u0301',
  '\ufeffa',
  'a b',
]

const own = `version: 1
agents:
  - { id: own, allow: publish+subscribe, topic: "agents/{agent_id}/card" }
  - { id: mine, allow: publish+subscribe, topic: "{agent_id}/#" }`

describe('a value that is not one level', () => {
  it.each(EVIL)('ACL-02, A1, A3, C7: %j gives no right and widens none', (agent) => {
    const acl = aclOf(own, { agent })
    for (const topic of [
      'agents/scout/card',
      'agents/x/card',
      'scout/a',
      '$SYS/a',
      'a/b',
      `agents/${agent}/card`,
    ]) {
      expect(publish(acl, topic), topic).not.toBe('allow')
      expect(deliver(acl, topic), topic).not.toBe('allow')
    }
    for (const filter of [
      '#',
      '+/#',
      'agents/+/card',
      'agents/#',
      '$SYS/#',
      `agents/${agent}/card`,
      `${agent}/#`,
    ]) {
      expect(subscribe(acl, filter), filter).toBeTypeOf('string')
    }
    expect(acl.bindProblems).toHaveLength(2)
    expect(acl.bindProblems[0]).toBe('rule own: a value of agent_id cannot stand for one topic level')
  })

  it('A5: the expanded text of a wildcard value is not granted', () => {
    expect(subscribe(aclOf(own, { agent: '+' }), 'agents/+/card')).toBe('no_rule')
  })

  it.each(EVIL)('A2: %j of a tenant reaches no topic of any tenant', (org) => {
    const text =
      'version: 1\ntenant: { topics: ["{org_id}/#"] }\nagents: [{ id: a, allow: publish+subscribe, topic: "#" }]'
    const acl = aclOf(text, { org })
    expect(publish(acl, 'acme/x')).toBe('outside_tenant')
    expect(subscribe(acl, '#')).toBe('outside_tenant')
    expect(subscribe(acl, '+/x')).toBe('outside_tenant')
  })
})

describe('a value that only looks odd', () => {
  it.each(ODD)('A4, A9: %j is one level, itself and nothing else', (agent) => {
    const acl = aclOf(own, { agent })
    expect(publish(acl, `agents/${agent}/card`)).toBe('allow')
    expect(subscribe(acl, `agents/${agent}/card`)).toBe(1)
    expect(publish(acl, 'agents/scout/card')).toBe('no_rule')
    expect(acl.bindProblems).toEqual([])
  })

  it.each([
    ['a/b', 'a%2Fb'],
    ['A', 'a'],
    ['\u00e9', 'e\u0301'],
    ['\ufeffa', 'a'],
  ])('A8, B8: %j and %j stay distinct', (one, other) => {
    expect(publish(aclOf(own, { agent: other }), `agents/${one}/card`)).toBe('no_rule')
  })

  it.each(['__proto__', 'constructor', 'toString'])(
    'A9: an attribute or tenant named like %s is data',
    (name) => {
      const text =
        'version: 1\nattributes: [constructor, toString]\nagents: [{ id: a, allow: publish, topic: "{toString}/x", when: { constructor: y } }]'
      expect(publish(aclOf(text, { org: name, agent: name }), 'x/x')).toBe('no_rule')
      expect(
        publish(
          aclOf(text, {
            attributes: [
              ['toString', [name]],
              ['constructor', ['y']],
            ],
          }),
          `${name}/x`,
        ),
      ).toBe('allow')
    },
  )
})

describe('several values', () => {
  const text = `version: 1
attributes: [tool, team]
agents:
  - { id: calls, allow: subscribe, topic: "tools/{tool}/call", shareGroups: ["mcp-{tool}"] }
  - { id: cross, allow: publish, topics: ["x/{tool}/{team}", "y/{team}"], responseFilter: "r/{team}", responseTopic: required }
  - { id: replies, allow: subscribe, topic: r/+ }`
  const acl = aclOf(text, {
    attributes: [
      ['tool', ['a', 'b', 'a', '+']],
      ['team', ['s', 't']],
    ],
  })

  it('each make a filter of their own; those that are no level make none', () => {
    expect(subscribe(acl, 'tools/a/call')).toBe(1)
    expect(subscribe(acl, 'tools/b/call')).toBe(1)
    expect(subscribe(acl, 'tools/+/call')).toBe('no_rule')
    expect(subscribe(acl, 'tools/c/call')).toBe('no_rule')
    expect(acl.bindProblems).toContain('rule calls: a value of tool cannot stand for one topic level')
  })

  it('C7: the same value stands in the topic, the share group and the response filter', () => {
    expect(subscribe(acl, '$share/mcp-a/tools/a/call')).toBe(1)
    expect(subscribe(acl, '$share/mcp-b/tools/a/call')).toBe('share_group_not_allowed')
    expect(publish(acl, 'x/a/s', { response: 'r/s' })).toBe('allow')
    expect(publish(acl, 'x/a/s', { response: 'r/t' })).toBe('response_topic_not_allowed')
    expect(publish(acl, 'y/t', { response: 'r/t' })).toBe('allow')
  })

  it(`up to ${MAX_FILTERS_PER_RULE} filters for one rule; above, the rule does not apply and says so`, () => {
    const many = (count: number): SubjectOptions => ({
      attributes: [['tool', Array.from({ length: count }, (_, i) => `t${i}`)]],
    })
    expect(subscribe(aclOf(text, many(MAX_FILTERS_PER_RULE)), 'tools/t0/call')).toBe(1)
    const above = aclOf(text, many(MAX_FILTERS_PER_RULE + 1))
    expect(subscribe(above, 'tools/t0/call')).toBe('no_rule')
    expect(above.bindProblems.join()).toContain(
      'rule calls: its array claims make 257 filters, more than 256',
    )
  })
})

describe('a deny whose value is missing or is no level', () => {
  const text = `version: 1
attributes: [team]
agents:
  - { id: all, allow: publish+subscribe, topic: "#" }
  - { id: no, deny: publish, topic: "teams/{team}/audit" }
  - { id: low, deny: publish, topic: low, when: { team: red } }`
  it.each<[string, readonly string[]]>([
    ['missing', []],
    ['no level', ['+']],
    ['one of them no level', ['red', 'a/b']],
    ['too many', Array.from({ length: 300 }, (_, i) => `t${i}`)],
  ])('denies for any value: %s', (_, values) => {
    const acl = aclOf(text, { attributes: [['team', values]] })
    expect(publish(acl, 'teams/blue/audit')).toBe('deny_rule')
    expect(publish(acl, 'teams/blue/x')).toBe('allow')
    expect(acl.bindProblems.join()).toContain('rule no: ')
  })

  it.each<[string, readonly string[]]>([
    ['missing', []],
    ['a `$`-level', ['$SYS']],
  ])('B4 in the first level it reaches `$`-topics too: %s', (_, values) => {
    const first = `version: 1
attributes: [x]
agents:
  - { id: all, allow: publish+subscribe, topics: ["$SYS/#", "$other", "#"] }
  - { id: no, deny: publish+subscribe, topic: "{x}/#" }`
    const acl = aclOf(first, { attributes: [['x', values]] })
    for (const topic of ['$SYS/a', '$other', 'a/b']) {
      expect(publish(acl, topic), topic).toBe('deny_rule')
      expect(deliver(acl, topic), topic).toBe('deny_rule')
      expect(subscribe(acl, topic), topic).toBe('deny_rule')
    }
    for (const filter of ['$SYS/#', '$SYS/+', '#']) expect(subscribe(acl, filter), filter).toBe('deny_rule')
  })

  it('a `+` of the rule itself stays short of `$`-topics', () => {
    const wild = `version: 1
attributes: [x]
agents:
  - { id: all, allow: publish+subscribe, topics: ["$SYS/#", "#"] }
  - { id: no, deny: publish+subscribe, topic: "+/{x}" }`
    const acl = aclOf(wild, {})
    expect([publish(acl, '$SYS/a'), publish(acl, 'a/a')]).toEqual(['allow', 'deny_rule'])
  })

  it('denies for its own value otherwise', () => {
    const acl = aclOf(text, { attributes: [['team', ['red']]] })
    expect(publish(acl, 'teams/red/audit')).toBe('deny_rule')
    expect(publish(acl, 'teams/blue/audit')).toBe('allow')
  })

  it('a condition on a claim that the token lacks does not lift the deny', () => {
    expect(publish(aclOf(text, { attributes: [] }), 'low')).toBe('deny_rule')
    expect(publish(aclOf(text, { attributes: [['team', ['blue']]] }), 'low')).toBe('allow')
  })
})

describe('for whom a rule is', () => {
  const text = `version: 1
attributes: [team]
agents:
  - { id: agents, allow: publish, topic: agents, agents: [scout, analyst] }
  - { id: users, allow: publish, topic: users, users: [u1] }
  - { id: user, allow: publish, topic: user, actingFor: user }
  - { id: self, allow: publish, topic: self, actingFor: self }
  - { id: when, allow: publish, topic: when, when: { team: [red, blue], org_id: acme } }`
  const may = (who: SubjectOptions) => {
    const acl = aclOf(text, who, { userLayer: 'none' })
    return ['agents', 'users', 'user', 'self', 'when'].filter((topic) => publish(acl, topic) === 'allow')
  }
  it.each<[SubjectOptions, string[]]>([
    [{ agent: 'scout' }, ['agents', 'self']],
    [{ agent: 'Scout' }, ['self']],
    [{ agent: 'analyst', user: 'u1' }, ['agents', 'users', 'user']],
    [{ agent: 'x', user: 'u2' }, ['user']],
    [{ agent: 'x', org: 'acme', attributes: [['team', ['green', 'blue']]] }, ['self', 'when']],
    [{ agent: 'x', org: 'acme', attributes: [['team', ['green']]] }, ['self']],
    [{ agent: 'x', attributes: [['team', ['red']]] }, ['self']],
    [{ agent: 'x', org: 'acme', attributes: [['team', []]] }, ['self']],
  ])('%j: %j', (who, expected) => {
    expect(may(who)).toEqual(expected)
  })

  it('the owner of a self-acting agent is not its user', () => {
    const acl = aclOf(text.replace('[u1]', '[owner]'))
    expect(publish(acl, 'users')).toBe('no_rule')
  })
})

it('isBindable refuses what MQTT 5.0 §4.7 gives a meaning', () => {
  expect(EVIL.filter(isBindable)).toEqual([])
  expect(ODD.filter(isBindable)).toEqual(ODD)
})
