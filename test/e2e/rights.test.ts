// Rights that change while a session lives, or between two connections of one: policy reloads, resumed sessions, Wills.
// Ids: agent-specs.md 6.9, identity-standards.md 13, peers.md 2 (`peers.`).
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { ack, prop, publish, subscribe } from '../support/frames.ts'
import type { TestPostern } from '../support/postern.ts'
import type { RawClient } from '../support/raw-client.ts'
import { FIXTURE_POLICY, openStage, type Stage, type StageOptions } from '../support/stage.ts'

let stage: Stage

beforeAll(async () => {
  stage = await openStage()
})
beforeEach(() => stage.observer.seen())
afterAll(() => stage?.stop())

const ns = 'a2a/v1'
const inbox = `${ns}/tasks/scout/inbox`
const note = `${ns}/notes/scout/a`
const RESUME = { sessions: { delegated: 'resume' } }
const HOUR = [prop.sessionExpiryInterval(3600)]

/** The fixture without some of its rules. */
function without(...ids: string[]): string {
  return FIXTURE_POLICY.replaceAll(/^ {2}- (?:\{ )?id: ([\w-]+)(?:.*\n)(?: {4}.*\n)*/gm, (rule, id) =>
    ids.includes(id) ? '' : rule,
  )
}

const NO_TASKS = without('own-tasks')

async function subscribed(client: RawClient, ...filters: string[]): Promise<void> {
  client.send(subscribe({ packetId: 100, filters: filters.map((filter) => [filter, 1] as const) }))
  expect(await client.next('suback')).toMatchObject({ granted: filters.map(() => 1) })
}

/** A Postern of its own, for its policy will change. */
const fresh = (options: StageOptions = {}): Promise<TestPostern> => stage.anotherPostern(options)

describe('a policy that narrows the rights of a live session', () => {
  test('S10, ACL-10, DEL-08, peers.E3 takes the subscription away at the broker and delivers nothing more of it', async () => {
    const postern = await fresh()
    const scout = await stage.agent('scout', {}, postern)
    await subscribed(scout, inbox, note)
    const tap = stage.relay.sessions.at(-1)!
    await postern.usePolicy(NO_TASKS)
    await scout.ping()
    expect(tap.toBroker.waiting).toContainEqual(
      expect.objectContaining({ cmd: 'unsubscribe', unsubscriptions: [inbox] }),
    )
    await stage.observer.publish(inbox, 'no')
    await stage.observer.publish(note, 'yes')
    expect(await scout.next('publish')).toMatchObject({ topic: note })
    await scout.ping()
    const records = await postern.records()
    expect(records).toContainEqual(
      expect.objectContaining({
        action: 'unsubscribe',
        reason: 'rights_narrowed',
        resource: { filter: inbox },
      }),
    )
  })

  test.each([1, 2] as const)(
    'S10, peers.G6 QoS %i messages that are not delivered leave the broker’s window free',
    async (qos) => {
      const postern = await fresh({ config: { denial: { overlappingDeny: 'filter' } } })
      const analyst = await stage.agent('analyst', { properties: [prop.receiveMaximum(2)] }, postern)
      analyst.send(subscribe({ filters: [[`${ns}/vault/#`, 2]] }))
      await analyst.next('suback')
      for (let i = 0; i < 20; i++) await stage.observer.publish(`${ns}/vault/secret`, String(i), { qos })
      await stage.observer.publish(`${ns}/vault/other`, 'yes', { qos })
      expect(await analyst.next('publish')).toMatchObject({ topic: `${ns}/vault/other`, qos })
      const dropped = (await postern.records()).filter((record) => record.action === 'deliver')
      expect(dropped).toHaveLength(20)
      expect(dropped[0]).toMatchObject({
        reason: 'deny_rule',
        effect: 'dropped',
        rules: { agent: 'vault-secret' },
      })
    },
  )

  test('ACL-10 RFC 9431 by option: the agent is disconnected with 0x87', async () => {
    const postern = await fresh({ config: { denial: { delivery: 'disconnect', overlappingDeny: 'filter' } } })
    const analyst = await stage.agent('analyst', {}, postern)
    await subscribed(analyst, `${ns}/vault/#`)
    await stage.observer.publish(`${ns}/vault/secret`, 'no')
    expect(await analyst.next('disconnect')).toMatchObject({ reasonCode: 0x87 })
    await analyst.closed()
  })

  test('DEL-08, peers.E4 the next PUBLISH is denied, no decision is remembered', async () => {
    const postern = await fresh()
    const scout = await stage.agent('scout', {}, postern)
    const send = async (): Promise<number> => {
      scout.send(publish({ topic: note, qos: 1 }))
      return (await scout.next('puback')).reasonCode ?? 0
    }
    expect(await send()).toBeLessThan(0x80)
    await postern.usePolicy(without('own-notes'))
    expect(await send()).toBe(0x87)
    await postern.usePolicy(FIXTURE_POLICY)
    expect(await send()).toBeLessThan(0x80)
  })

  test('DEL-08 a pair of user and agent that is no longer allowed can do nothing, the user’s other agents can', async () => {
    const postern = await fresh()
    const [scout, analyst] = [
      await stage.agent('scout', {}, postern),
      await stage.agent('analyst', {}, postern),
    ]
    await postern.usePolicy(
      `${FIXTURE_POLICY}\npairs: [{ id: no-scout, deny: { users: [u1], agents: [scout] } }, { id: others, allow: {} }]`,
    )
    scout.send(publish({ topic: note, qos: 1 }))
    expect(await scout.next('puback')).toMatchObject({ reasonCode: 0x87 })
    analyst.send(publish({ topic: `${ns}/notes/analyst/a`, qos: 1 }))
    expect((await analyst.next('puback')).reasonCode ?? 0).toBeLessThan(0x80)
    expect((await postern.records()).find((record) => record.decision === 'deny')?.rules).toMatchObject({
      pair: 'no-scout',
    })
  })

  test('peers.G1, peers.E5 a QoS 2 message that the broker holds is not released', async () => {
    const postern = await fresh()
    const scout = await stage.agent('scout', {}, postern)
    scout.send(publish({ topic: note, qos: 2, packetId: 5, payload: 'held' }))
    await scout.next('pubrec')
    await postern.usePolicy(without('own-notes'))
    scout.send(ack('pubrel', 5))
    expect(await scout.next('pubcomp')).toMatchObject({ reasonCode: 0x92 })
    scout.end()
    await stage.relay.sessions.at(-1)!.toBroker.closed()
    expect(await stage.observer.seen()).toEqual([])
  })

  test('peers.G1 after that the broker has forgotten it: the Will went out, the session is new, the identifier is free', async () => {
    const postern = await fresh({ config: RESUME })
    const will = { topic: `${ns}/agents/scout/status`, payload: 'gone', qos: 1, retain: true }
    const again = { properties: HOUR, cleanStart: false }
    const scout = await stage.agent('scout', { ...again, will }, postern)
    scout.send(publish({ topic: note, qos: 2, packetId: 5, payload: 'held' }))
    await scout.next('pubrec')
    await postern.usePolicy(without('own-notes'))
    scout.send(ack('pubrel', 5))
    await scout.next('pubcomp')
    expect(await scout.next('disconnect')).toMatchObject({ reasonCode: 0x87 })
    await stage.relay.sessions.at(-1)!.toBroker.closed()
    expect(await stage.observer.messages()).toEqual([`${will.topic} gone`])

    await postern.usePolicy(FIXTURE_POLICY)
    const { client: next, connack } = await stage.tryConnect('scout', again, postern)
    expect(connack).toMatchObject({ reasonCode: 0, sessionPresent: false })
    next.send(publish({ topic: note, qos: 2, packetId: 5, payload: 'new' }), ack('pubrel', 5))
    await next.next('pubrec')
    await next.next('pubcomp')
    expect(await stage.observer.messages()).toEqual([`${note} new`])
    await stage.observer.publish(will.topic, '', { retain: true })
  })

  test('peers.D2, peers.E5 a Will that it denies is not published: the session ends, cleanly at the broker', async () => {
    const postern = await fresh()
    const will = { topic: `${ns}/agents/scout/status`, payload: 'gone', qos: 1, retain: true }
    const scout = await stage.agent('scout', { will }, postern)
    await postern.usePolicy(without('own-presence'))
    expect(await scout.next('disconnect')).toMatchObject({ reasonCode: 0x87 })
    await scout.closed()
    await stage.relay.sessions.at(-1)!.toBroker.closed()
    expect(await stage.observer.seen()).toEqual([])
  })

  test('peers.D2 a Will with a delay is not published later either', async () => {
    const postern = await fresh()
    const will = {
      topic: `${ns}/agents/scout/status`,
      qos: 1,
      retain: true,
      properties: [prop.willDelayInterval(1)],
    }
    const scout = await stage.agent('scout', { will }, postern)
    await postern.usePolicy('version: 1')
    await scout.next('disconnect')
    expect((await stage.relay.sessions.at(-1)!.toBroker.closed()).at(-1)).toMatchObject({
      cmd: 'disconnect',
      reasonCode: 0,
    })
  })
})

describe('OPS-07 a policy file', () => {
  test('that is bad keeps the old policy in force, raises a metric and is logged', async () => {
    const postern = await fresh()
    const scout = await stage.agent('scout', {}, postern)
    await postern.usePolicy('version: 1\nagents: [{ id: x, allow: everything }]')
    scout.send(publish({ topic: note, qos: 1 }))
    expect((await scout.next('puback')).reasonCode ?? 0).toBeLessThan(0x80)
    expect(await postern.metric('postern_reloads_total{what="policy",result="failed"}')).toBe(1)
    expect(
      postern.log.some(({ level, message }) => level === 'error' && message.includes('reload failed')),
    ).toBe(true)
    expect((await postern.records()).findLast((record) => record.action === 'policy')).toMatchObject({
      decision: 'deny',
      reason: 'reload_failed',
    })
  })

  test('is swapped under load without a packet that neither policy decided', async () => {
    const postern = await fresh()
    const scout = await stage.agent('scout', {}, postern)
    const policies = [without('own-notes'), FIXTURE_POLICY]
    const codes: number[] = []
    let id = 0
    for (let round = 0; round < 10; round++) {
      const batch = Array.from({ length: 50 }, () => publish({ topic: note, qos: 1, packetId: ++id }))
      scout.send(...batch)
      const swapped = postern.usePolicy(policies[round % 2]!)
      for (let i = 0; i < batch.length; i++)
        codes.push((await scout.next('puback')).reasonCode === 0x87 ? 1 : 0)
      await swapped
    }
    expect(codes).toHaveLength(500)
    const records = (await postern.records()).filter((record) => record.action === 'publish')
    expect(records).toHaveLength(500)
    // Each record names the policy that decided it, and decided as that one says.
    const allowing = new Set(
      records.filter((record) => record.decision === 'allow').map((record) => record.policy),
    )
    const denying = new Set(
      records.filter((record) => record.decision === 'deny').map((record) => record.policy),
    )
    expect([allowing.size, denying.size]).toEqual([1, 1])
    expect([...allowing][0]).not.toBe([...denying][0])
  })
})

describe('a session that is resumed', () => {
  const again = { properties: HOUR, cleanStart: false }

  /** Subscribes to inbox and note, and leaves. */
  async function left(postern: TestPostern, identity = {}): Promise<void> {
    const scout = await stage.agent('scout', { properties: HOUR, ...identity }, postern)
    await subscribed(scout, inbox, note)
    scout.end()
    await stage.relay.sessions.at(-1)!.toBroker.closed()
  }

  test('C13, ACL-16, peers.F3 a subscription that is no longer allowed is removed, and what was queued for it is not delivered', async () => {
    const postern = await fresh({ config: RESUME })
    await left(postern)
    await stage.observer.publish(inbox, 'queued')
    await stage.observer.publish(note, 'queued too')
    await postern.usePolicy(NO_TASKS)
    const { client, connack } = await stage.tryConnect('scout', again, postern)
    expect(connack).toMatchObject({ reasonCode: 0, sessionPresent: true })
    expect(await client.next('publish')).toMatchObject({ topic: note })
    client.send(ack('puback', 2))
    await client.ping()
    await stage.observer.publish(inbox, 'later')
    await client.ping()
    expect(await postern.metric('postern_deliveries_total{decision="deny",reason="no_rule"}')).toBe(1)
  })

  test('peers.F4 a narrower token of the same agent gets no more than that token allows', async () => {
    const postern = await fresh({ config: RESUME })
    const ceiling = { claims: { acl: [{ permission: 'allow', action: 'all', topic: note }] } }
    await left(postern)
    await stage.observer.publish(inbox, 'queued')
    const { client } = await stage.tryConnect('scout', { ...again, ...ceiling }, postern)
    await stage.observer.publish(note, 'allowed')
    expect(await client.next('publish')).toMatchObject({ topic: note })
    expect(stage.relay.sent).toContainEqual(
      expect.objectContaining({ cmd: 'unsubscribe', unsubscriptions: [inbox] }),
    )
  })

  test('ACL-16 of another human: it is not resumed, and what was kept for that human is not delivered', async () => {
    const policy = FIXTURE_POLICY.replace(
      'topics: [a2a/v1/agents/+/+, a2a/v1/tasks/+/+,',
      'topics: [a2a/v1/agents/+/+,',
    ).concat('\n  - { id: tasks-of-u1, allow: publish+subscribe, topic: a2a/v1/tasks/+/+, users: [u1] }\n')
    const postern = await fresh({ config: RESUME, policy })
    await left(postern, { user: 'u1' })
    await stage.observer.publish(inbox, 'for u1')
    const { client, connack } = await stage.tryConnect('scout', { ...again, user: 'u2' }, postern)
    expect(connack.sessionPresent).toBe(false)
    await subscribed(client, note)
    await stage.observer.publish(note, 'for both')
    expect(await client.next('publish')).toMatchObject({ topic: note })
  })

  test('peers.F3 in another process, which knows nothing of it: the delivery check holds', async () => {
    await left(await fresh({ config: RESUME }))
    await stage.observer.publish(inbox, 'queued')
    const other = await fresh({ config: RESUME, policy: NO_TASKS })
    const { client } = await stage.tryConnect('scout', again, other)
    await stage.observer.publish(inbox, 'later')
    await stage.observer.publish(note, 'allowed')
    expect(await client.next('publish')).toMatchObject({ topic: note })
    expect((await other.records()).filter((record) => record.action === 'deliver')).toHaveLength(2)
  })

  test('ACL-16 by default a delegated agent’s session is not kept at all', async () => {
    const postern = await fresh()
    const { client, connack } = await stage.tryConnect('scout', { properties: HOUR }, postern)
    expect(connack.properties?.sessionExpiryInterval).toBe(0)
    await subscribed(client, inbox)
    client.end()
    await stage.relay.sessions.at(-1)!.toBroker.closed()
    await stage.observer.publish(inbox, 'for nobody')
    const second = await stage.tryConnect('scout', again, postern)
    expect(second.connack.sessionPresent).toBe(false)
    await second.client.ping()
  })

  test('C13 an agent that acts for itself keeps its session, and is judged anew', async () => {
    const issuer = { mapping: 'self', owners: { scout: 'u1' } }
    const postern = await fresh({ issuer })
    const self = { claims: { sub: 'scout', act: undefined }, properties: HOUR }
    const scout = await stage.agent('scout', self, postern)
    await subscribed(scout, inbox, note)
    scout.end()
    await stage.relay.sessions.at(-1)!.toBroker.closed()
    await stage.observer.publish(inbox, 'queued')
    await postern.usePolicy(NO_TASKS)
    const { client, connack } = await stage.tryConnect('scout', { ...self, cleanStart: false }, postern)
    expect(connack.sessionPresent).toBe(true)
    await stage.observer.publish(note, 'allowed')
    expect(await client.next('publish')).toMatchObject({ topic: note })
  })
})

test('peers.E1 a message that somebody retained while it was allowed is not delivered to whom it is denied', async () => {
  await stage.observer.publish(inbox, 'retained', { retain: true })
  const postern = await fresh({
    config: { denial: { overlappingDeny: 'filter' } },
    policy: `
version: 1
agents: [{ id: all, allow: subscribe, topic: a2a/v1/#, maxQos: 1 }, { id: not, deny: subscribe, topic: a2a/v1/tasks/# }]
users: [{ id: all-users, allow: subscribe, topic: a2a/v1/# }]
`,
  })
  const scout = await stage.agent('scout', {}, postern)
  await subscribed(scout, `${ns}/#`)
  await stage.observer.publish(note, 'now')
  expect(await scout.next('publish')).toMatchObject({ topic: note })
  await scout.ping()
  await stage.observer.publish(inbox, '', { retain: true })
})
