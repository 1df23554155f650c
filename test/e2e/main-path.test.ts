import mqtt, { type MqttClient } from 'mqtt'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Broker, startMosquitto } from '../../src/dev/mosquitto.ts'
import { startPostern, type TestPostern } from '../support/postern.ts'

const POLICY = `
version: 1
agents:
  - { id: own-card, allow: publish+subscribe, topic: "agents/{agent_id}/card", retain: allowed }
  - { id: cards, allow: subscribe, topic: agents/+/card }
users:
  - { id: any, allow: publish+subscribe, topic: "agents/#", retain: allowed }
`

let broker: Broker
let postern: TestPostern

beforeAll(async () => {
  broker = await startMosquitto()
  postern = await startPostern({ broker, policy: POLICY })
})
afterAll(async () => {
  await postern?.stop()
  await broker?.stop()
})

async function connect(clientId: string, token: string): Promise<MqttClient> {
  return mqtt.connectAsync({
    host: postern.host,
    port: postern.port,
    protocolVersion: 5,
    clientId,
    username: 'ignored',
    password: token,
    reconnectPeriod: 0,
  })
}

test('an allowed PUBLISH reaches a subscriber, a denied one is answered 0x87 and reaches nobody', async () => {
  const { issuer } = postern
  const scout = await connect('scout', await issuer.mint({ act: { iss: 'https://idp.test', sub: 'scout' } }))
  const analyst = await connect(
    'analyst',
    await issuer.mint({ agent_id: 'analyst', act: { iss: 'https://idp.test', sub: 'analyst' } }),
  )
  const seen: string[] = []
  analyst.on('message', (topic, payload) => seen.push(`${topic} ${payload}`))
  await analyst.subscribeAsync('agents/+/card', { qos: 1 })
  await expect(scout.publishAsync('agents/analyst/card', 'forged', { qos: 1 })).rejects.toMatchObject({
    code: 0x87,
  })
  const delivered = new Promise((resolve) => analyst.once('message', resolve))
  await scout.publishAsync('agents/scout/card', 'mine', { qos: 1 })
  await delivered
  expect(seen).toEqual(['agents/scout/card mine'])
  const denied = (await postern.records()).find((record) => record.decision === 'deny')
  expect(denied).toMatchObject({ action: 'publish', reason: 'no_rule', effect: 'puback 0x87' })
  await scout.endAsync()
  await analyst.endAsync()
})
