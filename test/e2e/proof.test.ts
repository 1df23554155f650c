// Tokens that are bound to a key, through the whole path: the challenge by enhanced authentication. Ids:
// identity-standards.md 13.5 (POP).
import { createHash, generateKeyPairSync, type JsonWebKey } from 'node:crypto'
import { calculateJwkThumbprint, importJWK, SignJWT } from 'jose'
import mqtt, { type MqttClient } from 'mqtt'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { answerChallenge, prove } from '../../src/agent/proof.ts'
import { docExample } from '../support/doc-example.ts'
import { auth, connect, disconnect, PINGREQ, prop, publish } from '../support/frames.ts'
import type { PacketOf } from '../support/packet-inbox.ts'
import type { TestPostern } from '../support/postern.ts'
import type { RawClient } from '../support/raw-client.ts'
import { openStage, type Stage } from '../support/stage.ts'
import { TEST_AUDIENCE } from '../support/tokens.ts'

const METHOD = 'POSTERN-DPOP'
const PROVING = { config: { proof: { dpop: 'draft-nandakumar-moq-generic-dpop-proof-00' } } }
let stage: Stage
let key: { privateKey: JsonWebKey; jkt: string }

async function newKey(type: 'ec' | 'ed25519' = 'ec'): Promise<typeof key> {
  const pair =
    type === 'ec' ? generateKeyPairSync('ec', { namedCurve: 'P-256' }) : generateKeyPairSync('ed25519')
  const privateKey = pair.privateKey.export({ format: 'jwk' })
  return { privateKey, jkt: await calculateJwkThumbprint(privateKey as never) }
}

beforeAll(async () => {
  stage = await openStage(PROVING)
  key = await newKey()
})
afterAll(() => stage?.stop())

const bound = (cnf: unknown = { jkt: key.jkt }, postern = stage.postern): Promise<string> =>
  stage.token('scout', { claims: { cnf } }, postern)
const withData = (data: string | Buffer, method = METHOD): Buffer[] => [
  prop.authenticationMethod(method),
  prop.authenticationData(data),
]

/** Up to the challenge. */
async function challenged(
  token: string,
  postern: TestPostern = stage.postern,
): Promise<{ client: RawClient; nonce: Buffer }> {
  const client = await stage.socket(postern)
  client.send(connect({ properties: withData(token) }))
  const packet = await client.next('auth')
  expect(packet).toMatchObject({ reasonCode: 0x18, properties: { authenticationMethod: METHOD } })
  return { client, nonce: packet.properties!.authenticationData! }
}

function proofFor(token: string, nonce: Buffer, who = key): Buffer {
  const { clock } = stage.postern
  const options = { privateKey: who.privateKey, token, audience: TEST_AUDIENCE, clientId: 'scout' }
  return prove({ ...options, now: () => clock.now() }, nonce)
}

async function answered(client: RawClient, proof: Buffer | string): Promise<PacketOf<'connack'>> {
  client.send(auth(0x18, withData(proof)))
  return client.next('connack')
}

const lastReason = async (): Promise<string | undefined> =>
  (await stage.postern.records()).findLast((record) => record.action === 'connect')?.reason

