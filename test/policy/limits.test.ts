// What a rule limits beyond its topic: QoS, retain, size, share groups, the Response Topic.
import { describe, expect, it } from 'vitest'
import { aclOf, publish, subscribe } from '../support/permission.ts'

const agents = (...rules: string[]) => `version: 1\nagents:\n${rules.map((rule) => `  - ${rule}\n`).join('')}`

describe('limits', () => {
  const limited = (keys: string) => aclOf(agents(`{ id: a, allow: publish+subscribe, topic: a, ${keys} }`))

  it('ACL-13: retained messages only where a rule says so', () => {
    expect(publish(limited(''), 'a', { retain: true })).toBe('retain_not_allowed')
    expect(publish(limited('retain: allowed'), 'a', { retain: true })).toBe('allow')
    expect(publish(limited('retain: allowed'), 'a')).toBe('allow')
    expect(publish(limited('retain: required'), 'a')).toBe('retain_required')
    expect(publish(limited('retain: required'), 'a', { retain: true })).toBe('allow')
  })

  it('ACL-13: QoS between the lowest and the highest', () => {
    const acl = limited('maxQos: 1, minQos: 1')
    expect(publish(acl, 'a', { qos: 0 })).toBe('qos_below_limit')
    expect(publish(acl, 'a', { qos: 1 })).toBe('allow')
    expect(publish(acl, 'a', { qos: 2 })).toBe('qos_above_limit')
    expect([0, 1, 2].map((qos) => subscribe(acl, 'a', qos))).toEqual(['qos_below_limit', 1, 1])
  })

  it('the payload size', () => {
    expect(publish(limited('maxPayload: 0'), 'a', { payload: 0 })).toBe('allow')
    expect(publish(limited('maxPayload: 0'), 'a', { payload: 1 })).toBe('payload_too_large')
  })

  it.each([[['a0', 'a2', 'a1']], [['a2', 'a1', 'a0']]])(
    'S9: a subscription gets the best QoS of the covering rules %j, and the lowest of the layers',
    (ids) => {
      const rules = ids.map((id) => `{ id: ${id}, allow: subscribe, topic: x, maxQos: ${id.slice(1)} }`)
      const text = `${agents(...rules)}users: [{ id: u1, allow: subscribe, topic: x, maxQos: 1 }]`
      expect(subscribe(aclOf(text), 'x', 2)).toBe(2)
      const acl = aclOf(text, { user: 'u' })
      expect(subscribe(acl, 'x', 2)).toBe(1)
      expect(acl.decidedRules()).toMatchObject({ user: 'u1' })
      expect(subscribe(acl, 'x', 0)).toBe(0)
    },
  )

  it('S9: below the best, rules of less QoS do not take over', () => {
    const acl = aclOf(
      agents(
        '{ id: a1, allow: subscribe, topic: x, maxQos: 1 }',
        '{ id: a0, allow: subscribe, topic: x, maxQos: 0 }',
      ),
    )
    expect(subscribe(acl, 'x', 2)).toBe(1)
    expect(acl.decidedRules()).toEqual({ agent: 'a1' })
  })

  it('a QoS lowered by one layer is judged again by the others', () => {
    const text = `${agents('{ id: a, allow: subscribe, topic: x, minQos: 2 }')}users: [{ id: u, allow: subscribe, topic: x, maxQos: 1 }]`
    const acl = aclOf(text, { user: 'u' })
    expect(subscribe(acl, 'x', 2)).toBe('qos_below_limit')
    expect(acl.grantedQos).toBe(0)
  })

  it('of several rules for a topic, the one that came furthest names the reason', () => {
    const acl = aclOf(
      agents(
        '{ id: q0, allow: publish, topic: "#", maxQos: 0 }',
        '{ id: small, allow: publish, topic: a, maxPayload: 1 }',
        '{ id: q0-too, allow: publish, topic: a, maxQos: 0 }',
      ),
    )
    expect(publish(acl, 'a', { payload: 2 })).toBe('payload_too_large')
    expect(acl.decidedRules()).toEqual({ agent: 'small' })
  })

  it('any rule that allows is enough', () => {
    const acl = aclOf(
      agents('{ id: q0, allow: publish, topic: a, maxQos: 0 }', '{ id: q2, allow: publish, topic: "+" }'),
    )
    expect(publish(acl, 'a', { qos: 2 })).toBe('allow')
    expect(acl.decidedRules()).toEqual({ agent: 'q2' })
  })
})

