// Agents that hold no credential: Postern has their token, renews it, and they act under its identity. With a real
// Mosquitto, and a token endpoint over HTTP.
import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import mqtt from 'mqtt'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { type Broker, startMosquitto } from '../../src/dev/mosquitto.ts'
import { auth, connect, prop, publish, subscribe } from '../support/frames.ts'
import { Observer } from '../support/observer.ts'
import { type PosternOptions, startPostern, type TestPostern } from '../support/postern.ts'
import { RawClient } from '../support/raw-client.ts'
import { SCOUT_SECRET, STS_AUDIENCE, STS_ISSUER, TestSts } from '../support/sts.ts'
import { TestIssuer } from '../support/tokens.ts'
import { TravelClock } from '../support/travel-clock.ts'

const POLICY = `version: 1
agents:
  - { id: notes, allow: publish+subscribe, topic: "notes/{agent_id}/#" }
users:
  - { id: all, allow: publish+subscribe, topic: "notes/#" }
`
const LONG = { lifetimeMs: 600_000 }
let broker: Broker
let observer: Observer
const open: { stop(): Promise<void> }[] = []

beforeAll(async () => {
  broker = await startMosquitto()
  observer = await Observer.open(broker)
})
afterAll(async () => {
  await observer?.close()
  await broker?.stop()
})
afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one.stop()
})

interface Sidecar {
  postern: TestPostern
  idp: TestIssuer
  clock: TravelClock
  /** Another token into the file, as a careful program puts it there. */
  put(token: string): void
}

/** A listener whose agents bring nothing, with the token in a file; `undefined`: no file. */
async function sidecar(
  makeToken: (idp: TestIssuer) => Promise<string> | undefined = (idp) => idp.mint({}, LONG),
  options: Partial<PosternOptions> = {},
): Promise<Sidecar> {
  const clock = new TravelClock()
  const idp = await TestIssuer.create(clock)
  const token = await makeToken(idp)
  const postern = await startPostern({
    broker,
    policy: POLICY,
    idp,
    clock,
    files: token === undefined ? {} : { token: `${token}\n` },
    ...options,
    config: {
      listeners: [
        {
          name: 'agents',
          address: '127.0.0.1:0',
          credentials: 'broker',
          credentialSource: { tokenFile: 'token' },
        },
      ],
      ...options.config,
    },
  })
  open.push(postern)
  const put = (next: string): void => {
    writeFileSync(join(postern.directory, 'token.new'), next)
    renameSync(join(postern.directory, 'token.new'), join(postern.directory, 'token'))
  }
  return { postern, idp, clock, put }
}

async function raw(postern: TestPostern, options: Parameters<typeof connect>[0] = {}): Promise<RawClient> {
  const client = await RawClient.open({ port: postern.port })
  client.send(connect({ clientId: 'scout', ...options }))
  return client
}

async function connected(postern: TestPostern): Promise<RawClient> {
  const client = await raw(postern)
  expect(await client.next('connack')).toMatchObject({ reasonCode: 0 })
  return client
}

async function reasons(postern: TestPostern, action: string): Promise<string[]> {
  return (await postern.records()).filter((record) => record.action === action).map(({ reason }) => reason)
}

