// Several replicas and one store: what one is told, all do. A real Redis, real Mosquitto. Ids: identity-standards.md 13.7.
import { execFileSync } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { auth, connect, prop } from '../support/frames.ts'
import type { TestPostern } from '../support/postern.ts'
import type { RawClient } from '../support/raw-client.ts'
import { Redis } from '../support/redis.ts'
import { openStage, type Stage, type StageOptions } from '../support/stage.ts'
import { TEST_ISSUER } from '../support/tokens.ts'

const SECRET = 'a-secret-of-the-operator'
let stage: Stage
let redis: Redis
let directory: string
let prefixes = 0
let prefix = ''
const started: TestPostern[] = []

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'postern-store-'))
  redis = await Redis.start()
  stage = await openStage()
})
/** Each test has keys of its own. */
beforeEach(() => {
  prefix = `test-${++prefixes}:`
})
afterEach(async () => {
  for (const postern of started.splice(0)) await postern.stop()
})
afterAll(async () => {
  await stage?.stop()
  await redis?.remove()
  await rm(directory, { recursive: true, force: true })
})

async function replica(store: object = {}, more: StageOptions = {}): Promise<TestPostern> {
  const { issuer: idp, clock } = stage.postern
  const postern = await stage.anotherPostern({
    idp,
    clock,
    files: { secret: SECRET },
    config: {
      clientId: { binding: 'prefix', separator: '~' },
      revocation: {
        file: 'revocations.jsonl',
        secretFile: 'secret',
        ...(more.config?.['revocation'] as object),
      },
      store: { url: redis.url, prefix, ...store },
    },
  })
  started.push(postern)
  return postern
}

async function order(postern: TestPostern, user: string, action = 'revoke'): Promise<Response> {
  return fetch(`${postern.app.adminUrl}/revocations`, {
    method: 'POST',
    headers: { authorization: `Bearer ${SECRET}`, 'content-type': 'application/json' },
    body: JSON.stringify({ sub_id: { format: 'iss_sub', iss: TEST_ISSUER, sub: user }, action }),
  })
}

async function ended(client: RawClient): Promise<number | undefined> {
  const { reasonCode } = await client.next('disconnect')
  await client.closed()
  return reasonCode
}

const up = (postern: TestPostern): Promise<number> => postern.metric('postern_store_up')
async function isDown(postern: TestPostern): Promise<void> {
  await expect.poll(() => up(postern)).toBe(0)
}
async function isUp(postern: TestPostern): Promise<void> {
  await expect.poll(() => up(postern)).toBe(1)
}

/** A CONNECT with a token of before; its Reason Code. */
async function tryToken(postern: TestPostern, token: string): Promise<number | undefined> {
  const client = await stage.socket(postern)
  client.send(connect({ clientId: 'scout', password: token }))
  return (await client.next('connack')).reasonCode
}

describe('REV-17 two replicas', () => {
  test('one call: the other cuts, keeps the tokens out, and says so', async () => {
    const [a, b] = [await replica(), await replica()]
    const token = await stage.token('scout', { user: 'u1' })
    const here = await stage.agent('scout', { user: 'u1', clientId: 'scout~a' }, a)
    const there = await stage.agent('scout', { user: 'u1', clientId: 'scout~b' }, b)
    const spared = await stage.agent('scout', { user: 'u2', clientId: 'scout~c' }, b)
    expect((await order(a, 'u1')).status).toBe(204)
    expect([await ended(here), await ended(there)]).toEqual([0x98, 0x98])
    await spared.ping()
    expect([await tryToken(a, token), await tryToken(b, token)]).toEqual([0x87, 0x87])
    const record = (await b.records()).find(({ action }) => action === 'revoke')
    expect(record).toMatchObject({
      reason: 'revoke',
      effect: '1 cut',
      cause: { source: 'store', selector: { subject: { iss: TEST_ISSUER, sub: 'u1' } } },
    })
    expect(await b.metric('postern_revocations_total{source="store",result="done"}')).toBe(1)
    // What comes back to whoever wrote it is no news.
    expect(await a.metric('postern_revocations_total{source="store",result="done"}')).toBe(0)
  })

  test('a token from an issuer whose clock is ahead is cut and kept out by both', async () => {
    const [a, b] = [await replica(), await replica()]
    const iat = Math.floor(a.clock.now() / 1000) + 9
    const token = await stage.token('scout', { user: 'u1', claims: { iat, exp: iat + 60 } })
    const there = await stage.socket(b)
    there.send(connect({ clientId: 'scout', password: token }))
    await there.next('connack')
    expect((await order(a, 'u1')).status).toBe(204)
    expect(await ended(there)).toBe(0x98)
    expect(await tryToken(b, token)).toBe(0x87)
    await expect.poll(() => tryToken(a, token)).toBe(0x87)
  })

  test('whoever is disabled by one is enabled by the other', async () => {
    const [a, b] = [await replica(), await replica()]
    expect((await order(a, 'u1', 'disable')).status).toBe(204)
    await expect
      .poll(() => stage.tryConnect('scout', { user: 'u1' }, b).then((t) => t.connack.reasonCode))
      .toBe(0x87)
    expect((await order(b, 'u1', 'enable')).status).toBe(204)
    await expect
      .poll(() => stage.tryConnect('scout', { user: 'u1' }, a).then((t) => t.connack.reasonCode))
      .toBe(0)
  })

  test('a replica that starts later knows all of it before it listens', async () => {
    const a = await replica()
    const token = await stage.token('scout', { user: 'u1' })
    expect((await order(a, 'u1')).status).toBe(204)
    expect((await order(a, 'u2', 'disable')).status).toBe(204)
    const late = await replica()
    expect(await tryToken(late, token)).toBe(0x87)
    expect((await stage.tryConnect('scout', { user: 'u2' }, late)).connack.reasonCode).toBe(0x87)
  })
})

