// What `shadow report` proposes, beyond the first round: what would deny once the first reason is mended.
import { expect, test } from 'vitest'
import { proposeFixes } from '../../src/audit/shadow-fix.ts'
import type { ShadowedDenial } from '../../src/audit/shadow-report.ts'

const denial = (changes: Partial<ShadowedDenial>): ShadowedDenial => ({
  agent: 'scout',
  user: 'u1',
  tenant: undefined,
  action: 'publish',
  place: 'tools/post/call',
  reason: 'no_rule',
  rules: [['agent', '-']],
  responseTopic: undefined,
  count: 1,
  maxQos: 1,
  retain: false,
  maxPayload: 10,
  first: '2026-11-22T12:00:00.000Z',
  last: '2026-11-22T12:00:00.000Z',
  ...changes,
})

const texts = (changes: Partial<ShadowedDenial>): string[] =>
  proposeFixes([denial(changes)]).map((fix) => ('text' in fix ? fix.text : fix.under))

const RESPONSE =
  'agent "scout" must be allowed to subscribe to its Response Topic "tasks/scout/inbox" too, if it is not yet'

test.each<[string, Partial<ShadowedDenial>, string[]]>([
  [
    'no rule, in both layers',
    {
      rules: [
        ['agent', '-'],
        ['user', '-'],
      ],
    },
    ['agents', 'users'],
  ],
  [
    'no rule for a request with a Response Topic',
    { responseTopic: 'tasks/scout/inbox' },
    ['agents', RESPONSE],
  ],
  [
    'a limit, of a request with a Response Topic',
    { reason: 'qos_above_limit', rules: [['agent', 'post']], responseTopic: 'tasks/scout/inbox' },
    ['rule post: write maxQos: 1', RESPONSE],
  ],
  [
    'a Response Topic: no rule for the topic mends it',
    { reason: 'response_topic_not_allowed', responseTopic: 'tasks/scout/inbox' },
    ['agent "scout" must be allowed to subscribe to its Response Topic "tasks/scout/inbox"'],
  ],
  [
    'a limit of one layer, and a rule of another behind it',
    {
      reason: 'qos_above_limit',
      rules: [
        ['agent', 'post'],
        ['user', 'may-post'],
      ],
    },
    [
      'rule post: write maxQos: 1',
      'rule may-post (user) denies too: ask `postern explain`, or look again after the other changes',
    ],
  ],
  [
    'a grant that is missing',
    { reason: 'grant_required', rules: [['agent', 'post']] },
    ['rule post: it asks for a just-in-time grant, have one given or remove requiresGrant'],
  ],
])('%s', (_, changes, proposed) => {
  expect(texts(changes)).toEqual(proposed)
})
