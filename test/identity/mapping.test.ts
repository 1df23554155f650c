import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { IssuerConfig } from '../../src/config/config.ts'
import { mapParties } from '../../src/identity/mapping.ts'
import { bindPrincipal } from '../../src/identity/principal.ts'
import { issuerConfig, TEST_ISSUER } from '../support/tokens.ts'
import { outcome, verifierKit } from './verifier-kit.ts'

const NO_NAMES = { agentId: undefined, userId: undefined, tenant: undefined, attributes: {} }
const AGENT_ID = { claims: { ...NO_NAMES, agentId: 'agent_id' } }
const ACTOR = { iss: TEST_ISSUER, sub: 'scout' }

function map(claims: object, changes: Partial<IssuerConfig> = {}): ReturnType<typeof mapParties> {
  const all = { sub: 'alice', ...claims }
  const members = new Map<string, unknown>(Object.entries(all).filter(([, value]) => value !== undefined))
  return mapParties(members, { iss: TEST_ISSUER, sub: all.sub }, issuerConfig(changes))
}

function reasonOf(claims: object, changes: Partial<IssuerConfig> = {}): string {
  const parties = map(claims, changes)
  return parties.ok ? 'ok' : parties.reason
}

describe('mode act', () => {
  it('DEL-01 human is the subject, agent is the pair of the outermost actor', () => {
    expect(map({ act: { iss: 'https://agents.test', sub: 'scout' } })).toEqual({
      ok: true,
      human: { iss: TEST_ISSUER, sub: 'alice', id: 'alice' },
      agent: { iss: 'https://agents.test', sub: 'scout', id: 'scout' },
      delegated: true,
      actorChain: [{ iss: 'https://agents.test', sub: 'scout' }],
    })
  })

  it.each([
    ['act.iss is missing', { sub: 'scout' }],
    ['act.sub is missing', { iss: TEST_ISSUER }],
    ['act is a string', 'scout'],
    ['act is a list', [ACTOR]],
    ['act is null', null],
    ['act is empty', {}],
    ['act.sub is empty', { iss: TEST_ISSUER, sub: '' }],
    ['act.sub is a list', { iss: TEST_ISSUER, sub: ['scout'] }],
    ['act.iss has a control character', { iss: 'a\nb', sub: 'scout' }],
    ['an inner actor is no object', { ...ACTOR, act: 'x' }],
    ['an inner actor lacks iss', { ...ACTOR, act: { sub: 'x' } }],
  ])('DEL-01 refused when %s', (_, act) => {
    expect(reasonOf({ act })).toBe('actor_malformed')
  })

  it.each([
    ['DEL-02 azp', { azp: 'scout' }],
    ['DEL-02 client_id', { client_id: 'scout' }],
    ['DEL-03 nothing', {}],
    ['DEL-03 agent_id', { agent_id: 'scout' }],
    ['DEL-03 may_act', { may_act: ACTOR }],
  ])('%s does not stand in for act', (_, claims) => {
    expect(reasonOf(claims)).toBe('actor_missing')
  })

  it('DEL-05 only the outermost actor decides; the chain goes to audit', () => {
    const act = {
      ...ACTOR,
      act: { iss: 'https://b.test', sub: 'admin', act: { iss: 'https://c.test', sub: 'root' } },
    }
    expect(map({ act })).toMatchObject({
      agent: { sub: 'scout', id: 'scout' },
      actorChain: [ACTOR, { iss: 'https://b.test', sub: 'admin' }, { iss: 'https://c.test', sub: 'root' }],
    })
  })

  it.each([
    [4, 'ok'],
    [5, 'actor_chain_too_deep'],
    [20, 'actor_chain_too_deep'],
  ])('DEL-05 %i actors with limit 4: %s', (depth, expected) => {
    let act: object = { iss: 'https://x.test', sub: `a${depth}` }
    for (let i = depth - 1; i > 0; i--) act = { iss: 'https://x.test', sub: `a${i}`, act }
    expect(reasonOf({ act })).toBe(expected)
  })

  it('DEL-06 an actor that is the subject is refused; the same name of another issuer is not', () => {
    expect(reasonOf({ act: { iss: TEST_ISSUER, sub: 'alice' } })).toBe('actor_is_subject')
    expect(reasonOf({ act: { iss: 'https://agents.test', sub: 'alice' } })).toBe('ok')
  })

  it.each([
    ['both right', 'user', 'ai_agent', 'ok', 'ok'],
    ['absent', undefined, undefined, 'sub_profile', 'ok'],
    ['subject is a service', 'service', 'ai_agent', 'sub_profile', 'ok'],
    ['actor is a user', 'user', 'user', 'sub_profile', 'ok'],
    ['a list', ['user'], 'ai_agent', 'sub_profile', 'ok'],
  ])('DEL-07 sub_profile %s', (_, subject, actor, whenRequired, otherwise) => {
    const claims = { sub_profile: subject, act: { ...ACTOR, sub_profile: actor } }
    expect(reasonOf(claims, { requireSubProfile: true })).toBe(whenRequired)
    expect(reasonOf(claims)).toBe(otherwise)
  })

  it('short names come from the configured claims; the pair stays the identity', () => {
    const spiffe = { iss: 'https://spire.test', sub: 'spiffe://prod/agents/scout' }
    expect(reasonOf({ act: spiffe })).toBe('bad_identifier')
    const changes = { claims: { ...NO_NAMES, agentId: 'agent_id', userId: 'user_id' } }
    expect(map({ act: spiffe, agent_id: 'scout', user_id: 'u-1' }, changes)).toMatchObject({
      agent: { ...spiffe, id: 'scout' },
      human: { sub: 'alice', id: 'u-1' },
    })
  })

  it('a configured claim is required', () => {
    const changes = { claims: { ...NO_NAMES, agentId: 'short', userId: 'mail' } }
    const claims = { act: ACTOR, agent_id: 'other', short: 's', mail: 'm' }
    expect(map(claims, changes)).toMatchObject({ agent: { id: 's' }, human: { id: 'm' } })
    expect(reasonOf({ ...claims, short: undefined }, changes)).toBe('missing_claim')
    expect(reasonOf({ ...claims, mail: undefined }, changes)).toBe('missing_claim')
  })
})