describe('REV-17 the store is down', () => {
  test('`deny`: CONNECT is refused with 0x88, a renewal too; not ready; it recovers by itself', async () => {
    const own = await Redis.start()
    try {
      const a = await replica({ url: own.url })
      const client = await stage.socket(a)
      const data = async (): Promise<Buffer[]> => [
        prop.authenticationMethod('OAUTH2-JWT'),
        prop.authenticationData(await stage.token('scout', { user: 'u1' })),
      ]
      client.send(connect({ properties: await data() }))
      await client.next('connack')
      expect((await fetch(`${a.app.adminUrl}/readyz`)).status).toBe(200)
      await own.stop()
      await isDown(a)
      const refused = await stage.tryConnect('scout', { user: 'u3' }, a)
      expect(refused.connack).toMatchObject({
        reasonCode: 0x88,
        properties: { reasonString: 'server unavailable' },
      })
      expect((await a.records()).at(-1)).toMatchObject({ action: 'connect', reason: 'store_unavailable' })
      expect(await (await fetch(`${a.app.adminUrl}/readyz`)).json()).toMatchObject({
        ready: false,
        checks: expect.arrayContaining([
          { name: 'store', ok: false, message: 'The store that replicas share cannot be reached.' },
        ]),
      })
      // Who is connected stays, and may not prolong it.
      await client.ping()
      client.send(auth(0x19, await data()))
      expect(await ended(client)).toBe(0x89)
      expect(a.log).toContainEqual(
        expect.objectContaining({ level: 'error', message: 'the store cannot be reached' }),
      )
      await own.start()
      await isUp(a)
      await stage.agent('scout', { user: 'u3' }, a)
    } finally {
      await own.remove()
    }
  })

  test('a revocation meanwhile is 503, holds here, and reaches the others when the store is back', async () => {
    const own = await Redis.start()
    try {
      const [a, b] = [await replica({ url: own.url, onFailure: 'continue' }), await replica({ url: own.url })]
      const token = await stage.token('scout', { user: 'u1' })
      const here = await stage.agent('scout', { user: 'u1', clientId: 'scout~a' }, a)
      const there = await stage.agent('scout', { user: 'u1', clientId: 'scout~b' }, b)
      await own.stop()
      await isDown(a)
      await isDown(b)
      const answer = await order(a, 'u1')
      expect([answer.status, await answer.text()]).toEqual([
        503,
        'Done on this replica. The store cannot be reached: the other replicas do it when it is back.\n',
      ])
      expect(await ended(here)).toBe(0x98)
      // `continue`: the others come and go as before.
      await stage.agent('scout', { user: 'u2', clientId: 'scout~c' }, a)
      expect((await fetch(`${a.app.adminUrl}/readyz`)).status).toBe(200)
      await there.ping()
      await own.start()
      expect(await ended(there)).toBe(0x98)
      expect(await tryToken(b, token)).toBe(0x87)
    } finally {
      await own.remove()
    }
  })

  test('what was ordered meanwhile outlives a restart of the replica', async () => {
    const own = await Redis.start()
    const file = join(directory, 'queued.jsonl')
    try {
      const a = await replica({ url: own.url, onFailure: 'continue' }, { config: { revocation: { file } } })
      await own.stop()
      await isDown(a)
      expect((await order(a, 'u1', 'disable')).status).toBe(503)
      await a.app.stop({ withinMs: 0 })
      await own.start()
      await replica({ url: own.url }, { config: { revocation: { file } } })
      const b = await replica({ url: own.url })
      expect((await stage.tryConnect('scout', { user: 'u1' }, b)).connack.reasonCode).toBe(0x87)
    } finally {
      await own.remove()
    }
  })

  test('a server that hangs is noticed, and one that has lost its data gets it back', async () => {
    const own = await Redis.start()
    try {
      const a = await replica({ url: own.url })
      expect((await order(a, 'u1', 'disable')).status).toBe(204)
      own.freeze()
      expect((await order(a, 'u2', 'disable')).status).toBe(503)
      await isDown(a)
      own.thaw()
      await isUp(a)
      const { createClient } = await import('@redis/client')
      const admin = createClient({ url: own.url })
      await admin.connect()
      await admin.sendCommand(['FLUSHALL'])
      await expect.poll(() => admin.hLen(`${prefix}marks`)).toBe(2)
      admin.destroy()
      const b = await replica({ url: own.url })
      for (const user of ['u1', 'u2']) {
        expect((await stage.tryConnect('scout', { user }, b)).connack.reasonCode).toBe(0x87)
      }
    } finally {
      await own.remove()
    }
  })

  test('a server that has become a replica of another is no store, until it is a primary again', async () => {
    const own = await Redis.start()
    try {
      const a = await replica({ url: own.url })
      const contacts = (): number =>
        a.log.filter(({ message }) => message === 'the store is in contact').length
      const { createClient } = await import('@redis/client')
      const admin = createClient({ url: own.url }).on('error', () => {})
      await admin.connect()
      // Whoever waits there is told so; the reads of a new connection are answered, the writes are not.
      await admin.sendCommand(['REPLICAOF', '127.0.0.1', '1'])
      await expect.poll(contacts).toBe(2)
      expect((await order(a, 'u1', 'disable')).status).toBe(503)
      await isDown(a)
      await admin.sendCommand(['REPLICAOF', 'NO', 'ONE'])
      await isUp(a)
      expect(await admin.hLen(`${prefix}marks`)).toBe(1)
      admin.destroy()
    } finally {
      await own.remove()
    }
  })

  test('at the start: it listens, refuses under `deny`, and begins to serve when the store is there', async () => {
    const own = await Redis.start()
    try {
      await own.stop()
      const a = await replica({ url: own.url })
      expect((await stage.tryConnect('scout', { user: 'u1' }, a)).connack.reasonCode).toBe(0x88)
      await own.start()
      await isUp(a)
      await stage.agent('scout', { user: 'u1' }, a)
    } finally {
      await own.remove()
    }
  })
})

