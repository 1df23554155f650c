// Who acts for whom, through the whole path: delegation, tenants, the intersection of rights, and the keys behind it.
// Ids: agent-specs.md 6.9 (O), identity-standards.md 13 (DEL, KEY, ACL-15), peers.md 2 (`peers.`).
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { connect, prop, publish, subscribe } from '../support/frames.ts'
import type { TestPostern } from '../support/postern.ts'
import { type Identity, openStage, type Stage } from '../support/stage.ts'
import { TEST_ISSUER, TestIssuer } from '../support/tokens.ts'
import { TravelClock } from '../support/travel-clock.ts'

let stage: Stage

beforeAll(async () => {
  stage = await openStage()
})
beforeEach(() => stage.observer.seen())
afterAll(() => stage?.stop())

const ns = 'a2a/v1'
const act = { iss: TEST_ISSUER, sub: 'scout' }
const RAW = { agent_id: undefined }

async function connackFor(
  token: string,
  postern = stage.postern,
  clientId = 'scout',
): Promise<number | undefined> {
  const client = await stage.socket(postern)
  client.send(connect({ clientId, password: token }))
  return (await client.next('connack')).reasonCode
}

async function refused(who: Identity, postern = stage.postern): Promise<string | undefined> {
  const code = await connackFor(await stage.token('scout', who, postern), postern)
  const record = (await postern.records()).findLast((one) => one.action === 'connect')
  return `0x${code?.toString(16)} ${record?.reason}`
}

describe('a delegated token', () => {
  test.each([
    ['DEL-01 without `act.iss`', { act: { sub: 'scout' } }, 'actor_malformed'],
    ['DEL-01 without `act.sub`', { act: { iss: TEST_ISSUER } }, 'actor_malformed'],
    ['DEL-01 with `act` as text', { act: 'scout' }, 'actor_malformed'],
    ['DEL-02 with the agent only in `azp`', { act: undefined, azp: 'scout' }, 'actor_missing'],
    [
      'DEL-03 without `act`: it is never taken as self-acting',
      { act: undefined, sub: 'scout' },
      'actor_missing',
    ],
    [
      'DEL-05 with a chain of five',
      { act: { ...act, act: { ...act, act: { ...act, act: { ...act, act } } } } },
      'actor_chain_too_deep',
    ],
    ['DEL-06 with an actor that is the subject', { sub: 'scout', act }, 'actor_is_subject'],
  ])('%s is refused', async (_, claims, reason) => {
    expect(await refused({ claims })).toBe(`0x87 ${reason}`)
  })

  test('DEL-01 human and agent are the two pairs of issuer and subject, and the audit record says so', async () => {
    await stage.agent('scout', { user: 'u2' })
    expect((await stage.postern.records()).at(-1)?.identity).toMatchObject({
      human: { iss: TEST_ISSUER, sub: 'u2', via: 'delegation' },
      agent: { iss: TEST_ISSUER, sub: 'scout' },
    })
  })

  test('DEL-05 inner actors decide nothing; the record has them all', async () => {
    const operator = { iss: TEST_ISSUER, sub: 'operator' }
    const scout = await stage.agent('scout', { user: 'u2', claims: { act: { ...act, act: operator } } })
    const properties = [prop.responseTopic(`${ns}/mcp/clients/scout/responses`)]
    scout.send(publish({ topic: `${ns}/mcp/tools/create_social_post/call`, qos: 1, properties }))
    expect(await scout.next('puback')).toMatchObject({ reasonCode: 0x87 })
    expect((await stage.postern.records()).at(-1)?.identity?.actors).toEqual([act, operator])
  })

  test('DEL-07 by option the profiles of both must be right', async () => {
    const postern = await stage.anotherPostern({ issuer: { requireSubProfile: true } })
    expect(
      await refused(
        { claims: { sub_profile: 'ai_agent', act: { ...act, sub_profile: 'ai_agent' } } },
        postern,
      ),
    ).toBe('0x87 sub_profile')
    expect(await refused({ claims: { sub_profile: 'user', act } }, postern)).toBe('0x87 sub_profile')
    await stage.agent(
      'scout',
      { claims: { sub_profile: 'user', act: { ...act, sub_profile: 'ai_agent' } } },
      postern,
    )
  })

  test('DEL-11 as ID-JAG, before anybody exchanged it, is refused by its type', async () => {
    const token = await stage.postern.issuer.mint({ sub: 'u1', act }, { header: { typ: 'oauth-id-jag+jwt' } })
    expect(await connackFor(token)).toBe(0x86)
    expect((await stage.postern.records()).at(-1)).toMatchObject({
      reason: 'wrong_token_type',
      detail: 'id_jag',
    })
  })

  test('DEL-12 as the access token that an ID-JAG was exchanged for, is accepted', async () => {
    const claims = {
      sub: 'u1',
      act,
      client_id: 'https://agents.example/client',
      org_id: 'org_a',
      jti: 'minted-1',
    }
    const token = await stage.postern.issuer.mint({ ...claims, ...RAW })
    expect(await connackFor(token)).toBe(0)
    expect((await stage.postern.records()).at(-1)?.identity?.token).toMatchObject({ jti: 'minted-1' })
  })
})

