// Evaluation of what a token carries; identity's tests read the claims.
import { describe, expect, it } from 'vitest'
import type { BindOptions } from '../../src/policy/policy.ts'
import type { Ceiling, CeilingRule } from '../../src/policy/subject.ts'
import { aclOf, deliver, publish, subscribe } from '../support/permission.ts'

const everything =
  'version: 1\nagents: [{ id: all, allow: publish+subscribe, topics: ["#", "$SYS/#"], retain: allowed, shareGroups: any }]'
const both = { effect: 'allow', publish: true, subscribe: true } as const
const deny = { effect: 'deny', publish: true, subscribe: true } as const

function bound(ceilings: readonly Ceiling[], options: Partial<BindOptions> = {}) {
  return aclOf(everything, { ceilings }, options)
}

const scope = (...rules: CeilingRule[]): Ceiling => ({ format: 'scope', firstMatch: false, rules })
const acl = (...rules: CeilingRule[]): Ceiling => ({ format: 'acl', firstMatch: true, rules })

describe('ACL-15: any entry that covers', () => {
  const rights = bound([
    scope(
      { ...both, filter: 'topic1' },
      { ...both, filter: 'topic2/#', subscribe: false },
      { ...both, filter: '+/topic3', publish: false },
    ),
  ])

  it('decides by topic and permission', () => {
    expect(['topic1', 'topic2', 'topic2/x', 'a/topic3', 'x'].map((topic) => publish(rights, topic))).toEqual([
      'allow',
      'allow',
      'allow',
      'no_rule',
      'no_rule',
    ])
    expect(
      ['topic1', 'topic2/x', 'a/topic3', '+/topic3', '+/+', '#'].map((filter) => subscribe(rights, filter)),
    ).toEqual([1, 'no_rule', 1, 1, 'no_rule', 'no_rule'])
    expect(deliver(rights, 'a/topic3')).toBe('allow')
    expect(deliver(rights, 'topic2/x')).toBe('no_rule')
    expect(publish(rights, '$SYS/x')).toBe('reserved_topic')
  })

  it('names layer and entry', () => {
    publish(rights, 'topic2/x')
    expect(rights.decidedRules()).toEqual({ 'token:scope': 'scope[1]', agent: 'all' })
    publish(rights, 'x')
    expect(rights.decidedRules()).toEqual({ 'token:scope': '-' })
  })

  it('covers the shared form of what it covers', () => {
    expect(subscribe(rights, '$share/g/topic1')).toBe(1)
    expect(subscribe(rights, '$share/g/topic2/x')).toBe('no_rule')
  })

  it('limits QoS and retain', () => {
    const limited = bound([scope({ ...both, filter: 'a', maxQos: 1, retain: false })])
    expect(publish(limited, 'a', { qos: 2 })).toBe('qos_above_limit')
    expect(publish(limited, 'a', { retain: true })).toBe('retain_not_allowed')
    expect(subscribe(limited, 'a', 2)).toBe(1)
  })

  it('a deny beats every allow', () => {
    const denied = bound([scope({ ...both, filter: '#' }, { ...deny, filter: 'a/b' })])
    expect(publish(denied, 'a/b')).toBe('deny_rule')
    expect(subscribe(denied, 'a/+')).toBe('deny_rule')
  })

  it('a placeholder is no placeholder here', () => {
    expect(publish(bound([scope({ ...both, filter: '{agent_id}/x' })]), 'scout/x')).toBe('no_rule')
  })

  it('cannot widen what the policy allows', () => {
    const narrow = aclOf('version: 1\nagents: [{ id: a, allow: publish, topic: a }]', {
      ceilings: [scope({ ...both, filter: '#' })],
    })
    expect(publish(narrow, 'b')).toBe('no_rule')
    expect(narrow.decidedRules()).toEqual({ agent: '-' })
  })
})

describe('ACL-15: several formats, none, or nonsense', () => {
  it('each format is a layer of its own', () => {
    const rights = bound([scope({ ...both, filter: 'a/#' }), acl({ ...both, filter: '+/b' })])
    expect(['a/b', 'a/c', 'c/b'].map((topic) => publish(rights, topic))).toEqual([
      'allow',
      'no_rule',
      'no_rule',
    ])
    expect(publish(rights, 'c/c')).toBe('no_rule')
    expect(rights.decidedRules()).toEqual({ 'token:scope': '-', 'token:acl': '-' })
  })

  it('an empty one denies everything', () => {
    expect(publish(bound([scope()]), 'a')).toBe('no_rule')
    expect(publish(bound([acl()]), 'a')).toBe('no_rule')
  })

  it('a missing one is no layer, or denies, as set', () => {
    expect(publish(bound([]), 'a')).toBe('allow')
    const denied = bound([], { missingCeiling: 'deny' })
    expect(publish(denied, 'a')).toBe('no_rule')
    expect(denied.decidedRules()).toEqual({ token: '-' })
    expect(publish(bound([scope({ ...both, filter: 'a' })], { missingCeiling: 'deny' }), 'a')).toBe('allow')
  })

  it('an entry that is no filter gives nothing; a deny that is none closes the layer', () => {
    const open = bound([scope({ ...both, filter: 'a#' }, { ...both, filter: 'b' })])
    expect(publish(open, 'b')).toBe('allow')
    expect(publish(open, 'a#')).toBe('no_rule')
    expect(open.bindProblems).toEqual(['token:scope: entry 0 has no valid Topic Filter'])
    expect(publish(bound([scope({ ...both, filter: 'b' }, { ...deny, filter: 'a#' })]), 'b')).toBe('no_rule')
  })

  it('a deny on a shared form denies the filter behind it', () => {
    const rights = bound([acl({ ...deny, filter: '$share/g/a' }, { ...both, filter: '#' })])
    expect(subscribe(rights, '$share/g/a')).toBe('deny_rule')
    expect(subscribe(rights, 'a')).toBe('deny_rule')
    expect(subscribe(rights, 'b')).toBe(1)
  })
})

