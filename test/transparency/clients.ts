// Scenarios played by MQTT.js, with the bytes that a real client library makes.
import type { MqttClient } from 'mqtt'
import type { Scenario } from './stage.ts'

/** The next `count` messages, as topic and payload. */
function messages(client: MqttClient, count: number): Promise<string[]> {
  const seen: string[] = []
  return new Promise((resolve) => {
    client.on('message', (topic, payload) => {
      seen.push(`${topic} ${payload}`)
      if (seen.length === count) resolve(seen)
    })
  })
}

export const CLIENTS: Scenario[] = [
  {
    name: 'MQTT.js: subscribe, publish with every QoS, unsubscribe, end',
    play: async (stage) => {
      const client = await stage.openMqttJs('a')
      const got = messages(client, 3)
      await client.subscribeAsync(stage.topic('#'), { qos: 2 })
      for (const qos of [0, 1, 2] as const) await client.publishAsync(stage.topic(`q${qos}`), 'x', { qos })
      await got
      await client.unsubscribeAsync(stage.topic('#'))
      await client.endAsync()
    },
  },
  {
    name: 'MQTT.js: request and response with Response Topic and Correlation Data',
    play: async (stage) => {
      const [caller, server] = [await stage.openMqttJs('caller'), await stage.openMqttJs('server')]
      await server.subscribeAsync(stage.topic('calls'), { qos: 1 })
      await caller.subscribeAsync(stage.topic('answers'), { qos: 1 })
      server.on('message', (_topic, payload, packet) => {
        const { responseTopic, correlationData } = packet.properties!
        server.publish(responseTopic!, `re: ${payload}`, {
          qos: 1,
          properties: { correlationData: correlationData! },
        })
      })
      const answer = messages(caller, 1)
      await caller.publishAsync(stage.topic('calls'), 'question', {
        qos: 1,
        properties: { responseTopic: stage.topic('answers'), correlationData: Buffer.from('42') },
      })
      await answer
      await caller.endAsync()
      await server.endAsync()
    },
  },
  {
    name: 'MQTT.js: topic aliases assigned by the library',
    play: async (stage) => {
      const client = await stage.openMqttJs('a', { autoAssignTopicAlias: true })
      const got = messages(client, 4)
      await client.subscribeAsync(stage.topic('#'))
      for (const name of ['a', 'b', 'a', 'b']) await client.publishAsync(stage.topic(name), name, { qos: 1 })
      await got
      await client.endAsync()
    },
  },
  {
    name: 'MQTT.js: a Will when the library drops its connection',
    play: async (stage) => {
      const witness = await stage.openMqttJs('w')
      await witness.subscribeAsync(stage.topic('gone'), { qos: 1 })
      const will = { topic: stage.topic('gone'), payload: Buffer.from('bye'), qos: 1 as const, retain: false }
      const client = await stage.openMqttJs('a', { will })
      const got = messages(witness, 1)
      await client.endAsync(true)
      await got
      await witness.endAsync()
    },
  },
  {
    name: 'MQTT.js: two hundred messages of QoS 2, one after the other',
    play: async (stage) => {
      const [sender, receiver] = [await stage.openMqttJs('pub'), await stage.openMqttJs('sub')]
      const got = messages(receiver, 200)
      await receiver.subscribeAsync(stage.topic('x'), { qos: 0 })
      for (let i = 0; i < 200; i++) {
        await sender.publishAsync(stage.topic('x'), `${i}`, { qos: 2 })
      }
      await got
      await sender.endAsync()
      await receiver.endAsync()
    },
  },
]