describe('share groups', () => {
  const acl = aclOf(
    agents(
      '{ id: plain, allow: subscribe, topic: "p/#" }',
      '{ id: g, allow: subscribe, topic: q/+, shareGroups: [g1, "{agent_id}"] }',
    ),
  )
  it.each<[filter: string, expected: number | string]>([
    ['p/x', 1],
    ['$share/g1/p/x', 'share_group_not_allowed'],
    ['$share/g1/q/x', 1],
    ['$share/scout/q/x', 1],
    ['$share/analyst/q/x', 'share_group_not_allowed'],
    ['$share/g/q/x', 'share_group_not_allowed'],
    ['$share/g1/q/#', 'no_rule'],
    ['$share/g1/$SYS/x', 'reserved_topic'],
    ['$SHARE/g1/q/x', 'reserved_topic'],
    ['q/x', 1],
  ])('ACL-06, C7: %s: %s', (filter, expected) => {
    expect(subscribe(acl, filter)).toBe(expected)
  })

  it('C7: the user must have the right to the group too', () => {
    const text = (groups: string) =>
      `${agents('{ id: a, allow: subscribe, topic: q, shareGroups: any }')}users: [{ id: u, allow: subscribe, topic: q${groups} }]`
    expect(subscribe(aclOf(text(''), { user: 'u' }), '$share/g/q')).toBe('share_group_not_allowed')
    expect(subscribe(aclOf(text(', shareGroups: [g]'), { user: 'u' }), '$share/g/q')).toBe(1)
  })

  it('C3: prefixes of other brokers are topics like any other: denied unless named', () => {
    const all = aclOf(agents('{ id: a, allow: subscribe, topic: "#", shareGroups: any }'))
    for (const word of ['$queue', '$exclusive', '$delayed/1', '$oshare/g', '$stream/n']) {
      expect(subscribe(all, `${word}/t/#`)).toBe('reserved_topic')
    }
    const named = aclOf(agents('{ id: a, allow: subscribe, topic: "$queue/t" }'))
    expect(subscribe(named, '$queue/t')).toBe(1)
  })
})

describe('the Response Topic', () => {
  const text = agents(
    '{ id: call, allow: publish, topic: call }',
    '{ id: inbox, allow: subscribe, topic: "in/{agent_id}", maxQos: 0 }',
    '{ id: shared, allow: subscribe, topic: work, shareGroups: [g] }',
    '{ id: no, deny: subscribe, topic: in/scout/no }',
  )
  it.each([
    ['in/scout', 'allow'],
    ['work', 'allow'],
    ['in/analyst', 'response_topic_not_allowed'],
    ['in/scout/no', 'response_topic_not_allowed'],
    ['call', 'response_topic_not_allowed'],
    ['$SYS/x', 'response_topic_not_allowed'],
  ])('ACL-12, I1: %s: %s', (response, expected) => {
    expect(publish(aclOf(text), 'call', { response })).toBe(expected)
  })

  it('ACL-12: must be one that the user may receive too', () => {
    const users = (topic: string) =>
      `users: [{ id: u, allow: publish, topic: call }, { id: v, allow: subscribe, topic: ${topic} }]`
    const acl = aclOf(`${text}${users('other')}`, { user: 'u' })
    expect(publish(acl, 'call', { response: 'in/scout' })).toBe('response_topic_not_allowed')
    expect(acl.decidedRules()).toEqual({ user: '-' })
    expect(publish(aclOf(`${text}${users('in/+')}`, { user: 'u' }), 'call', { response: 'in/scout' })).toBe(
      'allow',
    )
  })

  it('the verdict on the topic goes first, and an allow names the rules of the topic', () => {
    const acl = aclOf(text)
    expect(publish(acl, 'other', { response: 'in/analyst' })).toBe('no_rule')
    expect(publish(acl, 'call', { response: 'in/scout' })).toBe('allow')
    expect(acl.decidedRules()).toEqual({ agent: 'call' })
  })

  it('can be required, forbidden, or bound to a filter by the rule', () => {
    const rule = (keys: string) =>
      aclOf(
        agents(
          `{ id: call, allow: publish, topic: call, ${keys} }`,
          '{ id: in, allow: subscribe, topic: "#" }',
        ),
      )
    expect(publish(rule('responseTopic: required'), 'call')).toBe('response_topic_required')
    expect(publish(rule('responseTopic: required'), 'call', { response: 'a' })).toBe('allow')
    expect(publish(rule('responseTopic: forbidden'), 'call')).toBe('allow')
    expect(publish(rule('responseTopic: forbidden'), 'call', { response: 'a' })).toBe(
      'response_topic_not_allowed',
    )
    expect(publish(rule('responseFilter: "r/{agent_id}/+"'), 'call')).toBe('allow')
    expect(publish(rule('responseFilter: "r/{agent_id}/+"'), 'call', { response: 'r/scout/1' })).toBe('allow')
    expect(publish(rule('responseFilter: "r/{agent_id}/+"'), 'call', { response: 'r/x/1' })).toBe(
      'response_topic_not_allowed',
    )
  })
})
