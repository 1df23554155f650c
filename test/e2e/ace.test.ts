// RFC 9431's method `ace` through the whole path, with a real TLS stack and a real broker. Id: POP-05.
import { generateKeyPairSync, type JsonWebKey, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import type { ConnectionOptions, TLSSocket } from 'node:tls'
import { CompactEncrypt } from 'jose'
import mqtt, { type MqttClient } from 'mqtt'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type AceKey, aceData, answerAce, answerNonce, proveByExporter } from '../../src/agent/ace.ts'
import { selfSigned } from '../support/certificate.ts'
import { docExample } from '../support/doc-example.ts'
import { auth, type ConnectOptions, connect, PINGREQ, prop, publish } from '../support/frames.ts'
import type { PacketOf } from '../support/packet-inbox.ts'
import type { TestPostern } from '../support/postern.ts'
import { RawClient } from '../support/raw-client.ts'
import { openStage, type Stage } from '../support/stage.ts'

interface Holder {
  key: AceKey
  cnf: object
}

const wrapping = randomBytes(32)
const jwk = { kty: 'oct', k: wrapping.toString('base64url'), alg: 'A256KW', kid: 'postern' }
let stage: Stage
let postern: TestPostern
let ed25519: Holder
let hs256: Holder
const clients: RawClient[] = []

function newEd25519(): Holder {
  const pair = generateKeyPairSync('ed25519')
  return {
    key: pair.privateKey.export({ format: 'jwk' }),
    cnf: { jwk: pair.publicKey.export({ format: 'jwk' }) },
  }
}

async function newHs256(): Promise<Holder> {
  const key = randomBytes(32)
  const text = JSON.stringify({ kty: 'oct', k: key.toString('base64url'), alg: 'HS256' })
  const header = { alg: 'A256KW', enc: 'A128GCM', kid: 'postern' }
  return {
    key,
    cnf: { jwe: await new CompactEncrypt(Buffer.from(text)).setProtectedHeader(header).encrypt(wrapping) },
  }
}

beforeAll(async () => {
  stage = await openStage()
  const server = selfSigned('postern')
  postern = await stage.anotherPostern({
    files: { 'cert.pem': server.cert, 'key.pem': server.key, 'ace.json': JSON.stringify({ keys: [jwk] }) },
    config: {
      listeners: [
        { name: 'agents', address: '127.0.0.1:0', tls: { certFile: 'cert.pem', keyFile: 'key.pem' } },
      ],
      proof: { ace: true, aceKeysFile: 'ace.json' },
    },
  })
  ed25519 = newEd25519()
  hs256 = await newHs256()
})
afterAll(async () => {
  for (const client of clients) client.destroy()
  await stage?.stop()
})

const holders = ['Ed25519', 'HS256'] as const
const holder = (alg: (typeof holders)[number]): Holder => (alg === 'HS256' ? hs256 : ed25519)

async function open(tls: ConnectionOptions = {}): Promise<RawClient> {
  const client = await RawClient.open({ port: postern.port, tls })
  clients.push(client)
  return client
}

const token = (cnf?: object, who: { user?: string; lifetimeMs?: number } = {}): Promise<string> =>
  stage.token('scout', { ...who, ...(cnf === undefined ? {} : { claims: { cnf } }) }, postern)

const withAce = (data: Buffer): Buffer[] => [prop.authenticationMethod('ace'), prop.authenticationData(data)]

function sendConnect(client: RawClient, data: Buffer, options: ConnectOptions = {}): void {
  client.send(connect({ properties: withAce(data), ...options }))
}

async function challenged(client: RawClient, data: Buffer): Promise<Buffer> {
  sendConnect(client, data)
  const packet = await client.next('auth')
  expect(packet).toMatchObject({ reasonCode: 0x18, properties: { authenticationMethod: 'ace' } })
  return packet.properties!.authenticationData!
}

async function answered(client: RawClient, answer: Buffer): Promise<number | undefined> {
  client.send(auth(0x18, withAce(answer)))
  return (await client.next('connack')).reasonCode
}

/** Connected by the challenge form. */
async function connected(who: Holder, lifetimeMs?: number): Promise<RawClient> {
  const client = await open()
  const bound = await token(who.cnf, lifetimeMs === undefined ? {} : { lifetimeMs })
  const nonce = await challenged(client, aceData(bound))
  expect(await answered(client, answerNonce(who.key, nonce))).toBe(0)
  return client
}

async function exporterForm(
  client: RawClient,
  who: Holder,
  socket: RawClient = client,
): Promise<PacketOf<'connack'>> {
  const proof = proveByExporter(who.key, socket.socket as TLSSocket)
  sendConnect(client, aceData(await token(who.cnf), proof))
  return client.next('connack')
}

const lastReason = async (action = 'connect'): Promise<string | undefined> =>
  (await postern.records()).findLast((record) => record.action === action)?.reason