describe('ACL-15: the first match decides', () => {
  it('in the order of the list', () => {
    const rights = bound([
      acl({ ...both, filter: 'a/b' }, { ...deny, filter: 'a/#' }, { ...both, filter: '#' }),
    ])
    expect(['a/b', 'a/c', 'c'].map((topic) => publish(rights, topic))).toEqual([
      'allow',
      'deny_rule',
      'allow',
    ])
    expect(['a/b', 'a/+', 'c/#', '#'].map((filter) => subscribe(rights, filter))).toEqual([
      1,
      'deny_rule',
      1,
      'deny_rule',
    ])
    expect(['a/b', 'a/c', 'c'].map((topic) => deliver(rights, topic))).toEqual([
      'allow',
      'deny_rule',
      'allow',
    ])
    expect(publish(rights, '$SYS/x')).toBe('reserved_topic')
    expect(deliver(rights, '$SYS/x')).toBe('reserved_topic')
  })

  it('an allow before a deny keeps what it covers', () => {
    const rights = bound([acl({ ...both, filter: 'a/#' }, { ...deny, filter: 'a/b' })])
    expect(subscribe(rights, 'a/#')).toBe(1)
    expect(publish(rights, 'a/b')).toBe('allow')
  })

  it('an overlapping deny is filtered at delivery, where set so', () => {
    const rights = bound([acl({ ...deny, filter: 'a/b' }, { ...both, filter: '#' })], {
      overlappingDeny: 'filter',
    })
    expect(subscribe(rights, 'a/#')).toBe(1)
    expect(subscribe(rights, 'a/b')).toBe('deny_rule')
    expect(deliver(rights, 'a/b')).toBe('deny_rule')
  })

  it('an entry for other QoS levels or flags does not match', () => {
    const rights = bound([
      acl(
        { ...deny, filter: 'a', qos: [2] },
        { ...deny, filter: 'a', retain: true, subscribe: false },
        { ...both, filter: 'a', qos: [0, 2] },
      ),
    ])
    expect([0, 1, 2].map((qos) => publish(rights, 'a', { qos }))).toEqual([
      'allow',
      'qos_above_limit',
      'deny_rule',
    ])
    expect(publish(rights, 'a', { qos: 0, retain: true })).toBe('deny_rule')
    expect([0, 1, 2].map((qos) => subscribe(rights, 'a', qos))).toEqual([0, 0, 'deny_rule'])
    expect(deliver(rights, 'a')).toBe('allow')
  })

  it('a higher QoS is lowered only where set so', () => {
    const ceiling = acl({ ...both, filter: 'a', qos: [0] })
    expect(subscribe(bound([ceiling]), 'a', 2)).toBe(0)
    expect(subscribe(bound([ceiling], { qosAboveLimit: 'deny' }), 'a', 2)).toBe('qos_above_limit')
    expect(subscribe(bound([acl({ ...both, filter: 'a', qos: [1] })]), 'a', 0)).toBe('qos_below_limit')
    expect(subscribe(bound([acl({ ...both, filter: 'a', qos: [] })]), 'a', 2)).toBe('qos_below_limit')
  })
})

describe('ACL-15: a literal entry (`eq `)', () => {
  it('means its own text, wildcards included', () => {
    const rights = bound([acl({ ...both, filter: 't/#', literal: true }, { ...both, filter: 'u/+' })])
    expect(subscribe(rights, 't/#')).toBe(1)
    expect(subscribe(rights, 't/x')).toBe('no_rule')
    expect(subscribe(rights, 't/+')).toBe('no_rule')
    expect(publish(rights, 't/x')).toBe('no_rule')
    expect(deliver(rights, 't/x')).toBe('allow')
    expect(deliver(rights, 'v')).toBe('no_rule')
  })

  it('a literal deny stops that filter and no other', () => {
    const rights = bound([acl({ ...deny, filter: '#', literal: true }, { ...both, filter: '#' })])
    expect(subscribe(rights, '#')).toBe('deny_rule')
    expect(subscribe(rights, 'a/#')).toBe(1)
    expect(deliver(rights, 'a')).toBe('allow')
    expect(publish(rights, 'a')).toBe('allow')
  })
})
