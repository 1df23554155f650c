// From the identity provider's word to the record of what an agent did: a stub of the provider, a real `postern sts`
// process, Postern, Mosquitto. The provider decides which agent acts for whom; nothing else is asked.
import { decodeJwt } from 'jose'
import type { MqttClient } from 'mqtt'
import mqtt from 'mqtt'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type Broker, startMosquitto } from '../../src/dev/mosquitto.ts'
import { RunningPostern } from '../cmd/child.ts'
import { Observer } from '../support/observer.ts'
import { startPostern, type TestPostern } from '../support/postern.ts'
import { ASSERTION_TYPE, GRANT, STS_AUDIENCE, STS_ISSUER, TestSts } from '../support/sts.ts'

const POLICY = `version: 1
agents:
  - { id: own-card, allow: publish, topic: "agents/{agent_id}/card" }
  - { id: notes, allow: publish, topic: "notes/{user_id}" }
users:
  - { id: cards, allow: publish, topic: "agents/#", users: [alice, bob] }
  - { id: own-notes, allow: publish, topic: "notes/{user_id}", users: [alice] }
`
let files: TestSts
let sts: RunningPostern
let url: string
let broker: Broker
let observer: Observer
let postern: TestPostern

beforeAll(async () => {
  files = await TestSts.prepare({
    scopes: { cards: [['agents/+/card', ['pub']]] },
    clients: [
      { id: 'scout-client', agent: { sub: 'scout' }, secretFile: 'scout.secret' },
      { id: 'analyst-client', agent: { sub: 'analyst' }, jwks: { file: 'analyst.json' }, scopes: ['cards'] },
    ],
  })
  sts = new RunningPostern(['--config', files.path('sts.json')], { command: ['sts', 'run'] })
  const [line, started] = await Promise.all([sts.next({ msg: 'listening' }), startMosquitto()])
  url = `http://${line['address']}`
  broker = started
  observer = await Observer.open(broker)
  postern = await startPostern({
    broker,
    policy: POLICY,
    issuer: {
      issuer: STS_ISSUER,
      audience: STS_AUDIENCE,
      jwks: { url: `${url}/.well-known/jwks.json` },
    },
  })
})
afterAll(async () => {
  await postern?.stop()
  await observer?.close()
  await broker?.stop()
  await sts?.kill()
  await files?.remove()
})

async function tokenFor(form: Record<string, string>): Promise<string> {
  const response = await fetch(`${url}/token`, {
    method: 'POST',
    body: new URLSearchParams({ grant_type: GRANT, ...form }),
  })
  const body = (await response.json()) as { access_token: string }
  expect(response.status).toBe(200)
  return body.access_token
}

function connected(clientId: string, token: string): Promise<MqttClient> {
  const options = {
    protocolVersion: 5,
    clientId,
    username: 'jwt',
    password: token,
    reconnectPeriod: 0,
  } as const
  return mqtt.connectAsync(`mqtt://127.0.0.1:${postern.port}`, options)
}

it('DEL-12, DEL-13 the provider says for whom: token, CONNECT, PUBLISH, and the record names human and agent', async () => {
  const secret = { client_id: 'scout-client', client_secret: 'a-secret-of-scout-with-32-characters' }
  const token = await tokenFor({ ...secret, assertion: await files.idp.jag({ sub: 'alice' }) })
  const client = await connected('scout', token)
  await client.publishAsync('notes/alice', 'for alice', { qos: 1 })
  await expect(client.publishAsync('notes/bob', 'for bob', { qos: 1 })).rejects.toMatchObject({ code: 0x87 })
  await client.endAsync()
  expect(await observer.messages()).toEqual(['notes/alice for alice'])

  const records = (await postern.records()).filter(({ action }) => action === 'publish')
  const { jti } = decodeJwt(token)
  const identity = {
    agent: { iss: STS_ISSUER, sub: 'scout' },
    human: { iss: STS_ISSUER, sub: 'alice', via: 'delegation' },
    token: { iss: STS_ISSUER, jti },
  }
  expect(records).toMatchObject([
    { decision: 'allow', resource: { topic: 'notes/alice' }, identity },
    { decision: 'deny', resource: { topic: 'notes/bob' }, identity },
  ])
})

it('DEL-13 another human, another agent: the scope that was granted is a ceiling at the proxy', async () => {
  const credential = {
    client_assertion_type: ASSERTION_TYPE,
    client_assertion: await files.analyst.assertion('analyst-client', STS_ISSUER),
  }
  const claims = { sub: 'alice', client_id: 'analyst-client', scope: 'cards' }
  const token = await tokenFor({ ...credential, assertion: await files.idp.jag(claims) })
  const client = await connected('analyst', token)
  await client.publishAsync('agents/analyst/card', '{}', { qos: 1 })
  // The policy would allow it to alice's agents; her provider has granted cards only.
  await expect(client.publishAsync('notes/alice', 'x', { qos: 1 })).rejects.toMatchObject({ code: 0x87 })
  await client.endAsync()
})

it('DEL-11, DEL-13 the assertion itself opens no connection', async () => {
  await expect(connected('scout', await files.idp.jag())).rejects.toMatchObject({ code: 0x86 })
})

it('DEL-13 the process ends by SIGTERM with exit code 0', async () => {
  sts.signal('SIGTERM')
  expect(await sts.exited).toBe(0)
})
