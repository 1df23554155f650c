// One grant, several replicas and one store: it is used up for all of them. A real Redis, real Mosquitto. Ids:
// identity-standards.md 13.6 (JIT).
import { afterAll, beforeAll, expect, test } from 'vitest'
import { agentClaims } from '../../src/dev/issuer.ts'
import { prop, publish } from '../support/frames.ts'
import { GRANT_POLICY } from '../support/grant-desk.ts'
import type { TestPostern } from '../support/postern.ts'
import type { RawClient } from '../support/raw-client.ts'
import { Redis } from '../support/redis.ts'
import { openStage, type Stage } from '../support/stage.ts'
import { TEST_AUDIENCE, TEST_ISSUER } from '../support/tokens.ts'

let redis: Redis
let stage: Stage
let replicas: TestPostern[]

beforeAll(async () => {
  redis = await Redis.start()
  const config = {
    clientId: { binding: 'prefix', separator: '~' },
    grants: { issuers: [{ issuer: TEST_ISSUER, audience: TEST_AUDIENCE }] },
    store: { url: redis.url, onFailure: 'continue' },
  }
  stage = await openStage({ policy: GRANT_POLICY, config })
  const { issuer: idp, clock } = stage.postern
  replicas = [stage.postern, await stage.anotherPostern({ policy: GRANT_POLICY, config, idp, clock })]
})
afterAll(async () => {
  await stage?.stop()
  await redis?.remove()
})

const mint = (more: object): Promise<string> =>
  stage.postern.issuer.dev.mint(
    {
      ...agentClaims({ agent: 'scout', user: 'u1', issuer: TEST_ISSUER }),
      action: 'publish',
      topic: 'pay/u1/+',
      approver: { iss: TEST_ISSUER, sub: 'boss' },
      ...more,
    },
    { lifetimeMs: 300_000, header: { typ: 'mqtt-jit-grant+jwt' } },
  )
const agents = (): Promise<RawClient[]> =>
  Promise.all(replicas.map((postern, i) => stage.agent('scout', { clientId: `scout~${i}` }, postern)))

async function pay(client: RawClient, grant: string, packetId: number): Promise<boolean> {
  const properties = [prop.userProperty('postern-grant', grant)]
  client.send(publish({ topic: 'pay/u1/order', qos: 1, packetId, properties }))
  return (await client.next('puback')).reasonCode !== 0x87
}

test('JIT-03 a grant that both replicas get at once passes as often as it has uses', async () => {
  const clients = await agents()
  const grant = await mint({ max_uses: 3 })
  const tries = await Promise.all(
    clients.flatMap((client) => [1, 2].map((packetId) => pay(client, grant, packetId))),
  )
  expect(tries.filter((isPaid) => isPaid).length).toBe(3)
  expect(await pay(clients[0]!, grant, 9)).toBe(false)
  expect((await replicas[0]!.records()).at(-1)).toMatchObject({ detail: 'grant_spent' })
})

test('JIT-03 while the store cannot be reached no grant is taken, whatever else goes on', async () => {
  const clients = await agents()
  await redis.stop()
  expect(await pay(clients[0]!, await mint({}), 1)).toBe(false)
  expect((await replicas[0]!.records()).at(-1)).toMatchObject({ detail: 'grants_unavailable' })
  await redis.start()
})
