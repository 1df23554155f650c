import { describe, expect, it } from 'vitest'
import { explainPublish, explainSubscribe } from '../../src/policy/explain.ts'
import { aclOf, type SubjectOptions } from '../support/permission.ts'

const text = `version: 1
attributes: [team]
tenant: { topics: ["{org_id}/#"] }
agents:
  - { id: card, allow: publish+subscribe, topic: "acme/{agent_id}/card", maxQos: 1, retain: required, maxPayload: 10 }
  - { id: inbox, allow: subscribe, topic: "acme/{agent_id}/in", shareGroups: [g] }
  - { id: team, allow: publish, topic: "acme/team/{team}", responseTopic: required }
  - { id: post, allow: publish, topic: acme/post, agents: [operator] }
  - { id: no, deny: publish, topic: acme/team/secret }
users:
  - { id: any, allow: publish+subscribe, topic: "acme/#", retain: allowed }
  - { id: bob, allow: publish, topic: acme/post, users: [bob] }
pairs:
  - { id: pairs, allow: { users: [u1, bob] } }
`
const who: SubjectOptions = { org: 'acme', user: 'u1', attributes: [['team', ['red', 'blue']]] }
const acl = aclOf(text, who)

function publishing(
  topic: string,
  rest: { qos?: number; retain?: boolean; payloadLength?: number; responseTopic?: string } = {},
) {
  return explainPublish(acl, { topic, qos: 1, retain: false, payloadLength: 0, ...rest })
}

function nearest(explanation: ReturnType<typeof publishing>, layer = 'agent') {
  return explanation.layers.find((each) => each.layer === layer)?.nearest
}

describe('an allow', () => {
  it('names the deciding rule of each layer, its filled filter and what filled it', () => {
    const explanation = publishing('acme/scout/card', { retain: true })
    expect(explanation.reason).toBe('allow')
    expect(explanation.layers.map(({ layer, rule, filter }) => [layer, rule, filter])).toEqual([
      ['tenant', 'tenant', 'acme/#'],
      ['agent', 'card', 'acme/scout/card'],
      ['user', 'any', 'acme/#'],
      ['pair', 'pairs', undefined],
    ])
    expect(explanation.layers.map(({ bound }) => [...bound])).toEqual([
      [['org_id', 'acme']],
      [['agent_id', 'scout']],
      [],
      [],
    ])
    expect(explanation.layers.every((layer) => layer.nearest === undefined)).toBe(true)
  })

  it('shows the one value of an array claim that matched', () => {
    const explanation = publishing('acme/team/blue', { responseTopic: 'acme/scout/in' })
    expect([...explanation.layers[1]!.bound]).toEqual([['team', 'blue']])
  })

  it('tells the granted QoS', () => {
    expect(explainSubscribe(acl, { filter: 'acme/scout/card', qos: 2 }).grantedQos).toBe(1)
  })
})

