// One connection of an agent for many humans: their tokens come with the messages, and the receiver reads for whom they
// are. With MQTT.js on both sides and a real broker. Ids: identity-standards.md 13.
import type { MqttClient } from 'mqtt'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { prop, publish } from '../support/frames.ts'
import { openStage, type Stage } from '../support/stage.ts'
import { TEST_ISSUER } from '../support/tokens.ts'

const SECRET = 'a secret of the operator, long enough'.replaceAll(' ', '-')
const POLICY = `
version: 1
agents:
  - { id: ask, allow: publish, topics: ["desk/{org_id}/#"], agents: [scout], retain: allowed }
  - { id: read, allow: subscribe, topics: ["desk/{org_id}/#"], agents: [analyst] }
users:
  - { id: own, allow: publish+subscribe, topics: ["desk/{org_id}/{user_id}"], retain: allowed }
  - { id: clerk, allow: subscribe, topics: ["desk/{org_id}/#"], users: [clerk] }
`

let stage: Stage
let scout: MqttClient
let analyst: MqttClient

beforeAll(async () => {
  stage = await openStage({
    policy: POLICY,
    files: { secret: `${SECRET}\n` },
    config: {
      delegation: { property: 'postern-token', stamp: true },
      revocation: { file: 'revocations.jsonl', secretFile: 'secret' },
    },
  })
  scout = await stage.mqttAgent('scout', { user: 'u1' })
  analyst = await stage.mqttAgent('analyst', { user: 'clerk' })
  await analyst.subscribeAsync('desk/org_a/#', { qos: 2 })
})
beforeEach(() => stage.observer.seen())
afterAll(async () => {
  await scout?.endAsync(true)
  await analyst?.endAsync(true)
  await stage?.stop()
})

const tokenOf = (user: string, claims: object = {}): Promise<string> =>
  stage.token('scout', { user, claims: { ...claims } })
const desk = (user: string): string => `desk/org_a/${user}`

/** Publishes with this token, beside other properties. */
function send(topic: string, token: string | undefined, qos: 0 | 1 | 2 = 1): Promise<unknown> {
  const userProperties: Record<string, string | string[]> = { first: '1', 'postern-human': 'eve' }
  if (token !== undefined) userProperties['postern-token'] = token
  return scout.publishAsync(topic, 'hello', {
    qos,
    properties: { userProperties: { ...userProperties, last: '2' } },
  })
}

async function received(send: () => Promise<unknown>): Promise<unknown> {
  const message = new Promise((resolve) => {
    analyst.once('message', (topic, payload, { properties }) => {
      resolve([topic, payload.toString(), { ...properties?.userProperties }])
    })
  })
  await send()
  return message
}

test.each([0, 1, 2] as const)(
  'JIT-06, DEL-09 the receiver reads for whom, at QoS %i; the token goes nowhere, and nobody forges a name',
  async (qos) => {
    const token = await tokenOf('u2')
    for (let i = 0; i < 3; i++) {
      expect(await received(() => send(desk('u2'), token, qos))).toEqual([
        desk('u2'),
        'hello',
        {
          first: '1',
          last: '2',
          'postern-agent': 'scout',
          'postern-human': 'u2',
          'postern-tenant': 'org_a',
        },
      ])
    }
    expect(stage.relay.bytesToBroker.includes(token.slice(-40))).toBe(false)
    expect(await received(() => send(desk('u1'), undefined, qos))).toMatchObject([
      desk('u1'),
      'hello',
      { 'postern-human': 'u1' },
    ])
  },
)

test('DEL-09 what the human may not, the agent may not for them; the record names the human and the token', async () => {
  const token = await tokenOf('u2', { jti: 'for-u2', txn: 'txn-77' })
  await expect(send(desk('u3'), token)).rejects.toMatchObject({ code: 0x87 })
  await send(desk('u2'), token)
  const [denied, allowed] = (await stage.postern.records()).slice(-2)
  for (const record of [denied, allowed]) {
    expect(record?.identity).toMatchObject({
      human: { sub: 'u2', via: 'delegation' },
      agent: { sub: 'scout' },
      token: { jti: 'for-u2' },
      txn: 'txn-77',
    })
  }
  expect(denied).toMatchObject({ decision: 'deny', reason: 'no_rule', effect: 'puback 0x87' })
  expect(allowed).toMatchObject({ decision: 'allow', rules: { agent: 'ask', user: 'own' } })
})

test.each<[string, string, () => Promise<string>]>([
  ['DEL-01 another agent’s', 'foreign_token', () => stage.token('analyst', { user: 'u2' })],
  ['DEL-10 another tenant’s', 'foreign_token', () => tokenOf('u2', { org_id: 'org_b' })],
  ['TOK-03 a forged', 'bad_signature', async () => `${(await tokenOf('u2')).slice(0, -8)}AAAAAAAA`],
  ['POP-01 a bound', 'proof_required', () => tokenOf('u2', { cnf: { jkt: 'A'.repeat(43) } })],
])('%s token is refused, and the connection goes on', async (_, detail, make) => {
  await expect(send(desk('u2'), await make())).rejects.toMatchObject({ code: 0x87 })
  const record = (await stage.postern.records()).at(-1)
  expect(record).toMatchObject({ reason: 'token_refused', detail, identity: { human: { sub: 'u1' } } })
  await send(desk('u1'), undefined)
  expect(await stage.observer.messages()).toEqual([`${desk('u1')} hello`])
})

test('a whole stream of messages, one byte at a time', async () => {
  const [u2, u3] = [await tokenOf('u2'), await tokenOf('u3')]
  const client = await stage.agent('scout', { user: 'u4', clientId: 'scout' })
  const message = (user: string, token: string | undefined, n: number): Buffer =>
    publish({
      topic: desk(user),
      payload: String(n),
      properties: token === undefined ? [] : [prop.userProperty('postern-token', token)],
    })
  const stream = Buffer.concat([message('u2', u2, 1), message('u4', undefined, 2), message('u3', u3, 3)])
  for (const byte of stream) client.send(Buffer.of(byte))
  await client.ping()
  expect(await stage.observer.messages()).toEqual([`${desk('u2')} 1`, `${desk('u4')} 2`, `${desk('u3')} 3`])
  client.destroy()
  scout = await stage.mqttAgent('scout', { user: 'u1' })
})

test('REV-01 a human who is revoked: the next message for them is refused, those for others go on', async () => {
  const [u2, u3] = [await tokenOf('u2'), await tokenOf('u3')]
  await send(desk('u2'), u2)
  await send(desk('u3'), u3)
  const sub_id = { format: 'iss_sub', iss: TEST_ISSUER, sub: 'u2' }
  const response = await fetch(`${stage.postern.app.adminUrl}/revocations`, {
    method: 'POST',
    headers: { authorization: `Bearer ${SECRET}`, 'content-type': 'application/json' },
    body: JSON.stringify({ sub_id }),
  })
  expect(response.status).toBe(204)
  await expect(send(desk('u2'), u2)).rejects.toMatchObject({ code: 0x87 })
  await expect(send(desk('u2'), await tokenOf('u2'))).rejects.toMatchObject({ code: 0x87 })
  await send(desk('u3'), u3)
  const details = (await stage.postern.records())
    .filter(({ action }) => action === 'publish')
    .slice(-3)
    .map(({ detail, identity }) => [detail, identity?.human?.sub])
  expect(details).toEqual([
    ['revoked', 'u2'],
    ['revoked', 'u2'],
    [undefined, 'u3'],
  ])
  expect(await stage.postern.metric('postern_carried_tokens_total{decision="deny",reason="revoked"}')).toBe(1)
})