describe('DEL-04 an agent that acts for itself', () => {
  const self = { mapping: 'self', owners: { scout: 'u2' } }

  test('needs a human who answers for it, whom the record names', async () => {
    const postern = await stage.anotherPostern({ issuer: self })
    expect(await refused({ claims: { sub: 'analyst', act: undefined, ...RAW } }, postern)).toBe(
      '0x87 no_owner',
    )
    await stage.agent('scout', { claims: { sub: 'scout', act: undefined } }, postern)
    expect((await postern.records()).at(-1)?.identity?.human).toMatchObject({ id: 'u2', via: 'owner' })
  })

  test('DEL-02 is never one of an issuer that delegates, nor the other way round', async () => {
    const postern = await stage.anotherPostern({ issuer: self })
    expect(await refused({ claims: { sub: 'scout', act } }, postern)).toBe('0x87 actor_unexpected')
  })
})

describe('the intersection of rights', () => {
  const post = `${ns}/mcp/tools/create_social_post/call`
  const query = `${ns}/mcp/tools/query_watch_configs/call`

  /** PUBACK code of a call, and the record of it. */
  async function call(agent: string, user: string, topic: string, claims = {}) {
    const client = await stage.agent(agent, { user, claims })
    const properties = [prop.responseTopic(`${ns}/mcp/clients/${agent}/responses`)]
    client.send(publish({ topic, qos: 1, properties }))
    const denied = (await client.next('puback')).reasonCode === 0x87
    return { denied, record: (await stage.postern.records()).at(-1)! }
  }

  test('O1, DEL-09 agent and user may: allowed, and the record names both, and a rule of each', async () => {
    const { denied, record } = await call('operator', 'u2', post)
    expect(denied).toBe(false)
    expect(record).toMatchObject({
      identity: { agent: { id: 'operator' }, human: { id: 'u2' } },
      rules: { agent: 'call-create-social-post', user: 'may-post' },
    })
  })

  test('O2, DEL-09 the agent may, the user may not: denied, by the user’s layer', async () => {
    const { denied, record } = await call('operator', 'u1', post)
    expect(denied).toBe(true)
    expect(record.rules).toEqual({ user: '-' })
  })

  test('O3, DEL-09 the user may, the agent may not: denied, by the agent’s layer', async () => {
    const { denied, record } = await call('scout', 'u2', post)
    expect(denied).toBe(true)
    expect(record.rules).toEqual({ agent: '-' })
  })

  test.each([
    ['EMQX `acl`, as a list', { acl: [{ permission: 'allow', action: 'publish', topic: query }] }],
    ['EMQX `acl`, in its old form', { acl: { pub: [query], sub: [], all: [] } }],
    ['AIF scope', { scope: Buffer.from(JSON.stringify([[query, ['pub']]])).toString('base64url') }],
    [
      'authorization_details',
      { authorization_details: [{ type: 'mqtt_topic', actions: ['pub'], locations: [query] }] },
    ],
    [
      'two formats, of which one allows less',
      {
        acl: [
          { permission: 'allow', action: 'publish', topic: '#' },
          { permission: 'allow', action: 'publish', topic: query },
        ],
        scope: Buffer.from('[]').toString('base64url'),
      },
    ],
  ])('ACL-15, DEL-09 a ceiling in the token narrows what both may: %s', async (_, claims) => {
    const { record } = await call('operator', 'u2', post, claims)
    expect(record.decision).toBe('deny')
    expect(Object.keys(record.rules!).every((layer) => layer.startsWith('token:'))).toBe(true)
  })

  test('ACL-15 a ceiling gives nothing that agent or user may not', async () => {
    const { denied } = await call('scout', 'u1', post, {
      acl: [{ permission: 'allow', action: 'all', topic: '#' }],
    })
    expect(denied).toBe(true)
  })
})