describe('a denial', () => {
  it.each([
    ['acme/scout/card', {}, 'card', ['allows retained messages only']],
    ['acme/scout/card', { retain: true, qos: 2 }, 'card', ['allows QoS 0 or 1 only']],
    ['acme/scout/card', { retain: true, payloadLength: 11 }, 'card', ['allows at most 10 bytes of payload']],
    ['acme/analyst/card', { retain: true }, 'card', ['has `scout` ({agent_id}) at level 2, not `analyst`']],
    ['acme/team/red', {}, 'team', ['requires a Response Topic']],
    ['acme/team/red', { retain: true }, 'team', ['allows no retained message']],
    ['acme/post', {}, 'post', ['is only for the agents operator']],
    ['acme/scout/in', {}, 'inbox', ['allows subscribing only']],
    ['acme/scout', { retain: true }, 'card', ['has `card` at level 3']],
  ])('PUBLISH %s %j: nearest is %s', (topic, rest, rule, differs) => {
    expect(nearest(publishing(topic, rest))).toMatchObject({ rule, differs })
  })

  it('the same topic with another limit is nearer than another topic', () => {
    const explanation = publishing('acme/post', { qos: 2, retain: true })
    expect(nearest(explanation)).toMatchObject({
      rule: 'post',
      differs: ['is only for the agents operator', 'allows no retained message'],
    })
  })

  it('a rule that is bound to another bearer is nearer than one for another action', () => {
    const cards = aclOf(`version: 1
agents:
  - { id: cards, allow: subscribe, topic: agents/+/card }
  - { id: own-card, allow: publish+subscribe, topic: "agents/{agent_id}/card" }
  - { id: own-status, allow: publish, topic: "agents/{agent_id}/status" }
`)
    const asked = { topic: 'agents/analyst/card', qos: 1, retain: false, payloadLength: 0 }
    expect(nearest(explainPublish(cards, asked))).toEqual({
      rule: 'own-card',
      filter: 'agents/scout/card',
      differs: ['has `scout` ({agent_id}) at level 2, not `analyst`'],
    })
    const other = { ...asked, topic: 'agents/analyst/inbox/card' }
    expect(nearest(explainPublish(cards, other))?.rule).not.toBe('cards')
  })

  it('names the deny that beats the rule', () => {
    const explanation = publishing('acme/team/secret', { responseTopic: 'acme/scout/in' })
    expect(explanation.reason).toBe('deny_rule')
    expect(explanation.layers[1]).toMatchObject({ rule: 'no', filter: 'acme/team/secret' })
    expect(nearest(explanation)?.differs).toContain('is beaten by the deny no')
  })

  it('says which layers allowed', () => {
    const explanation = publishing('other/x')
    expect(explanation.layers.map(({ layer, verdict }) => [layer, verdict === 0])).toEqual([
      ['tenant', false],
      ['agent', false],
      ['user', false],
      ['pair', true],
    ])
    expect(nearest(explanation, 'tenant')).toEqual({
      rule: 'tenant',
      filter: 'acme/#',
      differs: ['has `acme` ({org_id}) at level 1, not `other`'],
    })
  })

  it('tells of a rule whose placeholder has no value', () => {
    const poor = aclOf(text, { org: 'acme' })
    const explanation = explainPublish(poor, {
      topic: 'acme/team/red',
      qos: 1,
      retain: false,
      payloadLength: 0,
    })
    expect(explanation.layers[1]!.nearest).toEqual({
      rule: 'team',
      filter: 'acme/team/{team}',
      differs: ['needs a usable value for team', 'has `{team}` at level 3, not `red`'],
    })
  })

  it('tells of the Response Topic when that is what was denied', () => {
    const explanation = publishing('acme/team/red', { responseTopic: 'acme/analyst/in' })
    expect(explanation.reason).toBe('response_topic_not_allowed')
    expect(explanation.about).toBe('response topic')
    expect(nearest(explanation)).toMatchObject({
      rule: 'inbox',
      differs: ['has `scout` ({agent_id}) at level 2, not `analyst`'],
    })
  })

  it.each([
    ['acme/#', 'card', ['has `scout` ({agent_id}) at level 2, not `#`', 'has `card` at level 3']],
    ['$share/h/acme/scout/in', 'inbox', ['allows only the share groups g']],
    ['$share/g/acme/scout/card', 'card', ['allows no shared subscription']],
  ])('SUBSCRIBE %s: nearest is %s', (filter, rule, differs) => {
    const found = nearest(explainSubscribe(acl, { filter, qos: 1 }))
    expect(found?.rule).toBe(rule)
    expect(found?.differs.join(', ')).toBe(differs.join(', '))
  })

  it('tells of a rule for shared subscriptions alone', () => {
    const shared = aclOf('[{"topic": "$share/g/work", "action": "sub"}]')
    const found = nearest(explainSubscribe(shared, { filter: 'work', qos: 1 }))
    expect(found).toMatchObject({ rule: 'rule-1', differs: ['allows only a shared subscription'] })
  })

  it('tells of the pair', () => {
    const other = aclOf(text, { org: 'acme', user: 'carol' })
    const explanation = explainSubscribe(other, { filter: 'acme/scout/in', qos: 0 })
    expect(nearest(explanation, 'pair')).toEqual({
      rule: 'pairs',
      filter: '',
      differs: ['is for the users u1, bob with any agent'],
    })
  })

  it.each(['scope', 'acl'] as const)('tells of the ceiling %s', (format) => {
    const allow = { effect: 'allow', publish: true, subscribe: false, filter: 'acme/x' } as const
    const limited = aclOf(text, {
      ...who,
      ceilings: [{ format, firstMatch: format === 'acl', rules: [allow] }],
    })
    const explanation = explainSubscribe(limited, { filter: 'acme/x', qos: 0 })
    expect(nearest(explanation, `token:${format}`)).toEqual({
      rule: `${format}[0]`,
      filter: 'acme/x',
      differs: ['allows publishing only'],
    })
  })
})

describe('what is refused before any rule', () => {
  it.each(['', 'a/+', '#'])('PUBLISH %j', (topic) => {
    const explanation = publishing(topic)
    expect(explanation.malformed).toContain('a Topic Name')
    expect(explanation.reason).toBe('no_rule')
  })

  it('a Response Topic with a wildcard', () => {
    expect(publishing('acme/team/red', { responseTopic: 'acme/+' }).malformed).toContain('a Topic Name')
  })

  it.each(['', 'a#', '$share/g', '$share//a', '$share/+/a', '$share/g/'])('SUBSCRIBE %j', (filter) => {
    const explanation = explainSubscribe(acl, { filter, qos: 0 })
    expect(explanation.malformed).toContain('not a Topic Filter')
    expect(explanation.reason).toBe('no_rule')
  })
})