describe('other modes', () => {
  it('DEL-02 client: client_id, else azp, is the agent, by explicit setting', () => {
    const changes = { mapping: 'client' } as const
    expect(map({ client_id: 'scout', azp: 'x' }, changes)).toMatchObject({
      agent: { iss: TEST_ISSUER, sub: 'scout', id: 'scout' },
      human: { id: 'alice' },
      delegated: true,
      actorChain: [],
    })
    expect(map({ azp: 'scout' }, changes)).toMatchObject({ agent: { id: 'scout' } })
    expect(reasonOf({}, changes)).toBe('actor_missing')
    expect(reasonOf({ client_id: 'alice' }, changes)).toBe('actor_is_subject')
    expect(reasonOf({ azp: 7 }, changes)).toBe('bad_identifier')
    expect(reasonOf({ client_id: 'scout' }, { ...changes, requireSubProfile: true })).toBe('sub_profile')
  })

  it('claims: agent_id and user_id are both required and never equal', () => {
    const changes = { mapping: 'claims' } as const
    expect(map({ agent_id: 'scout', user_id: 'bob' }, changes)).toMatchObject({
      agent: { iss: TEST_ISSUER, sub: 'scout', id: 'scout' },
      human: { iss: TEST_ISSUER, sub: 'bob', id: 'bob' },
      delegated: true,
    })
    expect(reasonOf({ agent_id: 'scout' }, changes)).toBe('missing_claim')
    expect(reasonOf({ user_id: 'bob' }, changes)).toBe('missing_claim')
    expect(reasonOf({ agent_id: 'x', user_id: 'x' }, changes)).toBe('actor_is_subject')
    expect(reasonOf({ agent_id: 's', user_id: 'b' }, { ...changes, requireSubProfile: true })).toBe(
      'sub_profile',
    )
  })

  it('DEL-04 self: the agent is the subject and its registered owner the human', () => {
    const changes = { mapping: 'self', owners: { scout: 'carol' } } as const
    expect(map({ sub: 'scout' }, changes)).toEqual({
      ok: true,
      agent: { iss: TEST_ISSUER, sub: 'scout', id: 'scout' },
      human: { iss: TEST_ISSUER, sub: 'carol', id: 'carol' },
      delegated: false,
      actorChain: [],
    })
    expect(reasonOf({ sub: 'rover' }, changes)).toBe('no_owner')
    expect(reasonOf({ sub: 'scout' }, { mapping: 'self' })).toBe('no_owner')
    expect(reasonOf({ sub: 'scout' }, { ...changes, requireSubProfile: true })).toBe('sub_profile')
  })

  it.each([['__proto__'], ['constructor'], ['toString'], ['hasOwnProperty']])('A9 %s has no owner', (sub) => {
    expect(reasonOf({ sub }, { mapping: 'self', owners: {} })).toBe('no_owner')
  })

  it.each([['client'], ['claims'], ['self']] as const)(
    'an actor is never ignored: mode %s refuses act',
    (mapping) => {
      const claims = { act: ACTOR, client_id: 'scout', agent_id: 'scout', user_id: 'bob' }
      expect(reasonOf(claims, { mapping, owners: { scout: 'carol' } })).toBe('actor_unexpected')
    },
  )
})

