// Scenarios: the Will, which the broker publishes or not. MQTT 5.0 §3.1.2.5, §3.1.3.2, §3.14.4.
import { disconnect, prop, publish } from '../support/frames.ts'
import { RESET } from './endings.ts'
import type { OpenOptions, Scenario, Stage } from './stage.ts'

type Link = Awaited<ReturnType<Stage['open']>>

/** A client with a Will ends as `end` does; a witness subscribed to the Will Topic sees what comes of it. */
function will(
  name: string,
  options: (stage: Stage) => OpenOptions,
  end: (link: Link) => unknown,
  published = true,
): Scenario {
  return {
    name,
    play: async (stage) => {
      const witness = await stage.open('w')
      await witness.subscribe([[stage.topic('#'), 2]])
      const link = await stage.open('a', options(stage))
      await end(link)
      if (published) await witness.receive()
      else await witness.fence()
    },
  }
}

const plain = (stage: Stage): OpenOptions => ({ will: { topic: stage.topic('gone'), payload: 'bye' } })
const hangUp = (link: Link): void => link.hangUp()

export const WILLS: Scenario[] = [
  ...[0, 1, 2].map((qos) =>
    will(
      `a Will of QoS ${qos} is published at FIN without DISCONNECT`,
      (stage) => ({ will: { topic: stage.topic('gone'), payload: 'bye', qos } }),
      hangUp,
    ),
  ),
  {
    ...will('a Will is published at RST', plain, (link) => link.abort()),
    differs: RESET,
  },
  will('no Will is published after DISCONNECT 0x00', plain, (link) => link.leave(), false),
  will('a Will is published after DISCONNECT 0x04', plain, (link) => link.leave(disconnect(0x04))),
  // Stock brokers disagree on this one.
  will('DISCONNECT 0x80 and the Will', plain, (link) => link.leave(disconnect(0x80)), false),
  will('a Will is published when FIN follows half a payload', plain, (link) => {
    link.send(publish({ topic: 'half', payload: Buffer.alloc(100) }).subarray(0, 50))
    link.hangUp()
  }),
  will(
    'a Will of 60,000 bytes is published',
    (s) => ({ will: { topic: s.topic('gone'), payload: Buffer.alloc(60_000, 'will ') } }),
    hangUp,
  ),
  will('a Will with an empty payload is published', (s) => ({ will: { topic: s.topic('gone') } }), hangUp),
  will(
    'a Will carries all its properties',
    (stage) => ({
      will: {
        topic: stage.topic('gone'),
        payload: 'bye',
        qos: 1,
        properties: [
          prop.payloadFormatIndicator(1),
          prop.userProperty('k', '1'),
          prop.messageExpiryInterval(500),
          prop.contentType('text/plain'),
          prop.responseTopic(stage.topic('answers')),
          prop.correlationData(Buffer.of(0, 1, 2, 255)),
          prop.userProperty('k', '2'),
        ],
      },
    }),
    hangUp,
  ),
  will(
    'a delayed Will is published after its delay',
    (stage) => ({
      properties: [prop.sessionExpiryInterval(60)],
      will: { topic: stage.topic('gone'), payload: 'late', properties: [prop.willDelayInterval(1)] },
    }),
    hangUp,
  ),
  will(
    'a delayed Will of a session that ends with its connection',
    (stage) => ({
      will: { topic: stage.topic('gone'), payload: 'now', properties: [prop.willDelayInterval(600)] },
    }),
    hangUp,
    false,
  ),
  {
    name: 'a delayed Will is not published when the client comes back in time',
    play: async (stage) => {
      const witness = await stage.open('w')
      await witness.subscribe([[stage.topic('#'), 2]])
      const clientId = stage.clientId('same')
      const delayed = (seconds: number): OpenOptions => ({
        clientId,
        cleanStart: false,
        properties: [prop.sessionExpiryInterval(60)],
        will: { topic: stage.topic('gone'), properties: [prop.willDelayInterval(seconds)] },
      })
      const first = await stage.open('a', delayed(2))
      first.hangUp()
      const second = await stage.open('b', delayed(0))
      await second.leave()
      // Another client's Will, delayed longer, is the clock.
      const clock = await stage.open('c', {
        properties: [prop.sessionExpiryInterval(60)],
        will: { topic: stage.topic('clock'), properties: [prop.willDelayInterval(3)] },
      })
      clock.hangUp()
      await witness.receive()
    },
  },
  {
    name: 'a retained Will stays for later subscribers',
    play: async (stage) => {
      const witness = await stage.open('w')
      await witness.subscribe([[stage.topic('gone'), 1]])
      const will = { topic: stage.topic('gone'), payload: 'offline', qos: 1, retain: true }
      const link = await stage.open('a', { will })
      link.hangUp()
      await witness.receive()
      const later = await stage.open('later')
      await later.subscribe([[stage.topic('gone'), 1]])
      await later.receive()
    },
  },
  {
    name: 'the Will of a connection that was taken over is published',
    play: async (stage) => {
      const witness = await stage.open('w')
      await witness.subscribe([[stage.topic('gone'), 1]])
      const clientId = stage.clientId('same')
      const first = await stage.open('a', { clientId, will: { topic: stage.topic('gone'), payload: 'bye' } })
      await stage.open('b', { clientId })
      await first.closed()
      await witness.receive()
    },
  },
]