describe('POP-05 the challenge form', () => {
  test.each(holders)('%s: a nonce of 8 bytes, an answer, CONNACK 0 with the method', async (alg) => {
    const client = await open()
    const before = stage.relay.sessions.length
    const nonce = await challenged(client, aceData(await token(holder(alg).cnf)))
    expect(nonce.length).toBe(8)
    expect(stage.relay.sessions.length).toBe(before)
    client.send(auth(0x18, withAce(answerNonce(holder(alg).key, nonce))), PINGREQ)
    expect(await client.next('connack')).toMatchObject({
      reasonCode: 0,
      properties: { authenticationMethod: 'ace' },
    })
    await client.next('pingresp')
    client.send(publish({ topic: 'a2a/v1/notes/scout/a', qos: 1 }))
    expect((await client.next('puback')).reasonCode ?? 0).toBeLessThan(0x80)
    expect(stage.relay.sessions.at(-1)!.toBroker.bytes.includes('ace')).toBe(false)
  })

  test.each(holders)('%s: a copied token without its key is useless', async (alg) => {
    const thief = alg === 'HS256' ? await newHs256() : newEd25519()
    const client = await open()
    const nonce = await challenged(client, aceData(await token(holder(alg).cnf)))
    expect(await answered(client, answerNonce(thief.key, nonce))).toBe(0x87)
    expect(await lastReason()).toBe('proof_failed')
  })

  test('an answer for another connection, a short one and none are refused', async () => {
    const data = aceData(await token(ed25519.cnf))
    const [first, second] = [await open(), await open()]
    const answer = answerNonce(ed25519.key, await challenged(first, data))
    await challenged(second, data)
    expect(await answered(second, answer)).toBe(0x87)
    for (const wrong of [randomBytes(8), Buffer.alloc(0)]) {
      const client = await open()
      await challenged(client, data)
      expect(await answered(client, wrong)).toBe(0x87)
    }
  })

  test('the example of docs/identity.md connects MQTT.js', async () => {
    const verbatim = {
      ...mqtt,
      connect: (url: string, options: object) => mqtt.connect(url, { ...options, rejectUnauthorized: false }),
    }
    const given = {
      ...{ mqtt: verbatim, aceData, answerAce, url: `mqtts://127.0.0.1:${postern.port}`, clientId: 'scout' },
      ...{ token: await token(hs256.cnf), key: hs256.key },
    }
    const client = docExample('docs/identity.md', "'postern/agent/ace'", given, 'client') as MqttClient
    await new Promise((resolve, reject) => {
      client.once('connect', resolve)
      client.once('error', reject)
    })
    await client.endAsync()
  })
})

describe('POP-05 the exporter form', () => {
  test.each(holders)('%s: one packet under TLS 1.3', async (alg) => {
    expect(await exporterForm(await open(), holder(alg))).toMatchObject({
      reasonCode: 0,
      properties: { authenticationMethod: 'ace' },
    })
  })

  test('the value of another connection is refused: a relay gains nothing', async () => {
    expect((await exporterForm(await open(), ed25519, await open())).reasonCode).toBe(0x87)
    expect(await lastReason()).toBe('proof_failed')
  })

  test('under TLS 1.2 it is refused, and the challenge form is not', async () => {
    const old = { maxVersion: 'TLSv1.2' } as const
    expect((await exporterForm(await open(old), ed25519)).reasonCode).toBe(0x87)
    const client = await open(old)
    const nonce = await challenged(client, aceData(await token(ed25519.cnf)))
    expect(await answered(client, answerNonce(ed25519.key, nonce))).toBe(0)
  })

  test('on a resumed session it is refused, and the challenge form is not', async () => {
    const first = await open()
    const [session] = (await once(first.socket, 'session')) as [Buffer]
    const resumed = await open({ session })
    expect((resumed.socket as TLSSocket).isSessionReused()).toBe(true)
    expect((await exporterForm(resumed, ed25519)).reasonCode).toBe(0x87)
    const again = await open({ session })
    const nonce = await challenged(again, aceData(await token(ed25519.cnf)))
    expect(await answered(again, answerNonce(ed25519.key, nonce))).toBe(0)
  })

  test('without TLS there is no value to sign', async () => {
    const plain = await stage.anotherPostern({ config: { proof: { ace: true } } })
    const client = await stage.socket(plain)
    const bound = await stage.token('scout', { claims: { cnf: ed25519.cnf } }, plain)
    client.send(connect({ properties: withAce(aceData(bound, randomBytes(64))) }))
    expect((await client.next('connack')).reasonCode).toBe(0x87)
  })
})