describe('DEL-10, peers.A2, O4 tenants', () => {
  const POLICY = `
version: 1
tenant: { topics: ["org/{org_id}/#"] }
agents: [{ id: all, allow: publish+subscribe, topic: "#", shareGroups: any }]
users: [{ id: all-users, allow: publish+subscribe, topic: "#", shareGroups: any }]
`
  let postern: TestPostern
  beforeAll(async () => {
    postern = await stage.anotherPostern({ policy: POLICY })
  })

  test.each([
    ['org/org_b/x'],
    ['org/org_b/#'],
    ['org/+/x'],
    ['org/#'],
    ['#'],
    ['+/org_b/x'],
    ['$share/g/org/org_b/x'],
    ['$share/g/#'],
    ['org'],
    ['org/org_a2/x'],
    ['ORG/org_a/x'],
  ])('an agent of org_a cannot subscribe to %s', async (filter) => {
    const client = await stage.agent('scout', {}, postern)
    client.send(subscribe({ filters: [[filter, 1]] }))
    expect(await client.next('suback')).toMatchObject({ granted: [0x87] })
    expect((await postern.records()).at(-1)).toMatchObject({
      reason: 'outside_tenant',
      rules: { tenant: '-' },
    })
  })

  test('an agent of org_a publishes in org_a, and nowhere else', async () => {
    const client = await stage.agent('scout', {}, postern)
    const codes: number[] = []
    for (const topic of ['org/org_a/x', 'org/org_b/x', 'org/org_a', 'org', 'x']) {
      client.send(publish({ topic, qos: 1 }))
      codes.push((await client.next('puback')).reasonCode === 0x87 ? 0x87 : 0)
    }
    expect(codes).toEqual([0, 0x87, 0, 0x87, 0x87])
  })

  test('the same agent with a token of org_b is in org_b', async () => {
    const client = await stage.agent('scout', { claims: { org_id: 'org_b' } }, postern)
    client.send(
      subscribe({
        filters: [
          ['org/org_a/#', 1],
          ['org/org_b/#', 1],
        ],
      }),
    )
    expect(await client.next('suback')).toMatchObject({ granted: [0x87, 1] })
  })

  test.each([['+'], ['#'], ['org_a/x'], [''], ['$SYS'], [undefined], [['org_a', 'org_b']]])(
    'the tenant %j: refused',
    async (org) => {
      expect(await refused({ claims: { org_id: org } }, postern)).toMatch(
        /^0x8[67] (bad_identifier|missing_claim)$/,
      )
    },
  )
})

describe('keys from an address', () => {
  const ORG = { org_id: 'org_a' }

  /** An identity provider whose keys are served, and a Postern that fetches them. */
  async function served(jwks: object = {}) {
    const clock = new TravelClock()
    const idp = await TestIssuer.create(clock)
    const server = await idp.serveJwks()
    const postern = await stage.anotherPostern({ idp, clock, issuer: { jwks: { url: server.url, ...jwks } } })
    return { clock, idp, server, postern }
  }

  test('KEY-02, peers.K5 unknown `kid`s cause one fetch per cooldown, however many there are', async () => {
    const { clock, idp, server, postern } = await served({ cooldown: '30s' })
    const before = server.requests.length
    const codes = new Set<number | undefined>()
    for (let i = 0; i < 100; i++)
      codes.add(await connackFor(await idp.mint(ORG, { header: { kid: `k${i}` } }), postern))
    expect([...codes]).toEqual([0x86])
    expect(await connackFor(await idp.mint(ORG), postern)).toBe(0)
    expect(server.requests.length - before).toBe(1)
    clock.advance(30_001)
    await connackFor(await idp.mint(ORG, { header: { kid: 'again' } }), postern)
    expect(server.requests.length - before).toBe(2)
    await server.close()
  })

  test('KEY-03 a new key works at once, and one that was taken away stops new CONNECTs after the cache age', async () => {
    const { clock, idp, server, postern } = await served({ cacheAge: '10m' })
    const successor = await TestIssuer.create(clock)
    server.keys = [successor.publicKey]
    expect(await connackFor(await successor.mint(ORG), postern)).toBe(0)
    expect(await connackFor(await idp.mint(ORG), postern)).toBe(0x86)
    server.keys = [idp.publicKey]
    const fetched = server.nextRequest()
    clock.advance(600_001)
    await fetched
    expect(await connackFor(await successor.mint(ORG), postern)).toBe(0x86)
    expect(await connackFor(await idp.mint(ORG), postern)).toBe(0)
    await server.close()
  })

  test('KEY-04, peers.K5 while the keys cannot be fetched the last ones serve for a time; then 0x88, and not ready', async () => {
    const { clock, idp, server, postern } = await served({ cacheAge: '10m', staleAge: '1h' })
    server.behaviour = 'error'
    clock.advance(30 * 60_000)
    expect(await connackFor(await idp.mint(ORG), postern)).toBe(0)
    expect(postern.app.ready).toBe(true)
    clock.advance(31 * 60_000)
    expect(await connackFor(await idp.mint(ORG), postern)).toBe(0x88)
    const ready = await fetch(`${postern.app.adminUrl}/readyz`)
    expect(ready.status).toBe(503)
    expect(await ready.text()).toContain('No usable keys')
    await server.close()
  })

  test('KEY-05 two keys that fit, and a token that names none: refused', async () => {
    const { clock, idp, server, postern } = await served()
    const other = await TestIssuer.create(clock)
    server.keys = [idp.publicKey, other.publicKey]
    const fetched = server.nextRequest()
    clock.advance(600_001)
    await fetched
    expect(await connackFor(await idp.mint(ORG, { header: { kid: undefined } }), postern)).toBe(0x86)
    expect((await postern.records()).at(-1)?.reason).toBe('ambiguous_key')
    expect(await connackFor(await idp.mint(ORG), postern)).toBe(0)
    await server.close()
  })
})
