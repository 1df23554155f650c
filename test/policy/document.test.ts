import { readdirSync, readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { loadPolicy, policyJsonSchema } from '../../src/policy/document.ts'
import { aclOf, policyOf, problemsOf, publish, sha256, subscribe } from '../support/permission.ts'

const rule = (keys: string) =>
  `version: 1\nattributes: [team]\nagents:\n  - id: r\n${keys.replace(/^/gm, '    ')}`

describe('what loads', () => {
  it.each([
    ['an empty file', ''],
    ['a comment', '# nothing yet\n'],
    ['no rules', 'version: 1'],
    ['an empty list', 'version: 1\nagents: []\nusers: []'],
    ['a list without items', 'version: 1\nagents:\n'],
    ['an empty MQTT.Agent list', '[]'],
    ['an empty MQTT.Agent document', '{"version": "2.1", "default": "deny", "rules": []}'],
  ])('ACL-01, K7: %s denies everything', (_, text) => {
    const acl = aclOf(text, {}, { userLayer: 'none' })
    expect(publish(acl, 'a')).toBe('no_rule')
    expect(subscribe(acl, 'a')).toBe('no_rule')
    expect(subscribe(acl, '#')).toBe('no_rule')
  })

  it('JSON with tabs', () => {
    const acl = aclOf(
      '{\n\t"version": 1,\n\t"agents": [\n\t\t{"id": "a", "allow": "publish", "topic": "a"}\n\t]\n}',
    )
    expect(publish(acl, 'a')).toBe('allow')
  })

  it('all examples', () => {
    const folder = new URL('../../deploy/examples/', import.meta.url)
    const files = readdirSync(folder).filter((file) => /^policy.*\.yaml$/.test(file))
    expect(files.length).toBeGreaterThan(3)
    for (const file of files) expect(problemsOf(readFileSync(new URL(file, folder), 'utf8'))).toEqual([])
  })

  it('sizes with and without a unit', () => {
    for (const [size, bytes] of [
      ['10', 10],
      ['10B', 10],
      ['2KiB', 2048],
      ['1MiB', 1_048_576],
    ] as const) {
      const acl = aclOf(rule(`allow: publish\ntopic: a\nmaxPayload: ${size}`))
      expect(publish(acl, 'a', { payload: bytes })).toBe('allow')
      expect(publish(acl, 'a', { payload: bytes + 1 })).toBe('payload_too_large')
    }
  })
})

describe('the version', () => {
  const a = 'version: 1\nagents:\n  - { id: a, allow: publish, topic: x }'
  it('does not change with comments and layout', () => {
    const same = '# words\n{"version": 1, "agents": [{"topic": "x", "allow": "publish", "id": "a"}]}'
    expect(policyOf(a).version).toMatch(/^[0-9a-f]{16}$/)
    expect(policyOf(same).version).toBe(policyOf(a).version)
  })

  it.each(['topic: y', 'topic: x, maxQos: 1', 'topic: x, agents: [b]', 'topic: x, when: {org_id: b}'])(
    'changes with the rule { %s }',
    (keys) => {
      const other = `version: 1\nagents:\n  - { id: a, allow: publish, ${keys} }`
      expect(policyOf(other).version).not.toBe(policyOf(a).version)
    },
  )
})

describe('what does not load', () => {
  it.each([
    ['allow: publish\ndeny: publish\ntopic: a', '6: Rule r: has `allow` and `deny`'],
    ['topic: a', '4: Rule r: says neither `allow` nor `deny`'],
    ['allow: pub\ntopic: a', '5: Rule r: `allow` must be publish, subscribe or publish+subscribe'],
    ['allow: publish', '4: Rule r: names no topic'],
    ['allow: publish\ntopic: a\ntopics: [b]', '7: Rule r: has `topic` and `topics`'],
    ['allow: publish\ntopics: []', '6: Rule r: `topics` is an empty list'],
    ['allow: publish\ntopic: ""', '6: Rule r: `topic` cannot be empty'],
    ['allow: publish\ntopic: 7', '6: Rule r: `topic` must be text; put quotes around it'],
    ['allow: publish\ntopic: a#', '6: Rule r: `a#` is no Topic Filter: `#` must fill a whole level'],
    [
      'allow: publish\ntopics: [a, a/#/b]',
      '6: Rule r: `a/#/b` is no Topic Filter: `#` must be the last level',
    ],
    ['allow: publish\ntopic: a/b+', '6: Rule r: `a/b+` is no Topic Filter'],
    ['allow: publish\ntopic: "a\\u0000"', '6: Rule r: `a\u0000` is no Topic Filter'],
    ['allow: publish\ntopic: "x-{agent_id}"', '6: Rule r: the level `x-{agent_id}` mixes a placeholder'],
    ['allow: publish\ntopic: "{agent_id}{user_id}"', '6: Rule r: the level `{agent_id}{user_id}` mixes'],
    ['allow: publish\ntopic: "a/{"', '6: Rule r: the level `{` mixes'],
    // biome-ignore lint/suspicious/noTemplateCurlyInString: the placeholder of EMQX
    ['allow: publish\ntopic: "a/${clientid}"', '6: Rule r: the level `${clientid}` mixes'],
    ['allow: publish\ntopic: "a/{}"', '6: Rule r: `{}` names no attribute: write one of {agent_id}'],
    ['allow: publish\ntopic: "a/{teem}"', '6: Rule r: `{teem}` is no known attribute: write one of'],
    ['allow: publish\ntopic: "a/{__proto__}"', '6: Rule r: `{__proto__}` is no known attribute'],
    ['allow: publish\ntopic: "a/{$self}"', '6: Rule r: only rules with a `binding` may say `{$self}`'],
    ['allow: subscribe\ntopic: $share/g/a', '6: Rule r: `$share/g/a` names a shared subscription'],
    ['allow: publish\ntopic: a\nmaxQos: 3', '7: Rule r: `maxQos` must be 0, 1 or 2'],
    [
      'allow: publish\ntopic: a\nmaxQos: 0\nminQos: 1',
      '8: Rule r: `minQos` 1 is above `maxQos` 0: the rule can never match',
    ],
    ['allow: publish\ntopic: a\nretain: maybe', '7: Rule r: `retain` must be allowed, required or forbidden'],
    ['allow: publish\ntopic: a\nmaxPayload: 1KB', '7: Rule r: `maxPayload` is no size'],
    ['allow: subscribe\ntopic: a\nretain: allowed', '7: Rule r: `retain` is about publishing'],
    ['allow: publish\ntopic: a\nshareGroups: [g]', '7: Rule r: `shareGroups` is about subscribing'],
    ['allow: subscribe\ntopic: a\nshareGroups: [g/h]', '7: Rule r: `g/h` is no share group'],
    [
      'allow: subscribe\ntopic: a\nshareGroups: ["{a}{b}"]',
      '7: Rule r: the share group `{a}{b}` may hold one',
    ],
    ['deny: publish\ntopic: a\nmaxQos: 1', '7: Rule r: a deny has no limits'],
    [
      'allow: publish\ntopic: a\nresponseTopic: forbidden\nresponseFilter: b',
      '8: Rule r: `responseFilter` says which',
    ],
    ['allow: publish\ntopic: a\nresponseFilter: b/#/c', '7: Rule r: `b/#/c` is no Topic Filter'],
    ['allow: publish\ntopic: a\nagents: []', '7: Rule r: `agents` is an empty list'],
    ['allow: publish\ntopic: a\nagents: [1]', '7: Rule r: `agents.0` must be text'],
    ['allow: publish\ntopic: a\nwhen: { teem: x }', '7: Rule r: `teem` is no known attribute'],
    ['allow: publish\ntopic: a\nwhen: { team: [] }', '7: Rule r: `when.team` is an empty list'],
    ['allow: publish\ntopic: a\nwhen:\n  team: x\n  team: y', '9: The key is given twice'],
    ['allow: publish\ntopic: a\nwhen: { __proto__: x }', '7: `__proto__` cannot be a key'],
    [
      'allow: publish\ntopic: a\nagents: [a]\nwhen: { agent_id: b }',
      '8: Rule r: `when: agent_id` and `agents` have no value in common',
    ],
    [
      'allow: publish\ntopic: a\nusers: [a]\nactingFor: self',
      '8: Rule r: `actingFor: self` never meets a user',
    ],
    [
      'allow: publish\ntopic: a\nretained: true',
      '7: Rule r: `retained` is no key here: the keys are id, allow',
    ],
  ])('%j: %s', (keys, problem) => {
    const problems = problemsOf(rule(keys))
    expect(problems).toHaveLength(1)
    expect(problems[0]).toContain(problem)
  })

  it.each([
    ['version: 2\nagents: []', '1: `version` must be 1'],
    ['agents: []', '1: `version` must be 1'],
    ['version: 1\nrule: []', '2: `rule` is no key here: the keys are version, attributes, mode, tenant'],
    ['version: 1\nagents: {}', '2: `agents` must be a list of rules'],
    ['version: 1\nagents: [7]', '2: Must be a rule, with `id`'],
    ['version: 1\nattributes: [agent_id]', '2: `agent_id` is always known: remove it'],
    ['version: 1\nattributes: ["a b"]', '2: `attributes.0` must be letters'],
    ['version: 1\ntenant:\n', '2: `tenant` must have `topics`'],
    ['version: 1\ntenant: { topics: [] }', '2: `tenant.topics` is an empty list'],
    [
      'version: 1\nusers:\n  - { id: a, allow: publish, topic: a, actingFor: self }',
      '3: Rule a: `actingFor: self`',
    ],
    ['version: 1\npairs: []', '2: `pairs` is an empty list'],
    ['version: 1\npairs: [{ id: a, deny: {} }]', '2: Only denies, so that no pair may act'],
    [
      'version: 1\npairs: [{ id: a, deny: {}, allow: {} }]',
      '2: Rule a: must have `allow` or `deny`, not both',
    ],
    ['version: 1\npairs: [{ id: a, allow: publish }]', '2: Rule a: `allow` must be `{}` for every pair'],
    ['version: 1\n---\nversion: 1', '2: Not readable as YAML or JSON'],
    ['version: 1\nagents: [', '2: Not readable as YAML or JSON'],
    ['version: 1\nagents: !!js/function "x"', '2: Not readable as YAML or JSON'],
    ['version: 1\nagents: *nothing', 'Not readable as YAML or JSON'],
    ['just words', '1: Must be a policy, which starts with `version: 1`'],
  ])('%j: %s', (text, problem) => {
    const problems = problemsOf(text)
    expect(problems).toHaveLength(1)
    expect(problems[0]).toContain(problem)
  })

  it('one in the outline hides none in the rules', () => {
    const text =
      'version: 2\nagnets: []\nagents: 7\nusers:\n  - { id: a }\n  - { id: b, allow: publish, topic: "{x}" }\n'
    expect(problemsOf(text).map((problem) => problem.slice(0, 2))).toEqual([
      '1:',
      '2:',
      '3:',
      '5:',
      '5:',
      '6:',
    ])
    expect(problemsOf('rulez: []\nrules: [{ topic: "#" }]\n')).toHaveLength(2)
    const undeclared =
      'version: 1\nattributes: team\nagents:\n  - { id: a, allow: publish, topic: "{team}" }\n'
    expect(problemsOf(undeclared)).toEqual(['2: `attributes` must be a list of names.'])
  })

  it('all problems at once, by line, with their places', () => {
    const text = `version: 1
agents:
  - { id: a, allow: publish, topic: "{x}" }
  - { id: a, allow: publish, topic: b, maxQos: 9, wat: 1 }
users:
  - { allow: publish, topic: c }
  - { id: "-", deny: publish, topic: d }
  - { id: a, deny: publish, topic: d }
`
    const loaded = loadPolicy(text, 'p.yaml', sha256)
    expect('problems' in loaded && loaded.problems.map(({ file, line, path }) => [file, line, path])).toEqual(
      [
        ['p.yaml', 3, 'agents[0].topic'],
        ['p.yaml', 4, 'agents[1].maxQos'],
        ['p.yaml', 4, 'agents[1].wat'],
        ['p.yaml', 6, 'users[0].id'],
        ['p.yaml', 7, 'users[1].id'],
        ['p.yaml', 8, 'users[2].id'],
      ],
    )
  })
})

describe('the MQTT.Agent form', () => {
  const own = '{"topic": "agents/{$self}/card", "action": "pub+sub", "binding": "agent_id"}'
  it.each([
    ['one rule', own],
    ['a list of rules', `[${own}]`],
    ['a document', `{"version": "2.1", "default": "deny", "global": [], "rules": [${own}]}`],
    ['a rule among our own', `version: 1\nagents:\n  - ${own}`],
  ])('loads as it is: %s', (_, text) => {
    const acl = aclOf(text)
    expect(publish(acl, 'agents/scout/card')).toBe('allow')
    expect(publish(acl, 'agents/scout/card', { retain: true, qos: 2 })).toBe('allow')
    expect(subscribe(acl, 'agents/scout/card', 2)).toBe(2)
    expect(publish(acl, 'agents/analyst/card')).toBe('no_rule')
    expect(subscribe(acl, 'agents/+/card')).toBe('no_rule')
    expect(publish(aclOf(text, { agent: '+' }), 'agents/scout/card')).toBe('no_rule')
    expect(policyOf(text).rules.agents.map(({ id }) => id)).toEqual(['rule-1'])
  })

  it('`agents` lists the values of the binding on a literal topic', () => {
    const text =
      '[{"topic": "t/call", "action": "pub", "binding": "agent_id", "agents": ["scout", "analyst"]}]'
    expect(publish(aclOf(text, { agent: 'scout' }), 't/call')).toBe('allow')
    expect(publish(aclOf(text, { agent: 'operator' }), 't/call')).toBe('no_rule')
  })

  it('`binding: user_id` binds to the user; a bound rule fails closed without the claim', () => {
    const text =
      '[{"topic": "u/{$self}", "action": "pub", "binding": "user_id"}, {"topic": "o", "action": "pub", "binding": "org_id"}]'
    const acl = aclOf(text, { user: 'u1' }, { userLayer: 'none' })
    expect(publish(acl, 'u/u1')).toBe('allow')
    expect(publish(acl, 'u/scout')).toBe('no_rule')
    expect(publish(acl, 'o')).toBe('no_rule')
    expect(publish(aclOf(text, { org: 'acme' }), 'o')).toBe('allow')
  })

  it('names the claims that issuers must map', () => {
    const text = '[{"topic": "tools/{$self}/card", "action": "pub", "binding": "tool_id"}]'
    expect(policyOf(text).rules.attributes).toEqual(['tool_id'])
  })

  it('a tool server joins the group that the MCP profile fixes, or the one in the topic', () => {
    const text =
      '[{"topic": "ns/mcp/tools/t1/call", "action": "sub"}, {"topic": "$share/g/work", "action": "sub"}]'
    const acl = aclOf(text)
    expect(subscribe(acl, '$share/mcp-tool-t1/ns/mcp/tools/t1/call')).toBe(1)
    expect(subscribe(acl, '$share/evil/ns/mcp/tools/t1/call')).toBe('share_group_not_allowed')
    expect(subscribe(acl, '$share/g/work')).toBe(1)
    expect(subscribe(acl, '$share/h/work')).toBe('share_group_not_allowed')
  })

  it.each([
    ['$share/g/work', '$share/g/work'],
    ['$share/+/work', '$share/any/work'],
  ])('C6 a rule on `%s` grants the shared form only, never the plain filter', (topic, shared) => {
    const acl = aclOf(`[{"topic": "${topic}", "action": "sub"}]`)
    expect(subscribe(acl, shared)).toBe(1)
    expect(subscribe(acl, 'work')).toBe('no_rule')
    expect(publish(acl, 'work')).toBe('no_rule')
    const both = aclOf(`[{"topic": "${topic}", "action": "sub"}, {"topic": "work", "action": "sub"}]`)
    expect([subscribe(both, shared), subscribe(both, 'work')]).toEqual([1, 1])
  })

  it.each([
    [
      '[{"topic": "$share/g/a", "action": "pub"}]',
      '1: Rule rule-1: `$share` topics can only be subscribed to',
    ],
    [
      '[{"topic": "$share/g/a", "action": "pub+sub"}]',
      '1: Rule rule-1: `$share` topics can only be subscribed to',
    ],
    ['[{"topic": "a/{$self}", "action": "pub"}]', '1: Rule rule-1: `{$self}` needs a `binding`'],
    ['[{"topic": "a", "action": "read"}]', '1: `action` must be pub, sub or pub+sub'],
    ['[{"topic": "a", "action": "pub", "binding": "email"}]', '1: `binding` must be one of agent_id'],
    ['[{"topic": "a", "action": "pub", "qos": 1}]', '1: `qos` is no key here'],
    [
      '[{"topic": "a-{$self}", "action": "pub", "binding": "agent_id"}]',
      '1: Rule rule-1: the level `a-{agent_id}` mixes',
    ],
    ['{"default": "allow", "rules": []}', '1: `default` must be `deny`'],
    ['{"rules": [], "publishers": []}', '1: `publishers` lists service accounts'],
  ])('refuses %s', (text, problem) => {
    const problems = problemsOf(text)
    expect(problems).toHaveLength(1)
    expect(problems[0]).toContain(problem)
  })
})

it('publishes a JSON Schema that knows every key', () => {
  const text = JSON.stringify(policyJsonSchema)
  for (const key of ['responseFilter', 'shareGroups', 'actingFor', 'binding', 'pairs'])
    expect(text).toContain(`"${key}"`)
})
