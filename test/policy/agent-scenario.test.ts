// agent-specs.md 6.9 at the PDP: the fixture is the example policy that users copy.
import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { lintPolicy } from '../../src/policy/lint.ts'
import {
  aclOf,
  deliver,
  type PublishOptions,
  policyOf,
  publish,
  type SubjectOptions,
  subscribe,
} from '../support/permission.ts'

const policy = policyOf(
  readFileSync(new URL('../../deploy/examples/policy-tools.yaml', import.meta.url), 'utf8'),
)
const tools = ['query_watch_configs', 'create_social_post']
const server: SubjectOptions = { agent: 'gtm', attributes: [['tool', tools]] }
const own = 'a2a/v1/mcp/clients/scout/responses'
const call = 'a2a/v1/mcp/tools/query_watch_configs/call'

type Expected = [row: string, topic: string, options: PublishOptions, expected: string]

describe.each([
  ['itself', undefined],
  ['user u1', 'u1'],
])('scout, acting for %s, publishes', (_, user) => {
  const acl = aclOf(policy, { agent: 'scout', user })
  it.each<Expected>([
    ['P1', 'a2a/v1/agents/scout/card', { retain: true }, 'allow'],
    ['C8', 'a2a/v1/agents/scout/status', { retain: true }, 'allow'],
    ['P2', 'a2a/v1/agents/analyst/card', { retain: true }, 'no_rule'],
    ['C9', 'a2a/v1/agents/analyst/status', { retain: true }, 'no_rule'],
    ['P3', 'a2a/v1/agents/scout/card', {}, 'retain_required'],
    ['P3', 'a2a/v1/agents/scout/card', { retain: true, qos: 0 }, 'qos_below_limit'],
    ['P4', 'a2a/v1/agents/analyst/card', { retain: true, payload: 0 }, 'no_rule'],
    ['P5', 'a2a/v1/tasks/analyst/inbox', {}, 'allow'],
    ['P6', 'a2a/v1/tasks/operator/inbox', {}, 'no_rule'],
    ['P7, C10', 'a2a/v1/tasks/analyst/inbox', { retain: true }, 'retain_not_allowed'],
    ['P8', 'a2a/v1/tasks/analyst/results', {}, 'no_rule'],
    ['P9', 'a2a/v1/tasks/T1/result', {}, 'no_rule'],
    ['P10', call, { response: own }, 'allow'],
    ['P11', 'a2a/v1/mcp/tools/create_social_post/call', { response: own }, 'no_rule'],
    ['P12', call, { response: 'a2a/v1/mcp/clients/operator/responses' }, 'response_topic_not_allowed'],
    ['P13', call, { response: 'a2a/v1/agents/gtm/card' }, 'response_topic_not_allowed'],
    ['P15', call, {}, 'response_topic_required'],
    ['P21', 'a2a/v1/agents/scout/card/../../analyst/card', { retain: true }, 'no_rule'],
    ['P21', 'a2a/v1//agents/scout/card', { retain: true }, 'no_rule'],
    ['P21', 'A2A/v1/agents/scout/card', { retain: true }, 'no_rule'],
    ['P22, C5', '$CONTROL/dynamic-security/v1', {}, 'reserved_topic'],
    ['P22, C4', '$SYS/x', {}, 'reserved_topic'],
    ['P22, C4', '$share/g/a2a/v1/agents/scout/card', { retain: true }, 'reserved_topic'],
    ['P22, C3', '$delayed/1/a2a/v1/agents/analyst/card', {}, 'reserved_topic'],
    ['P29', 'a2a/v1/mcp/tools/foreign_tool/card', { retain: true }, 'no_rule'],
  ])('%s: %s %j: %s', (_row, topic, options, expected) => {
    expect(publish(acl, topic, options)).toBe(expected)
  })
})

