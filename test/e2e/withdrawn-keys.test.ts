// A signing key that is taken out of its issuer's key set, and the connections that came by it. Id: KEY-06.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { RawSigner } from '../identity/raw-signer.ts'
import { connect, publish } from '../support/frames.ts'
import type { TestPostern } from '../support/postern.ts'
import type { RawClient } from '../support/raw-client.ts'
import { openStage, type Stage } from '../support/stage.ts'
import { JwksServer, TEST_AUDIENCE, TEST_ISSUER } from '../support/tokens.ts'

const leaked = new RawSigner('leaked')
const good = new RawSigner('good')
const both = [leaked.jwk, good.jwk]
let stage: Stage

beforeAll(async () => {
  stage = await openStage()
})
afterAll(() => stage?.stop())

const posternWith = (issuer: Record<string, unknown>): Promise<TestPostern> =>
  stage.anotherPostern({
    files: { 'keys.json': JSON.stringify({ keys: both }) },
    issuer: { jwks: { file: 'keys.json' }, ...issuer },
  })

async function connectBy(
  signer: RawSigner,
  agent: string,
  postern: TestPostern,
): Promise<{ client: RawClient; code: number | undefined }> {
  const now = Math.floor(postern.clock.now() / 1000)
  const claims = {
    ...{ iss: TEST_ISSUER, aud: TEST_AUDIENCE, iat: now, exp: now + 600, jti: agent },
    ...{ sub: 'u1', act: { iss: TEST_ISSUER, sub: agent }, client_id: 'c', org_id: 'org_a' },
  }
  const client = await stage.socket(postern, agent)
  client.send(connect({ clientId: agent, password: signer.sign(claims) }))
  return { client, code: (await client.next('connack')).reasonCode }
}

const withdraw = async (postern: TestPostern, keys: object[]): Promise<void> => {
  writeFileSync(join(postern.directory, 'keys.json'), JSON.stringify({ keys }))
  await postern.app.reload()
}

test('KEY-06 by option its connections are cut, the others of the issuer stay, and nobody comes back by it', async () => {
  const postern = await posternWith({ onWithdrawnKey: 'cut' })
  const [scout, analyst] = [
    await connectBy(leaked, 'scout', postern),
    await connectBy(good, 'analyst', postern),
  ]
  expect([scout.code, analyst.code]).toEqual([0, 0])
  await withdraw(postern, [good.jwk])
  expect((await scout.client.next('disconnect')).reasonCode).toBe(0x98)
  await analyst.client.ping()
  expect((await postern.records()).find(({ action }) => action === 'revoke')).toMatchObject({
    effect: '1 cut',
    cause: { source: 'keys', selector: { key: { iss: TEST_ISSUER, kid: 'leaked' } } },
  })
  expect(await postern.metric('postern_revocations_total{source="keys",result="done"}')).toBe(1)
  expect((await connectBy(leaked, 'scout', postern)).code).toBe(0x86)
  // A mistake of the operator is undone by the next set.
  await withdraw(postern, both)
  expect((await connectBy(leaked, 'scout', postern)).code).toBe(0)
})

test('KEY-06 a set that cannot be used withdraws nothing', async () => {
  const postern = await posternWith({ onWithdrawnKey: 'cut' })
  const { client } = await connectBy(leaked, 'scout', postern)
  await withdraw(postern, [])
  await client.ping()
})

test('KEY-06 without the option live connections go on', async () => {
  const postern = await posternWith({})
  const { client } = await connectBy(leaked, 'scout', postern)
  await withdraw(postern, [good.jwk])
  await client.ping()
  client.send(publish({ topic: 'a2a/v1/notes/scout/a', qos: 1 }))
  expect((await client.next('puback')).reasonCode ?? 0).toBeLessThan(0x80)
  expect((await connectBy(leaked, 'scout', postern)).code).toBe(0x86)
})

test('KEY-06 of a key set by URL as well, when it is fetched again', async () => {
  const server = await new JwksServer(both).listen()
  try {
    const postern = await posternWith({
      onWithdrawnKey: 'cut',
      jwks: { url: server.url, cacheAge: '10m', staleAge: '1h' },
    })
    const { client } = await connectBy(leaked, 'scout', postern)
    server.behaviour = 'error'
    await postern.app.reload()
    await client.ping()
    server.behaviour = 'ok'
    server.keys = [good.jwk]
    await postern.app.reload()
    expect((await client.next('disconnect')).reasonCode).toBe(0x98)
  } finally {
    await server.close()
  }
})
