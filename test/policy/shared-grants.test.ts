// Grants are made once for all connections that give the rules the same values, and only for those.
import { expect, it } from 'vitest'
import type { Subject } from '../../src/policy/subject.ts'
import { policyFrom } from '../support/session-rig.ts'

const policy = policyFrom(`
version: 1
attributes: [team]
agents:
  - { id: own, allow: publish, topic: 'agents/{agent_id}/{client_id}' }
  - { id: red, allow: publish, topic: red, when: { team: red } }
  - { id: mine, allow: publish, topic: 'of/{user_id}', actingFor: user }
users: [{ id: u, allow: publish, topic: '#' }]
`)
const OPTIONS = {
  userLayer: 'required',
  missingCeiling: 'none',
  qosAboveLimit: 'deny',
  overlappingDeny: 'refuse',
} as const

function subject(changes: {
  agent?: string
  user?: string
  client?: string
  team?: string
  delegated?: boolean
}): Subject {
  const { agent = 'a', user = 'u', client = 'c', team = 'red', delegated = true } = changes
  const attributes = new Map([
    ['agent_id', [agent]],
    ['user_id', [user]],
    ['client_id', [client]],
    ['team', [team]],
  ])
  const party = (id: string) => ({ iss: 'https://issuer.example', sub: id, id })
  return {
    ...{ agent: party(agent), human: party(user), delegated, tenant: undefined },
    ...{ clientId: client, attributes, ceilings: [] },
  }
}

const filters = (one: Subject): string[] =>
  policy
    .bind(one, OPTIONS)
    .layers.flatMap((layer) =>
      'grants' in layer
        ? (layer.grants as { publishAllow: { filter: { text: string } }[] }).publishAllow.map(
            (grant) => grant.filter.text,
          )
        : [],
    )

it.each([
  ['agent', { agent: 'b' }, ['agents/b/c', 'red', 'of/u', '#']],
  ['user', { user: 'v' }, ['agents/a/c', 'red', 'of/v', '#']],
  ['Client Identifier', { client: 'd' }, ['agents/a/d', 'red', 'of/u', '#']],
  ['attribute', { team: 'blue' }, ['agents/a/c', 'of/u', '#']],
  ['delegation', { delegated: false }, ['agents/a/c', 'red']],
])('ACL-02 another %s has grants of its own', (_, changes, expected) => {
  expect(filters(subject({}))).toEqual(['agents/a/c', 'red', 'of/u', '#'])
  expect(filters(subject(changes))).toEqual(expected)
  expect(filters(subject({}))).toEqual(['agents/a/c', 'red', 'of/u', '#'])
})