describe('POP-05 refused with the code that fits', () => {
  const bare = { token: '' }
  test.each<[string, () => Promise<Buffer>, ConnectOptions, number, string]>([
    ['a User Name', async () => aceData(await token(ed25519.cnf)), { userName: 'u' }, 0x87, 'ace_malformed'],
    ['a Password', async () => aceData(await token(ed25519.cnf)), { password: 'p' }, 0x87, 'ace_malformed'],
    ['no length', async () => Buffer.from(await token(ed25519.cnf)), {}, 0x87, 'ace_malformed'],
    ['a length without token', async () => Buffer.from([0, 9]), {}, 0x87, 'ace_malformed'],
    ['no token', async () => aceData(bare.token), {}, 0x87, 'ace_malformed'],
    ['no JWT', async () => aceData('x'), {}, 0x87, 'malformed_token'],
    ['a bearer token', () => token().then((it) => aceData(it)), {}, 0x87, 'proof_required'],
    [
      'a key by its thumbprint',
      () => token({ jkt: 'a'.repeat(43) }).then((it) => aceData(it)),
      {},
      0x87,
      'proof_required',
    ],
    ['a key by a name', () => token({ kid: 'k' }).then((it) => aceData(it)), {}, 0x87, 'proof_required'],
    [
      'alg none',
      () =>
        token({ jwk: { ...(ed25519.cnf as { jwk: JsonWebKey }).jwk, alg: 'none' } }).then((it) =>
          aceData(it),
        ),
      {},
      0x87,
      'proof_required',
    ],
    [
      'a secret in the clear',
      () => token({ jwk: { kty: 'oct', k: 'A'.repeat(43) } }).then((it) => aceData(it)),
      {},
      0x87,
      'proof_required',
    ],
  ])('%s', async (_, data, options, code, reason) => {
    const client = await open()
    sendConnect(client, await data(), options)
    expect((await client.next('connack')).reasonCode).toBe(code)
    expect(await lastReason()).toBe(reason)
  })

  test('no Authentication Data: 0x87; the method where it is off: 0x8C', async () => {
    const client = await open()
    client.send(connect({ properties: [prop.authenticationMethod('ace')] }))
    expect((await client.next('connack')).reasonCode).toBe(0x87)
    const without = await stage.socket()
    without.send(connect({ properties: withAce(aceData('a.b.c')) }))
    expect((await without.next('connack')).reasonCode).toBe(0x8c)
  })

  test('POP-01 its tokens are no bearer’s', async () => {
    for (const who of [ed25519, hs256]) {
      const client = await open()
      client.send(connect({ password: await token(who.cnf) }))
      expect((await client.next('connack')).reasonCode).toBe(0x87)
      expect(await lastReason()).toBe('proof_required')
    }
  })
})

describe('POP-05 EXP-02 re-authentication', () => {
  test.each(holders)('%s: a fresh token and its key are proved by a challenge', async (alg) => {
    const client = await connected(holder(alg), 60_000)
    const fresh = alg === 'HS256' ? newEd25519() : holder(alg)
    client.send(auth(0x19, withAce(aceData(await token(fresh.cnf)))))
    const packet = await client.next('auth')
    expect(packet).toMatchObject({ reasonCode: 0x18, properties: { authenticationMethod: 'ace' } })
    // Packets go on under the former rights meanwhile.
    await client.ping()
    const nonce = packet.properties!.authenticationData!
    expect(nonce.length).toBe(8)
    client.send(auth(0x18, withAce(answerNonce(fresh.key, nonce))))
    expect(await client.next('auth')).toMatchObject({
      reasonCode: 0,
      properties: { authenticationMethod: 'ace' },
    })
    expect(await lastReason('renew')).toBe('ok')
    await client.ping()
  })

  test('by the exporter form: DISCONNECT 0x87', async () => {
    const client = await connected(ed25519)
    const proof = proveByExporter(ed25519.key, client.socket as TLSSocket)
    client.send(auth(0x19, withAce(aceData(await token(ed25519.cnf), proof))))
    expect((await client.next('disconnect')).reasonCode).toBe(0x87)
    expect(await lastReason('renew')).toBe('proof_failed')
  })

  test.each<[string, () => Promise<Buffer>, string]>([
    ['a bearer token', () => token().then((it) => aceData(it)), 'proof_required'],
    [
      'the token of another human',
      () => token(ed25519.cnf, { user: 'u2' }).then((it) => aceData(it)),
      'identity_changed',
    ],
    ['no length', () => token(ed25519.cnf).then((it) => Buffer.from(it)), 'ace_malformed'],
  ])('with %s: DISCONNECT 0x87', async (_, data, reason) => {
    const client = await connected(ed25519)
    client.send(auth(0x19, withAce(await data())))
    expect((await client.next('disconnect')).reasonCode).toBe(0x87)
    expect(await lastReason('renew')).toBe(reason)
  })

  test('a wrong answer ends the session with 0x87, a second AUTH 0x19 in its place with 0x82', async () => {
    const begun = async (): Promise<RawClient> => {
      const client = await connected(ed25519)
      client.send(auth(0x19, withAce(aceData(await token(ed25519.cnf)))))
      await client.next('auth')
      return client
    }
    const wrong = await begun()
    wrong.send(auth(0x18, withAce(answerNonce(newEd25519().key, randomBytes(8)))))
    expect((await wrong.next('disconnect')).reasonCode).toBe(0x87)
    const second = await begun()
    second.send(auth(0x19, withAce(aceData(await token(ed25519.cnf)))))
    expect((await second.next('disconnect')).reasonCode).toBe(0x82)
  })
})
