// Containment within a layer, deny rules, and the intersection of the layers.
import { describe, expect, it } from 'vitest'
import { aclOf, deliver, publish, type SubjectOptions, subscribe } from '../support/permission.ts'

const agents = (...rules: string[]) => `version: 1\nagents:\n${rules.map((rule) => `  - ${rule}\n`).join('')}`

describe('containment within one layer', () => {
  it.each<[allow: string, filter: string, expected: number | string]>([
    ['a/+', 'a/#', 'no_rule'],
    ['+', '#', 'no_rule'],
    ['a/+/c', 'a/#', 'no_rule'],
    ['a/#', 'a/+/c', 1],
    ['a/#', 'a', 1],
    ['#', '+/#', 1],
    ['#', '$SYS/#', 'reserved_topic'],
    ['+/#', '$SYS/x', 'reserved_topic'],
    ['$SYS/#', '$SYS/broker/uptime', 1],
  ])('B1, B5, ACL-06: allow %s: SUBSCRIBE %s: %s', (allow, filter, expected) => {
    expect(subscribe(aclOf(agents(`{ id: a, allow: subscribe, topic: "${allow}" }`)), filter)).toBe(expected)
  })

  it('ACL-04: two rules that only together cover a filter do not count', () => {
    const acl = aclOf(
      agents('{ id: a, allow: subscribe, topic: a }', '{ id: b, allow: subscribe, topic: "a/+/#" }'),
    )
    expect(subscribe(acl, 'a/#')).toBe('no_rule')
    expect(subscribe(acl, 'a/+/#')).toBe(1)
  })

  it('ACL-04: different layers may use different rules', () => {
    const text = `${agents('{ id: a, allow: subscribe, topic: "x/#" }')}users: [{ id: u, allow: subscribe, topic: "+/y" }]`
    const acl = aclOf(text, { user: 'u1' })
    expect(subscribe(acl, 'x/y')).toBe(1)
    expect(subscribe(acl, 'x/+')).toBe('no_rule')
    expect(acl.decidedRules()).toEqual({ user: '-' })
  })

  it.each([
    '$share',
    '$share/',
    '$share/g',
    '$share/g/',
    '$share//a',
    '$share/+/a',
    '$share/g#/a',
    'a#',
    '',
    '#/a',
  ])('B6, C2: %j is denied even by a rule for everything', (filter) => {
    const acl = aclOf(agents('{ id: a, allow: subscribe, topics: ["#", "$share2/#"], shareGroups: any }'))
    expect(subscribe(acl, filter)).toBeTypeOf('string')
    expect(acl.decidedRules()).toEqual({ agent: '-' })
  })
})

describe('deny rules', () => {
  const text = agents(
    '{ id: all, allow: publish+subscribe, topic: "#" }',
    '{ id: secret, deny: publish+subscribe, topic: secret/x }',
  )

  it('ACL-05: beat every allow', () => {
    const acl = aclOf(text)
    expect(publish(acl, 'secret/x')).toBe('deny_rule')
    expect(acl.decidedRules()).toEqual({ agent: 'secret' })
    expect(publish(acl, 'secret/y')).toBe('allow')
    expect(deliver(acl, 'secret/x')).toBe('deny_rule')
  })

  it.each(['#', '+/x', 'secret/#', 'secret/+', '+/+', 'secret/x', '$share/g/secret/#'])(
    'ACL-05, B3, C1: %s overlaps the deny and is refused',
    (filter) => {
      expect(subscribe(aclOf(text), filter)).toBe('deny_rule')
    },
  )

  it.each(['#', '+/x', 'secret/#'])(
    'B3: %s is granted and its deliveries filtered, where set so',
    (filter) => {
      const acl = aclOf(text, {}, { overlappingDeny: 'filter' })
      expect(subscribe(acl, filter)).toBe(1)
      expect(deliver(acl, 'secret/x')).toBe('deny_rule')
      expect(deliver(acl, 'other/x')).toBe('allow')
    },
  )

  it('B3: a filter that a deny covers wholly is refused in both modes', () => {
    expect(subscribe(aclOf(text, {}, { overlappingDeny: 'filter' }), 'secret/x')).toBe('deny_rule')
  })

  it.each<[layer: string, text: string]>([
    ['user', 'users: [{ id: u, allow: publish, topic: "#" }, { id: no, deny: publish, topic: a }]'],
    [
      'pair',
      'users: [{ id: u, allow: publish, topic: "#" }]\npairs: [{ id: no, deny: { users: [u1] } }, { id: yes, allow: {} }]',
    ],
  ])('ACL-05: a deny of the %s layer too', (layer, rest) => {
    const acl = aclOf(`${agents('{ id: a, allow: publish, topic: "#" }')}${rest}`, { user: 'u1' })
    expect(publish(acl, 'a')).toBe('deny_rule')
    expect(acl.decidedRules()).toEqual({ [layer]: 'no' })
  })
})

