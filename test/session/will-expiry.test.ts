// ACL-14: by option a retained Will lives no longer than the token had left, and is not put off to after its end.
import { expect, test } from 'vitest'
import { connect, type Properties, prop } from '../support/frames.ts'
import { packetsIn } from '../support/packet-inbox.ts'
import { SessionRig } from '../support/session-rig.ts'

/** The Will as the broker is told it, of a token with ten minutes left. */
async function forwarded(
  properties: Properties,
  { retain = true, retainedExpiry = 'token' } = {},
): Promise<object | undefined> {
  const it = new SessionRig({ config: { sessions: { retainedExpiry } } })
  const will = { topic: 'ok/will', payload: 'gone', qos: 1, retain, properties }
  it.fromClient(connect({ password: 'a.b.c', will }))
  await it.settle()
  const [packet] = packetsIn(it.toServer)
  if (packet?.cmd !== 'connect' || packet.will === undefined) throw new Error('no Will')
  expect(packet.will).toMatchObject({ topic: 'ok/will', payload: Buffer.from('gone'), qos: 1, retain })
  return packet.will.properties
}

const user = prop.userProperty('a', 'b')
const LONG = [prop.willDelayInterval(86_400), user, prop.messageExpiryInterval(86_400)]
const userProperties = { a: 'b' }

test.each([
  ['a retained Will without intervals', [], { messageExpiryInterval: 600 }],
  ['longer ones', LONG, { willDelayInterval: 600, messageExpiryInterval: 600, userProperties }],
  [
    'shorter ones',
    [prop.willDelayInterval(60), prop.messageExpiryInterval(30)],
    { willDelayInterval: 60, messageExpiryInterval: 30 },
  ],
])('ACL-14 %s', async (_, properties, told) => {
  expect(await forwarded(properties)).toEqual(told)
})

test('ACL-14 a Will that is not retained keeps its Message Expiry Interval, but waits no longer than the token', async () => {
  const told = { willDelayInterval: 600, messageExpiryInterval: 86_400, userProperties }
  expect(await forwarded(LONG, { retain: false })).toEqual(told)
})

test('without the option a Will is left as it is', async () => {
  const told = { willDelayInterval: 86_400, messageExpiryInterval: 86_400, userProperties }
  expect(await forwarded(LONG, { retainedExpiry: 'keep' })).toEqual(told)
})