describe('POP-03 a token with cnf.jkt', () => {
  test('is challenged with a nonce of 32 bytes, and taken with a proof of its key', async () => {
    const token = await bound()
    const before = stage.relay.sessions.length
    const { client, nonce } = await challenged(token)
    expect(Buffer.from(nonce.toString(), 'base64url').length).toBe(32)
    expect(stage.relay.sessions.length).toBe(before)
    expect(await answered(client, proofFor(token, nonce))).toMatchObject({
      reasonCode: 0,
      properties: { authenticationMethod: METHOD },
    })
    client.send(publish({ topic: 'a2a/v1/notes/scout/a', qos: 1 }))
    expect((await client.next('puback')).reasonCode ?? 0).toBeLessThan(0x80)
    const sent = stage.relay.sessions.at(-1)!.toBroker.bytes
    expect(sent.includes(METHOD)).toBe(false)
  })

  test('with an Ed25519 key as well', async () => {
    const other = await newKey('ed25519')
    const token = await bound({ jkt: other.jkt })
    const { client, nonce } = await challenged(token)
    expect(await answered(client, proofFor(token, nonce, other))).toMatchObject({ reasonCode: 0 })
  })

  test('a copied token without its key is useless', async () => {
    const token = await bound()
    const thief = await newKey()
    const { client, nonce } = await challenged(token)
    expect(await answered(client, proofFor(token, nonce, thief))).toMatchObject({ reasonCode: 0x87 })
    expect(await lastReason()).toBe('proof_failed')
    // As a bearer token, by whatever way.
    const byPassword = await stage.socket()
    byPassword.send(connect({ password: token }))
    expect(await byPassword.next('connack')).toMatchObject({ reasonCode: 0x87 })
    const asBearer = await stage.socket()
    asBearer.send(connect({ properties: withData(token, 'OAUTH2-JWT') }))
    expect(await asBearer.next('connack')).toMatchObject({ reasonCode: 0x87 })
    expect(await lastReason()).toBe('proof_required')
  })

  test('a proof that was seen on one connection is of no use on another', async () => {
    const token = await bound()
    const first = await challenged(token)
    const proof = proofFor(token, first.nonce)
    expect(await answered(first.client, proof)).toMatchObject({ reasonCode: 0 })
    const second = await challenged(token)
    expect(await answered(second.client, proof)).toMatchObject({ reasonCode: 0x87 })
  })

  const now = (): number => Math.floor(stage.postern.clock.now() / 1000)
  test.each<[string, (claims: Record<string, unknown>) => object, object?]>([
    ['nothing', () => ({})],
    ['another nonce', () => ({ nonce: 'x' })],
    ['no nonce', () => ({ nonce: undefined })],
    ['another token', () => ({ ath: createHash('sha256').update('x').digest('base64url') })],
    ['an old proof', () => ({ iat: now() - 60 })],
    ['a proof of the future', () => ({ iat: now() + 60 })],
    ['no time', () => ({ iat: undefined })],
    ['no jti', () => ({ jti: undefined })],
    ['no context', () => ({ actx: undefined })],
    ['the context of another protocol', ({ actx }) => ({ actx: { ...(actx as object), type: 'moq' } })],
    ['another proxy', ({ actx }) => ({ actx: { ...(actx as object), aud: 'x' } })],
    ['another Client Identifier', ({ actx }) => ({ actx: { ...(actx as object), client_id: 'x' } })],
    ['more in the context', ({ actx }) => ({ actx: { ...(actx as object), more: 1 } })],
    ['another type', () => ({}), { typ: 'dpop+jwt' }],
    ['an unknown crit', () => ({}), { crit: ['x'], x: 1 }],
  ])('altered: %s', async (what, change, header = {}) => {
    const token = await bound()
    const { client, nonce } = await challenged(token)
    const [head, body] = proofFor(token, nonce)
      .toString()
      .split('.', 2)
      .map((part) => JSON.parse(Buffer.from(part, 'base64url').toString()) as Record<string, unknown>)
    const altered = await new SignJWT({ ...body, ...change(body!) })
      .setProtectedHeader({ ...head, ...header } as never)
      .sign(await importJWK(key.privateKey as never, 'ES256'), { crit: { x: false } })
    const isGood = what === 'nothing'
    expect(await answered(client, altered)).toMatchObject({ reasonCode: isGood ? 0 : 0x87 })
    expect(await lastReason()).toBe(isGood ? 'ok' : 'proof_failed')
  })

  test.each(['', 'a.b.c', 'x'.repeat(20_000)])('no proof at all: refused', async (data) => {
    const { client } = await challenged(await bound())
    expect(await answered(client, data)).toMatchObject({ reasonCode: 0x87 })
  })

  test('REV-18 of whoever is revoked during the challenge ends refused', async () => {
    const postern = await stage.anotherPostern({
      ...PROVING,
      idp: stage.postern.issuer,
      files: { list: '[]' },
      config: { ...PROVING.config, revocation: { file: 'revocations.jsonl', listFile: 'list' } },
    })
    const token = await bound(undefined, postern)
    const { client, nonce } = await challenged(token, postern)
    const { writeFile } = await import('node:fs/promises')
    await writeFile(
      `${postern.directory}/list`,
      JSON.stringify([{ format: 'urn:postern:thumbprint', thumbprint: key.jkt }]),
    )
    await postern.app.reload()
    expect(await answered(client, proofFor(token, nonce))).toMatchObject({ reasonCode: 0x87 })
  })
})