describe('scout, acting for user u1, subscribes', () => {
  const acl = aclOf(policy, { agent: 'scout', user: 'u1', attributes: [['call_id', ['c1', 'c2']]] })
  it.each<[row: string, filter: string, expected: number | string]>([
    ['S1', 'a2a/v1/agents/+/card', 1],
    ['S2', '#', 'no_rule'],
    ['S2', '+/#', 'no_rule'],
    ['S2', 'a2a/v1/#', 'no_rule'],
    ['S2', 'a2a/v1/tasks/+/inbox', 'no_rule'],
    ['S2', 'a2a/v1/tasks/+/result', 'no_rule'],
    ['S3', 'a2a/v1/tasks/scout/inbox', 1],
    ['S3', 'a2a/v1/tasks/analyst/inbox', 'no_rule'],
    ['S4', 'a2a/v1/mcp/clients/scout/responses', 1],
    ['S4', 'a2a/v1/mcp/clients/operator/responses', 'no_rule'],
    ['S5', 'a2a/v1/mcp/tools/crawl/stream/+', 'no_rule'],
    ['S5', 'a2a/v1/mcp/tools/crawl/stream/c1', 1],
    ['S5', 'a2a/v1/mcp/tools/crawl/stream/c2', 1],
    ['S5', 'a2a/v1/mcp/tools/crawl/stream/c3', 'no_rule'],
    ['S6, C7', '$share/g/a2a/v1/tasks/analyst/inbox', 'no_rule'],
    ['S6, C7', '$share/g/a2a/v1/tasks/scout/inbox', 'share_group_not_allowed'],
    ['S7', `$share/mcp-tool-query_watch_configs/${call}`, 'no_rule'],
    ['S12', 'a2a/v1/agents/scout/#', 'no_rule'],
  ])('%s: %s: %s', (_row, filter, expected) => {
    expect(subscribe(acl, filter)).toBe(expected)
  })

  it('S9: a higher QoS is lowered to the rule, or denied, as set', () => {
    expect(subscribe(acl, 'a2a/v1/agents/+/card', 2)).toBe(1)
    const strict = aclOf(policy, { agent: 'scout', user: 'u1' }, { qosAboveLimit: 'deny' })
    expect(subscribe(strict, 'a2a/v1/agents/+/card', 2)).toBe('qos_above_limit')
    expect(subscribe(strict, 'a2a/v1/agents/+/card', 1)).toBe(1)
  })

  it('S10: a delivery outside the rights is denied', () => {
    expect(deliver(acl, 'a2a/v1/tasks/scout/inbox')).toBe('allow')
    expect(deliver(acl, 'a2a/v1/tasks/analyst/inbox')).toBe('no_rule')
  })
})

describe('the tool server', () => {
  const acl = aclOf(policy, server)
  it.each<[row: string, filter: string, expected: number | string]>([
    ['S7', `$share/mcp-tool-query_watch_configs/${call}`, 1],
    ['S8', `$share/evil/${call}`, 'share_group_not_allowed'],
    ['S8', `$share/mcp-tool-create_social_post/${call}`, 'share_group_not_allowed'],
    ['S8', '$share/mcp-tool-foreign/a2a/v1/mcp/tools/foreign/call', 'no_rule'],
  ])('%s: %s: %s', (_row, filter, expected) => {
    expect(subscribe(acl, filter)).toBe(expected)
  })

  it('S7: receives what its shared subscription brings', () => {
    expect(deliver(acl, call)).toBe('allow')
  })

  it('P27: answers the caller', () => {
    expect(publish(acl, own)).toBe('allow')
  })

  it('P29: publishes cards of its own tools only', () => {
    expect(publish(acl, 'a2a/v1/mcp/tools/query_watch_configs/card', { retain: true })).toBe('allow')
    expect(publish(acl, 'a2a/v1/mcp/tools/foreign_tool/card', { retain: true })).toBe('no_rule')
  })
})

describe('on behalf of', () => {
  const post = 'a2a/v1/mcp/tools/create_social_post/call'
  const asOperator = { response: 'a2a/v1/mcp/clients/operator/responses' }

  it('O1: agent and user allowed: allowed, both rules named', () => {
    const acl = aclOf(policy, { agent: 'operator', user: 'u2' })
    expect(publish(acl, post, asOperator)).toBe('allow')
    expect(acl.decidedRules()).toEqual({ agent: 'call-create-social-post', user: 'may-post' })
  })

  it('O2: the agent may post, the user may not: denied by the user layer', () => {
    const acl = aclOf(policy, { agent: 'operator', user: 'u1' })
    expect(publish(acl, post, asOperator)).toBe('no_rule')
    expect(acl.decidedRules()).toEqual({ user: '-' })
  })

  it('O3: the user may, the agent may not: denied by the agent layer', () => {
    const acl = aclOf(policy, { agent: 'scout', user: 'u2' })
    expect(publish(acl, post, { response: own })).toBe('no_rule')
    expect(acl.decidedRules()).toEqual({ agent: '-' })
  })
})

describe('the examples', () => {
  it('give no cause for advice', () => {
    expect(lintPolicy(policy, { userLayer: 'required', mapped: new Set(['tool', 'call_id']) })).toEqual([])
  })
})
