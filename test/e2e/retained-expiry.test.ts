import mqtt from 'mqtt'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Broker, startMosquitto } from '../../src/dev/mosquitto.ts'
import { startPostern, type TestPostern } from '../support/postern.ts'

const POLICY = `
version: 1
agents: [{ id: cards, allow: publish, topic: "cards/{agent_id}/#", retain: allowed }]
users: [{ id: all, allow: publish, topic: "#", retain: allowed }]
`
const LIFETIME_MS = 600_000
const LEEWAY_S = 30

let broker: Broker
let postern: TestPostern

beforeAll(async () => {
  broker = await startMosquitto()
  postern = await startPostern({
    broker,
    policy: POLICY,
    config: { sessions: { retainedExpiry: 'token' } },
  })
})
afterAll(async () => {
  await postern?.stop()
  await broker?.stop()
})

/** Message Expiry Interval of what the broker keeps. */
async function retainedExpiry(topic: string): Promise<number | undefined> {
  const reader = await mqtt.connectAsync({ host: broker.host, port: broker.port, protocolVersion: 5 })
  const message = new Promise<number | undefined>((resolve) =>
    reader.once('message', (_topic, _payload, packet) => resolve(packet.properties?.messageExpiryInterval)),
  )
  await reader.subscribeAsync(topic)
  const expiry = await message
  await reader.endAsync()
  return expiry
}

test('ACL-14 a retained message lives at most as long as the token, by option', async () => {
  const agent = await mqtt.connectAsync({
    host: postern.host,
    port: postern.port,
    protocolVersion: 5,
    clientId: 'scout',
    username: 'scout',
    password: await postern.issuer.mint({}, { lifetimeMs: LIFETIME_MS }),
    reconnectPeriod: 0,
  })
  const publish = (topic: string, retain: boolean, messageExpiryInterval?: number) =>
    agent.publishAsync(topic, 'card', {
      qos: 1,
      retain,
      properties: messageExpiryInterval === undefined ? {} : { messageExpiryInterval },
    })
  await publish('cards/scout/unlimited', true)
  await publish('cards/scout/long', true, 86_400)
  await publish('cards/scout/short', true, 20)
  await agent.endAsync()

  const longest = LIFETIME_MS / 1000 + LEEWAY_S
  for (const name of ['unlimited', 'long']) {
    const expiry = await retainedExpiry(`cards/scout/${name}`)
    expect(expiry).toBeGreaterThan(longest - 60)
    expect(expiry).toBeLessThanOrEqual(longest)
  }
  expect(await retainedExpiry('cards/scout/short')).toBeLessThanOrEqual(20)
})