test('a password from a file, read again for every connection', async () => {
  const own = await Redis.start(['--requirepass', 'first-password'])
  try {
    const passwordFile = join(directory, 'password')
    await writeFile(passwordFile, 'wrong\n')
    const a = await replica({ url: own.url, passwordFile })
    expect(await up(a)).toBe(0)
    expect(a.log).toContainEqual(
      expect.objectContaining({ fields: expect.objectContaining({ why: 'it answers WRONGPASS' }) }),
    )
    await writeFile(passwordFile, 'first-password\n')
    await isUp(a)
  } finally {
    await own.remove()
  }
})

test('over TLS, with a client certificate; a server that nobody vouches for is not spoken to', async () => {
  const file = (name: string): string => join(directory, name)
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2']
  const make = (name: string): void => {
    const names = ['-subj', `/CN=${name}`, '-addext', `subjectAltName=DNS:${name}`]
    const out = ['-keyout', file(`${name}.key`), '-out', file(`${name}.pem`)]
    execFileSync('openssl', ['req', '-x509', ...curve, ...names, ...out], { stdio: 'ignore' })
  }
  for (const name of ['store.test', 'proxy.test']) make(name)
  const own = await Redis.start([
    ...['--tls-cert-file', file('store.test.pem'), '--tls-key-file', file('store.test.key')],
    ...['--tls-ca-cert-file', file('proxy.test.pem'), '--tls-auth-clients', 'yes'],
  ])
  const url = own.url.replace('redis://', 'rediss://')
  const certificate = { certFile: file('proxy.test.pem'), keyFile: file('proxy.test.key') }
  try {
    const a = await replica({
      url,
      tls: { caFile: file('store.test.pem'), serverName: 'store.test', ...certificate },
    })
    expect(await up(a)).toBe(1)
    const stranger = await replica({ url, tls: { serverName: 'store.test', ...certificate } })
    expect(await up(stranger)).toBe(0)
    const another = await replica({ url, tls: { caFile: file('store.test.pem'), ...certificate } })
    expect(await up(another)).toBe(0)
    expect(another.log).toContainEqual(
      expect.objectContaining({
        fields: expect.objectContaining({ why: 'ERR_TLS_CERT_ALTNAME_INVALID' }),
      }),
    )
  } finally {
    await own.remove()
  }
})