describe('POP-01 a cnf that is not wholly understood is refused', () => {
  test.each([
    {},
    'x',
    null,
    { kid: 'k' },
    { jwk: {} },
    { jkt: 'short' },
    { jkt: 'a'.repeat(43), kid: 'k' },
    { jkt: 'a'.repeat(43), 'x5t#S256': 'b'.repeat(43) },
    { 'x5t#S256': 'b'.repeat(43) },
  ])('%j', async (cnf) => {
    const client = await stage.socket()
    client.send(connect({ properties: withData(await bound(cnf)) }))
    expect(await client.next('connack')).toMatchObject({ reasonCode: 0x87 })
    expect(await lastReason()).toBe('proof_required')
  })
})

describe('the exchange', () => {
  test('POP-06 an unknown method is CONNACK 0x8C, also ours while it is off', async () => {
    const off = await stage.anotherPostern()
    const client = await stage.socket(off)
    client.send(connect({ properties: withData(await bound(undefined, off)) }))
    expect(await client.next('connack')).toMatchObject({ reasonCode: 0x8c })
  })

  test('POP-07 a client that is silent after the challenge is closed after a time', async () => {
    const postern = await stage.anotherPostern({ ...PROVING, idp: stage.postern.issuer })
    const { client } = await challenged(await bound(undefined, postern), postern)
    postern.clock.advance(5_000)
    await client.closed()
    expect((await postern.records()).at(-1)).toMatchObject({ reason: 'connect_timeout' })
    expect(postern.app.connections).toBe(0)
  })

  test.each([
    ['PINGREQ', PINGREQ],
    ['PUBLISH', publish({ topic: 'a2a/v1/notes/scout/a' })],
    ['AUTH 0x19', auth(0x19, withData('x'))],
    ['AUTH of another method', auth(0x18, withData('x', 'OAUTH2-JWT'))],
    ['another CONNECT', connect({ password: 'a.b.c' })],
  ])('%s in place of the proof is CONNACK 0x82', async (_, bytes) => {
    const { client } = await challenged(await bound())
    client.send(bytes)
    expect(await client.next('connack')).toMatchObject({ reasonCode: 0x82 })
    await client.closed()
  })

  test('a client may leave', async () => {
    const { client } = await challenged(await bound())
    client.send(disconnect())
    expect(await client.closed()).toEqual([])
  })

  test('packets behind the proof wait for the CONNACK', async () => {
    const token = await bound()
    const { client, nonce } = await challenged(token)
    client.send(auth(0x18, withData(proofFor(token, nonce))), PINGREQ)
    expect(await client.next('connack')).toMatchObject({ reasonCode: 0 })
    await client.next('pingresp')
  })

  test('POP-08 by option an issuer’s bearer tokens are refused', async () => {
    const postern = await stage.anotherPostern({ ...PROVING, issuer: { requireProof: true } })
    const { connack } = await stage.tryConnect('scout', {}, postern)
    expect(connack.reasonCode).toBe(0x87)
    const token = await bound(undefined, postern)
    const { client, nonce } = await challenged(token, postern)
    expect(await answered(client, proofFor(token, nonce))).toMatchObject({ reasonCode: 0 })
  })

  test('EXP-02 a renewal keeps to the key: a bearer token, or one of another key, ends the session', async () => {
    const renewed = async (claims: Record<string, unknown>): Promise<number | undefined> => {
      const token = await bound()
      const { client, nonce } = await challenged(token)
      await answered(client, proofFor(token, nonce))
      client.send(auth(0x19, withData(await stage.token('scout', { claims }))))
      return ((await client.nextAny()) as PacketOf<'auth'>).reasonCode
    }
    expect(await renewed({ cnf: { jkt: key.jkt } })).toBe(0)
    expect(await renewed({})).toBe(0x87)
    expect(await renewed({ cnf: { jkt: (await newKey()).jkt } })).toBe(0x87)
  })
})

test('POP-03 the example of docs/identity.md connects MQTT.js', async () => {
  const given = {
    ...{
      mqtt,
      answerChallenge,
      url: `mqtt://${stage.postern.host}:${stage.postern.port}`,
      clientId: 'scout',
    },
    ...{ token: await bound(), privateKey: key.privateKey, audience: TEST_AUDIENCE },
  }
  const client = docExample('docs/identity.md', "'postern/agent'", given, 'client') as MqttClient
  await new Promise((resolve, reject) => {
    client.once('connect', resolve)
    client.once('error', reject)
  })
  await client.endAsync()
})
