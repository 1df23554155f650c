// Rules that ask for a just-in-time grant. Ids: identity-standards.md 13.6 (JIT).
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { explainPublish, explainSubscribe } from '../../src/policy/explain.ts'
import { lintPolicy } from '../../src/policy/lint.ts'
import { PublishRequest } from '../../src/policy/request.ts'
import { compileFilter, type TopicFilter } from '../../src/policy/topic-filter.ts'
import { VERDICT_NAMES } from '../../src/policy/verdict.ts'
import { aclOf, deliver, policyOf, problemsOf, publish, subscribe } from '../support/permission.ts'

const PAY = `
version: 1
agents:
  - { id: pay, allow: publish+subscribe, topic: pay/+, requiresGrant: true, maxQos: 1 }
  - { id: free, allow: publish+subscribe, topic: pay/small }
users:
  - { id: own, allow: publish+subscribe, topic: "pay/{user_id}" }
  - { id: small, allow: publish+subscribe, topic: pay/small }
  - { id: gate, allow: publish, topic: gate, requiresGrant: true }
`
const alice = { user: 'alice' }

const granted = (topic: string, acl = aclOf(PAY, alice), qos = 1): string => {
  const request = new PublishRequest()
  request.topic = Buffer.from(topic)
  request.topicEnd = request.topic.length
  request.qos = qos
  request.granted = true
  return VERDICT_NAMES[acl.decidePublish(request)]
}

describe('a PUBLISH', () => {
  it('JIT-01 without a grant it is denied with a reason of its own', () => {
    expect(publish(aclOf(PAY, alice), 'pay/alice')).toBe('grant_required')
  })

  it('JIT-01 with one it is allowed', () => {
    expect(granted('pay/alice')).toBe('allow')
  })

  it('JIT-04 a grant does not help beyond the user’s own permission, nor beyond a limit', () => {
    expect(granted('pay/bob')).toBe('no_rule')
    expect(granted('pay/alice', aclOf(PAY, alice), 2)).toBe('qos_above_limit')
    expect(granted('gate')).toBe('no_rule')
  })

  it('another rule that asks for none allows it without', () => {
    expect(publish(aclOf(PAY, alice), 'pay/small')).toBe('allow')
  })

  it('JIT-04 property: what a grant allows, the same policy without `requiresGrant` allows; never more', () => {
    const rule = fc.record({
      effect: fc.constantFrom('allow', 'allow', 'deny'),
      topic: fc.constantFrom('a', 'a/+', 'a/b', '#', 'b/#'),
      requiresGrant: fc.boolean(),
      maxQos: fc.constantFrom(1, 2),
    })
    const layer = fc.array(rule, { maxLength: 3 })
    const text = (
      rules: ReturnType<typeof layer.generate>['value'][number][],
      name: string,
      strip: boolean,
    ) =>
      rules.map(({ effect, topic, requiresGrant, maxQos }, i) => ({
        id: `${name}${i}`,
        [effect]: 'publish',
        topic,
        ...(effect === 'allow' ? { maxQos, ...(strip ? {} : { requiresGrant }) } : {}),
      }))
    fc.assert(
      fc.property(layer, layer, fc.constantFrom('a', 'a/b', 'b', 'b/c'), (agents, users, topic) => {
        const policy = (strip: boolean) =>
          JSON.stringify({ version: 1, agents: text(agents, 'a', strip), users: text(users, 'u', strip) })
        const plain = publish(aclOf(policy(true), alice), topic)
        const acl = aclOf(policy(false), alice)
        expect(granted(topic, acl) === 'allow').toBe(plain === 'allow')
        const without = publish(acl, topic)
        if (without === 'allow') expect(plain).toBe('allow')
        if (plain === 'allow') expect(['allow', 'grant_required']).toContain(without)
      }),
    )
  })
})

describe('a subscription', () => {
  it('JIT-01 needs the grant as well, at any QoS', () => {
    const acl = aclOf(PAY, alice)
    expect(subscribe(acl, 'pay/alice')).toBe('grant_required')
    const filter = Buffer.from('pay/alice')
    expect(acl.decideSubscribe(filter, 0, filter.length, 2, true)).toBe(0)
    expect(acl.grantedQos).toBe(1)
    expect(subscribe(acl, 'pay/alice')).toBe('grant_required')
  })

  it('JIT-08 a message passes while a subscription that a grant opened would bring it', () => {
    const acl = aclOf(PAY, alice)
    expect(deliver(acl, 'pay/alice')).toBe('grant_required')
    acl.openFilters = [compileFilter('pay/alice') as TopicFilter]
    expect(deliver(acl, 'pay/alice')).toBe('allow')
    expect(deliver(acl, 'pay/bob')).toBe('grant_required')
    acl.openFilters = []
    expect(deliver(acl, 'pay/alice')).toBe('grant_required')
    expect(deliver(acl, 'pay/small')).toBe('allow')
  })
})

describe('the document', () => {
  it('a deny has no such limit, and the value is true or false', () => {
    const rule = (rest: string) => problemsOf(`version: 1\nagents: [{ id: a, topic: t, ${rest} }]`)
    expect(rule('deny: publish, requiresGrant: true').join()).toContain('a deny has no limits')
    expect(rule('allow: publish, requiresGrant: "yes"').join()).toContain('must be `true` or `false`')
  })

  it('a rule that asks for a grant does not make one that asks for none useless', () => {
    const pair = (first: boolean) =>
      policyOf(
        `version: 1\nagents: [{ id: a, allow: publish, topic: t${first ? ', requiresGrant: true' : ''} }, { id: b, allow: publish, topic: t${first ? '' : ', requiresGrant: true'} }]`,
      )
    const about = (first: boolean) => lintPolicy(pair(first)).map(({ rule }) => rule)
    expect(about(true)).toEqual(['a'])
    expect(about(false)).toEqual(['b'])
  })

  it('`check` tells of rules that nobody’s grant can satisfy', () => {
    const words = (grants: boolean) =>
      lintPolicy(policyOf(PAY), { grants })
        .map(({ message }) => message)
        .join()
    expect(words(false)).toContain('Rule pay never allows anything: it requires a grant')
    expect(words(true)).not.toContain('requires a grant')
  })
})

describe('explain', () => {
  it('JIT-01 names the rule that a grant would satisfy, and answers as if there were one', () => {
    const acl = aclOf(PAY, alice)
    const question = { topic: 'pay/alice', qos: 1, retain: false, payloadLength: 0 }
    const explanation = explainPublish(acl, question)
    expect(explanation.reason).toBe('grant_required')
    expect(explanation.layers[0]).toMatchObject({
      rule: 'pay',
      nearest: { differs: ['requires a just-in-time grant'] },
    })
    expect(explainPublish(acl, { ...question, granted: true }).reason).toBe('allow')
    const asked = { filter: 'pay/alice', qos: 1 }
    expect(explainSubscribe(acl, asked).layers[0]!.nearest!.differs).toEqual([
      'requires a just-in-time grant',
    ])
    expect(explainSubscribe(acl, { ...asked, granted: true }).reason).toBe('allow')
  })
})