describe('values put into topics', () => {
  const BAD = [
    'a/b',
    '+',
    '#',
    'x\u0000',
    '',
    ['scout'],
    'a/+',
    'a/#',
    '/',
    '$SYS',
    'a+',
    'a#',
    'a\nb',
    'a\u007fb',
    7,
    null,
    {},
  ]

  it.each(BAD.map((value) => [value]))('C7 A1 %j is no agent id in any mode', (value) => {
    expect(reasonOf({ act: ACTOR, agent_id: value }, AGENT_ID)).toBe('bad_identifier')
    const client = { mapping: 'client', ...AGENT_ID } as const
    expect(reasonOf({ client_id: 'c', agent_id: value }, client)).toBe('bad_identifier')
    expect(reasonOf({ agent_id: value, user_id: 'bob' }, { mapping: 'claims' })).toBe('bad_identifier')
    const self = { mapping: 'self', owners: { alice: 'x' }, ...AGENT_ID } as const
    expect(reasonOf({ agent_id: value }, self)).toBe('bad_identifier')
  })

  it.each(BAD.map((value) => [value]))('C7 A1 %j is no user id and no tenant', async (value) => {
    const named = await verifierKit({ claims: { ...NO_NAMES, userId: 'user_id' } })
    expect(outcome(await named.verify({ user_id: value }))).toBe('bad_identifier')
    const tenants = await verifierKit({ claims: { ...NO_NAMES, tenant: 'org_id' } })
    expect(outcome(await tenants.verify({ org_id: value }))).toBe('bad_identifier')
  })

  it.each([['a/b'], ['+'], ['#'], ['$SYS'], ['/']])('C7 A1 act.sub %j is no agent id', (sub) => {
    expect(reasonOf({ act: { iss: TEST_ISSUER, sub } })).toBe('bad_identifier')
  })

  it('A9 names of Object.prototype are ordinary ids', () => {
    expect(map({ act: { iss: TEST_ISSUER, sub: '__proto__' } })).toMatchObject({ agent: { id: '__proto__' } })
  })

  it('A2 property: whatever agent_id says, an accepted id is that value and one topic level', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (value) => {
        const parties = map({ act: ACTOR, agent_id: value }, AGENT_ID)
        if (!parties.ok) return
        expect(parties.agent.id).toBe(value)
        expect(value.split('/')).toHaveLength(1)
        expect(value).not.toMatch(/[+#]|^\$|^$/)
      }),
    )
  })
})

