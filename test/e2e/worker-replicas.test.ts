// Replicas of several workers each: an order to one cuts at every worker of the others, and each worker asks about its own
// tokens. Ids: identity-standards.md 13.7 (REV).
import mqtt, { type MqttClient } from 'mqtt'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { DEV_ISSUER } from '../../src/dev/issuer.ts'
import { type Broker, startMosquitto } from '../../src/dev/mosquitto.ts'
import { RunningPostern } from '../cmd/child.ts'
import { Workspace } from '../cmd/workspace.ts'
import { Redis } from '../support/redis.ts'
import { TokenStatus } from '../support/token-status.ts'
import { TestIssuer } from '../support/tokens.ts'
import { TravelClock } from '../support/travel-clock.ts'

const SECRET = 'a-secret-of-the-operator'
let broker: Broker
let redis: Redis
let status: TokenStatus
const replicas: { postern: RunningPostern; workspace: Workspace; admin: string; port: number }[] = []

beforeAll(async () => {
  broker = await startMosquitto()
  redis = await Redis.start()
  status = await TokenStatus.start(await TestIssuer.create(new TravelClock()))
  for (const _ of ['a', 'b']) replicas.push(await start())
}, 30_000)
afterAll(async () => {
  for (const { postern, workspace } of replicas) {
    await postern.kill()
    workspace.remove()
  }
  await status?.stop()
  await redis?.remove()
  await broker?.stop()
})

async function start(): Promise<(typeof replicas)[number]> {
  const workspace = await Workspace.create()
  // Of one issuer.
  const first = replicas[0]?.workspace
  if (first !== undefined) {
    workspace.issuer = first.issuer
    workspace.write('keys/jwks.json', JSON.stringify(first.issuer.publicJwks()))
  }
  workspace.write('secret', SECRET)
  workspace.configure({
    workers: 2,
    upstream: { address: `${broker.host}:${broker.port}` },
    clientId: { binding: 'prefix', separator: '-' },
    issuers: [
      {
        issuer: DEV_ISSUER,
        jwks: { file: 'keys/jwks.json' },
        introspection: {
          url: `${status.origin}/introspect`,
          clientId: 'proxy',
          secretFile: 'secret',
          cache: '1s',
        },
      },
    ],
    revocation: { file: 'revocations.jsonl', secretFile: 'secret' },
    store: { url: redis.url },
  })
  const postern = new RunningPostern(['--config', workspace.config])
  const admin = String((await postern.next({ msg: 'admin endpoints' }))['address'])
  const address = String((await postern.next({ msg: 'listening' }))['address'])
  return { postern, workspace, admin, port: Number(address.split(':').at(-1)) }
}

async function connect(
  { port, workspace }: (typeof replicas)[number],
  clientId: string,
  user: string,
): Promise<{ client: MqttClient; jti: string; ended: Promise<void> }> {
  const password = await workspace.token('scout', user)
  const { jti } = JSON.parse(Buffer.from(password.split('.')[1]!, 'base64url').toString()) as { jti: string }
  const client = await mqtt.connectAsync({
    ...{ host: '127.0.0.1', port, protocolVersion: 5, clientId, username: 'jwt', password },
    reconnectPeriod: 0,
  })
  const ended = new Promise<void>((resolve) => client.once('close', () => resolve()))
  return { client, jti, ended }
}

test('REV-17 an order to one replica cuts at every worker of the other', async () => {
  const [a, b] = [replicas[0]!, replicas[1]!]
  // Each worker takes the next connection.
  const clients = [
    await connect(a, 'scout-1', 'alice'),
    ...[await connect(b, 'scout-2', 'alice'), await connect(b, 'scout-3', 'alice')],
  ]
  const spared = await connect(b, 'scout-4', 'bob')
  const response = await fetch(`${a.admin}/revocations`, {
    method: 'POST',
    headers: { authorization: `Bearer ${SECRET}`, 'content-type': 'application/json' },
    body: JSON.stringify({ sub_id: { format: 'iss_sub', iss: DEV_ISSUER, sub: 'alice' } }),
  })
  expect(response.status).toBe(204)
  await Promise.all(clients.map(({ ended }) => ended))
  expect(spared.client.connected).toBe(true)
  await spared.client.endAsync()
})

test('REV-14 a worker cuts whoever bears a token that is no longer active', async () => {
  const [one, two] = [
    await connect(replicas[1]!, 'scout-5', 'carol'),
    await connect(replicas[1]!, 'scout-6', 'carol'),
  ]
  status.inactive.add(one.jti).add(two.jti)
  await Promise.all([one.ended, two.ended])
})