describe('layers', () => {
  const both = `${agents('{ id: a, allow: publish, topics: [x, y] }')}users: [{ id: u, allow: publish, topics: [y, z] }]`

  it('DEL-09: an agent acting for a user gets what both may', () => {
    const acl = aclOf(both, { user: 'u1' })
    expect(['x', 'y', 'z'].map((topic) => publish(acl, topic))).toEqual(['no_rule', 'allow', 'no_rule'])
    expect(aclOf(both, { user: 'u1' }).layers.map(({ name }) => name)).toEqual(['agent', 'user'])
  })

  it('DEL-09: a missing user layer denies, unless it is set not to apply', () => {
    const text = agents('{ id: a, allow: publish, topic: x }')
    expect(publish(aclOf(text, { user: 'u1' }), 'x')).toBe('no_rule')
    expect(publish(aclOf(text, { user: 'u1' }, { userLayer: 'none' }), 'x')).toBe('allow')
    expect(publish(aclOf(both, { user: 'u1' }, { userLayer: 'none' }), 'x')).toBe('allow')
  })

  it('DEL-09: a self-acting agent has no user layer', () => {
    expect(publish(aclOf(both), 'x')).toBe('allow')
    expect(publish(aclOf(both), 'z')).toBe('no_rule')
  })

  const pairs = `${agents('{ id: a, allow: publish+subscribe, topics: ["#", "$SYS/#"] }')}users: [{ id: u, allow: publish+subscribe, topics: ["#", "$SYS/#"] }]
pairs:
  - { id: not-bob, deny: { users: [bob], agents: [scout] } }
  - { id: known, allow: { users: [alice, bob] } }`
  it.each<[SubjectOptions, string]>([
    [{ agent: 'scout', user: 'alice' }, 'allow'],
    [{ agent: 'scout', user: 'bob' }, 'deny_rule'],
    [{ agent: 'analyst', user: 'bob' }, 'allow'],
    [{ agent: 'scout', user: 'carol' }, 'no_rule'],
    [{ agent: 'scout' }, 'allow'],
  ])('DEL-08: the pair %j: %s, for every action', (who, expected) => {
    const acl = aclOf(pairs, who)
    expect(publish(acl, 'x')).toBe(expected)
    expect(deliver(acl, 'x')).toBe(expected)
    expect(subscribe(acl, '$SYS/x')).toBe(expected === 'allow' ? 1 : expected)
  })

  it('DEL-08: a new policy changes the answer for the same principal', () => {
    expect(publish(aclOf(pairs, { user: 'alice' }), 'x')).toBe('allow')
    expect(publish(aclOf(pairs.replace('[bob]', '[alice]'), { user: 'alice' }), 'x')).toBe('deny_rule')
  })

  const tenant = `${agents('{ id: a, allow: publish+subscribe, topics: ["#", "$SYS/#"], shareGroups: any }')}tenant: { topics: ["{org_id}/#", "shared/+"] }`
  it.each<[filter: string, expected: number | string]>([
    ['acme/x', 1],
    ['acme/#', 1],
    ['acme', 1],
    ['shared/x', 1],
    ['other/x', 'outside_tenant'],
    ['#', 'outside_tenant'],
    ['+/x', 'outside_tenant'],
    ['shared/#', 'outside_tenant'],
    ['$share/g/acme/x', 1],
    ['$share/g/other/x', 'outside_tenant'],
    ['$share/g/#', 'outside_tenant'],
    ['$SYS/x', 'reserved_topic'],
    ['Acme/x', 'outside_tenant'],
  ])('DEL-10: tenant acme: SUBSCRIBE %s: %s', (filter, expected) => {
    expect(subscribe(aclOf(tenant, { org: 'acme' }), filter)).toBe(expected)
  })

  it('DEL-10: publishing, delivery and Response Topics stay inside too', () => {
    const acl = aclOf(tenant, { org: 'acme' })
    expect(publish(acl, 'other/x')).toBe('outside_tenant')
    expect(deliver(acl, 'other/x')).toBe('outside_tenant')
    expect(publish(acl, 'acme/x', { response: 'other/x' })).toBe('response_topic_not_allowed')
    expect(publish(acl, 'acme/x', { response: 'acme/y' })).toBe('allow')
    expect(acl.decidedRules()).toEqual({ tenant: 'tenant', agent: 'a' })
    expect(publish(aclOf(tenant), 'acme/x')).toBe('outside_tenant')
  })

  it('delivery asks neither for QoS nor for a share group', () => {
    const acl = aclOf(agents('{ id: a, allow: subscribe, topic: x, minQos: 2, shareGroups: [g] }'))
    expect(deliver(acl, 'x')).toBe('allow')
    expect(deliver(acl, 'y')).toBe('no_rule')
  })

  it('C4: names under `$` need a rule that says so', () => {
    const acl = aclOf(agents('{ id: a, allow: publish+subscribe, topics: ["#", "$a2a/v1/#"] }'))
    for (const topic of ['$SYS/x', '$CONTROL/x', '$MQTT/x', '$share/g/x', '$']) {
      expect(publish(acl, topic)).toBe('reserved_topic')
      expect(deliver(acl, topic)).toBe('reserved_topic')
    }
    expect(publish(acl, '$a2a/v1/x')).toBe('allow')
  })
})