describe('an agent without a credential', () => {
  it('DEL-14 publishes under the identity of the token that Postern holds', async () => {
    const { postern } = await sidecar()
    const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${postern.port}`, {
      protocolVersion: 5,
      clientId: 'scout',
      reconnectPeriod: 0,
    })
    await client.publishAsync('notes/scout/1', 'mine', { qos: 1 })
    const foreign = client.publishAsync('notes/analyst/1', 'not mine', { qos: 1 })
    await expect(foreign).rejects.toMatchObject({ code: 0x87 })
    await client.endAsync()
    expect(await observer.messages()).toEqual(['notes/scout/1 mine'])
    const published = (await postern.records()).filter(({ action }) => action === 'publish')
    expect(published).toMatchObject([
      {
        decision: 'allow',
        identity: { agent: { sub: 'scout' }, human: { sub: 'alice', via: 'delegation' } },
      },
      { decision: 'deny' },
    ])
    const token = readFileSync(join(postern.directory, 'token'), 'utf8').trim()
    const told = JSON.stringify([await postern.records(), postern.log])
    expect(told).not.toContain(token)
    expect(told).not.toContain(token.split('.')[2])
  })

  it.each([
    ['a Password', { password: 'x' }, 0x86],
    ['an empty Password', { password: '' }, 0x86],
    ['User Name and Password', { userName: 'jwt', password: 'x' }, 0x86],
    [
      'a method',
      { properties: [prop.authenticationMethod('OAUTH2-JWT'), prop.authenticationData('x')] },
      0x87,
    ],
  ])('DEL-14 %s is refused, also a good token', async (_, fields, code) => {
    const { postern, idp } = await sidecar()
    const token = await idp.mint()
    const given = 'password' in fields && fields.password === 'x' ? { ...fields, password: token } : fields
    const client = await raw(postern, given)
    expect(await client.next('connack')).toMatchObject({ reasonCode: code })
    expect(await reasons(postern, 'connect')).toEqual(['unexpected_credential'])
  })

  it('DEL-14 a User Name is only a name; another Client Identifier is refused', async () => {
    const { postern } = await sidecar()
    const named = await raw(postern, { userName: 'scout' })
    expect(await named.next('connack')).toMatchObject({ reasonCode: 0 })
    const other = await raw(postern, { clientId: 'analyst' })
    expect(await other.next('connack')).toMatchObject({ reasonCode: 0x85 })
  })

  it('DEL-14 it cannot bring a token later either', async () => {
    const { postern, idp } = await sidecar()
    const client = await connected(postern)
    client.send(publish({ topic: '$postern/token', qos: 1, packetId: 7, payload: await idp.mint() }))
    expect(await client.next('puback')).toMatchObject({ reasonCode: 0x87 })
    expect(await reasons(postern, 'renew')).toEqual(['unexpected_credential'])
    client.send(auth(0x19, [prop.authenticationMethod('OAUTH2-JWT')]))
    expect(await client.next('disconnect')).toMatchObject({ reasonCode: 0x82 })
  })

  it('DEL-14 on another listener of the same process agents bring their own', async () => {
    const { postern, idp } = await sidecar(undefined, {
      config: {
        listeners: [
          { name: 'own', address: '127.0.0.1:0' },
          {
            name: 'held',
            address: '127.0.0.1:0',
            credentials: 'broker',
            credentialSource: { tokenFile: 'token' },
          },
        ],
      },
    })
    const without = await raw(postern)
    expect(await without.next('connack')).toMatchObject({ reasonCode: 0x87 })
    const own = await raw(postern, { password: await idp.mint({ sub: 'bob' }) })
    expect(await own.next('connack')).toMatchObject({ reasonCode: 0 })
  })
})

describe('a fresh token', () => {
  it('DEL-14 in the file renews the live sessions, wider or narrower, and moves their end', async () => {
    const { postern, idp, clock, put } = await sidecar()
    const client = await connected(postern)
    client.send(subscribe({ filters: [['notes/scout/#', 1]] }))
    expect(await client.next('suback')).toMatchObject({ granted: [1] })
    clock.advance(500_000)
    const acl = [{ permission: 'allow', action: 'publish', topic: 'notes/scout/1' }]
    put(await idp.mint({ acl }, LONG))
    await expect.poll(() => reasons(postern, 'renew')).toEqual(['ok'])
    expect((await postern.records()).find(({ action }) => action === 'renew')).toMatchObject({
      effect: 'taken',
      detail: 'broker',
    })
    // Past the end of the first token and its leeway.
    clock.advance(200_000)
    await client.ping()
    client.send(publish({ topic: 'notes/scout/1', qos: 1, packetId: 1, payload: 'a' }))
    expect(await client.next('puback')).toMatchObject({ reasonCode: 0 })
    client.send(publish({ topic: 'notes/scout/2', qos: 1, packetId: 2, payload: 'b' }))
    expect(await client.next('puback')).toMatchObject({ reasonCode: 0x87 })
    await observer.client.publishAsync('notes/scout/2', 'no longer for scout', { qos: 1 })
    await client.ping()
    // The last one ends too.
    clock.advance(440_000)
    expect(await client.next('disconnect')).toMatchObject({ reasonCode: 0x87 })
    expect(await reasons(postern, 'disconnect')).toEqual(['expired'])
  })

  it('DEL-14 of another human ends the sessions; who connects then acts for that one', async () => {
    const { postern, idp, put } = await sidecar()
    const client = await connected(postern)
    put(await idp.mint({ sub: 'bob' }, LONG))
    expect(await client.next('disconnect')).toMatchObject({ reasonCode: 0x87 })
    expect(await reasons(postern, 'renew')).toEqual(['identity_changed'])
    await connected(postern)
    expect((await postern.records()).at(-1)).toMatchObject({ identity: { human: { sub: 'bob' } } })
  })

  it('DEL-14 that Postern itself would refuse is not put in place of a good one', async () => {
    const { postern, idp, put } = await sidecar()
    const client = await connected(postern)
    put(await idp.mint({ aud: 'https://elsewhere.example' }))
    await expect.poll(() => postern.metric('postern_credentials_total{result="failed"}')).toBeGreaterThan(0)
    expect(postern.log.at(-1)).toMatchObject({
      level: 'warn',
      fields: { listener: 'agents', reason: 'wrong_audience' },
    })
    await client.ping()
    await connected(postern)
    put(await idp.mint({}, LONG))
    await expect.poll(() => reasons(postern, 'renew')).toEqual(['ok'])
  })
})

describe('no token', () => {
  it('DEL-14 CONNACK 0x88, not ready, counted; as soon as there is one agents are let in', async () => {
    const { postern, idp, put } = await sidecar(() => undefined)
    expect(postern.app.ready).toBe(false)
    const ready = await fetch(`${postern.app.adminUrl}/readyz`)
    expect(await ready.text()).toContain('No good token for the agents of agents.')
    expect(await (await raw(postern)).next('connack')).toMatchObject({ reasonCode: 0x88 })
    expect(await reasons(postern, 'connect')).toEqual(['credential_unavailable'])
    expect(await postern.metric('postern_credentials_total{result="failed"}')).toBe(1)
    put(await idp.mint({}, LONG))
    await expect.poll(() => postern.app.ready).toBe(true)
    await connected(postern)
    const left = await postern.metric('postern_credential_remaining_seconds{listener="agents"}')
    expect(left).toBeGreaterThan(500)
  })

  it('DEL-14 one that has ended opens no connection', async () => {
    const { postern, clock } = await sidecar()
    clock.advance(601_000)
    expect(await (await raw(postern)).next('connack')).toMatchObject({ reasonCode: 0x88 })
    expect(postern.app.ready).toBe(false)
  })
})

describe('a token endpoint', () => {
  /** Postern asks `postern sts` for its agent's tokens, with an ID-JAG in a file. */
  async function withSts(client: Record<string, unknown>, files: Record<string, string>): Promise<Sidecar> {
    const sts = await TestSts.start()
    open.push({ stop: () => sts.remove() })
    const idp = sts.idp.issuer
    const clientId = client['clientKeyFile'] === undefined ? 'scout-client' : 'analyst-client'
    const jag = (): Promise<string> => sts.idp.jag({ client_id: clientId })
    const clock = new TravelClock()
    const postern = await startPostern({
      broker,
      policy: POLICY,
      clock,
      issuer: {
        issuer: STS_ISSUER,
        audience: STS_AUDIENCE,
        jwks: { url: `${sts.url}/.well-known/jwks.json`, cacheAge: '24h', staleAge: '48h' },
      },
      files: { 'jag.jwt': await jag(), 'analyst.json': sts.analyst.privateJwk, ...files },
      config: {
        listeners: [
          {
            name: 'agents',
            address: '127.0.0.1:0',
            credentials: 'broker',
            credentialSource: {
              tokenEndpoint: { url: `${sts.url}/token`, assertionFile: 'jag.jwt', clientId, ...client },
            },
          },
        ],
      },
    })
    open.push(postern)
    const advance = clock.advance.bind(clock)
    clock.advance = (ms) => {
      sts.clock.advance(ms)
      advance(ms)
    }
    const put = (text: string): void => writeFileSync(join(postern.directory, 'jag.jwt'), text)
    return { postern, idp, clock, put, jag, sts } as Sidecar & { jag: typeof jag; sts: TestSts }
  }

  it('DEL-13, DEL-14 the agent publishes with the word of the provider and no credential at all', async () => {
    const secret = { clientSecretFile: 'secret' }
    const { postern, put, clock, jag, sts } = (await withSts(secret, { secret: SCOUT_SECRET })) as Sidecar & {
      jag(): Promise<string>
      sts: TestSts
    }
    const client = await connected(postern)
    client.send(publish({ topic: 'notes/scout/1', qos: 1, packetId: 1, payload: 'a' }))
    expect(await client.next('puback')).toMatchObject({ reasonCode: 0 })
    expect((await postern.records()).at(-1)).toMatchObject({
      identity: { agent: { iss: STS_ISSUER, sub: 'scout' }, human: { iss: STS_ISSUER, sub: 'alice' } },
    })
    // A fresh assertion is exchanged at once, and renews the session.
    put(await jag())
    await expect.poll(() => reasons(postern, 'renew')).toEqual(['ok'])
    // Two thirds of the token's time: it is asked anew, and the used assertion is refused.
    clock.advance(201_000)
    await expect.poll(() => postern.metric('postern_credentials_total{result="failed"}')).toBe(1)
    expect(postern.log.findLast(({ level }) => level === 'warn')?.fields).toMatchObject({
      listener: 'agents',
      reason: 'refused',
      detail: '400 invalid_grant',
    })
    expect(sts.lastReason).toBe('replayed')
    await client.ping()
    // Nothing better comes: the session ends with its token.
    clock.advance(130_000)
    expect(await client.next('disconnect')).toMatchObject({ reasonCode: 0x87 })
    expect(postern.app.ready).toBe(false)
    put(await jag())
    await expect.poll(() => postern.app.ready).toBe(true)
    await connected(postern)
  })

  it('DEL-14 Postern authenticates with a key', async () => {
    const { postern } = await withSts({ clientKeyFile: 'analyst.json', audience: STS_ISSUER }, {})
    const client = await raw(postern, { clientId: 'analyst' })
    expect(await client.next('connack')).toMatchObject({ reasonCode: 0 })
  })
})