describe('a claim that is not configured', () => {
  const others = { agent_id: 'operator', user_id: 'root', org_id: 'org_b' }
  const renamed = { agent: { id: 'operator' }, human: { id: 'root' }, tenant: 'org_b' }

  it.each([
    ['act', {}, { act: ACTOR }, { agent: { id: 'scout' }, human: { id: 'alice' } }],
    ['client', {}, { client_id: 'scout' }, { agent: { id: 'scout' }, human: { id: 'alice' } }],
    ['self', { owners: { alice: 'carol' } }, {}, { agent: { id: 'alice' }, human: { id: 'carol' } }],
  ] as const)(
    'A2 C7 renames neither agent nor human nor tenant: mode %s',
    async (mapping, more, claims, whom) => {
      const kit = await verifierKit({ mapping, ...more })
      const result = await kit.verify({ act: undefined, ...claims, ...others })
      expect(result).toMatchObject({ ok: true, principal: { ...whom, tenant: undefined } })
      expect(result.ok && result.principal.attributes.has('org_id')).toBe(false)
      const unfit = { agent_id: '#', user_id: '#', org_id: '#' }
      expect(outcome(await kit.verify({ act: undefined, ...claims, ...unfit }))).toBe('ok')
    },
  )

  it('mode claims has usual names for all three; only the tenant may be absent', async () => {
    const kit = await verifierKit({ mapping: 'claims' })
    const base = { act: undefined, ...others }
    expect(await kit.verify(base)).toMatchObject({ ok: true, principal: renamed })
    expect(outcome(await kit.verify({ ...base, org_id: undefined }))).toBe('ok')
    expect(outcome(await kit.verify({ ...base, org_id: '#' }))).toBe('bad_identifier')
  })
})

describe('tenant and attributes', () => {
  it('DEL-10 the tenant comes from the configured claim, which must be there', async () => {
    const kit = await verifierKit({ claims: { ...NO_NAMES, tenant: 'tid' } })
    const result = await kit.verify({ tid: 'acme', org_id: 'other' })
    expect(result.ok && result.principal.tenant).toBe('acme')
    expect(result.ok && result.principal.attributes.get('org_id')).toEqual(['acme'])
    expect(outcome(await kit.verify({ org_id: 'acme' }))).toBe('missing_claim')
  })

  it('attributes hold the ids and the mapped claims; client_id joins after binding', async () => {
    const kit = await verifierKit({
      claims: { ...NO_NAMES, tenant: 'org_id', attributes: { team: 'teams', role: 'r', none: 'absent' } },
    })
    const result = await kit.verify({ org_id: 'acme', teams: ['red', 'blue'], r: 'lead' })
    expect(result.ok && [...result.principal.attributes]).toEqual([
      ['team', ['red', 'blue']],
      ['role', ['lead']],
      ['agent_id', ['scout']],
      ['user_id', ['alice']],
      ['org_id', ['acme']],
    ])
    const bound = result.ok ? bindPrincipal(result.principal, 'scout.1') : undefined
    expect(bound).toMatchObject({ clientId: 'scout.1' })
    expect(bound?.attributes.get('client_id')).toEqual(['scout.1'])
    expect(result.ok && result.principal.attributes.has('client_id')).toBe(false)
  })

  it('A9 attributes and claims named like members of Object.prototype are data', async () => {
    const attributes = Object.fromEntries([
      ['__proto__', 'constructor'],
      ['toString', '__proto__'],
    ])
    const kit = await verifierKit({ claims: { ...NO_NAMES, attributes } })
    const plain = await kit.verify()
    expect(plain.ok && plain.principal.attributes.has('toString')).toBe(false)
    const result = await kit.verifier.verify(
      kit.signer.sign(JSON.stringify(kit.claims()).replace('{', '{"constructor":"x","__proto__":"y",')),
    )
    expect(result.ok && result.principal.attributes.get('__proto__')).toEqual(['x'])
    expect(result.ok && result.principal.attributes.get('toString')).toEqual(['y'])
  })

  it.each([[[1]], [['a', null]], [true], [7], [{}], [''], ['a\nb'], [['a', 'b\u0000']]])(
    'A6 attribute %j is refused',
    async (value) => {
      const kit = await verifierKit({ claims: { ...NO_NAMES, attributes: { team: 'teams' } } })
      expect(outcome(await kit.verify({ teams: value }))).toBe('bad_claim')
    },
  )
})
