// TLS at Postern's own listener, and what a token may be bound to there. Ids: identity-standards.md 13.5 (POP).
import { generateKeyPairSync, hash } from 'node:crypto'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { connect as connectTcp, type Socket } from 'node:net'
import { join } from 'node:path'
import type { ConnectionOptions, TLSSocket } from 'node:tls'
import { calculateJwkThumbprint } from 'jose'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { prove } from '../../src/agent/proof.ts'
import { type Certificate, selfSigned } from '../support/certificate.ts'
import { auth, connect, prop } from '../support/frames.ts'
import type { TestPostern } from '../support/postern.ts'
import { RawClient } from '../support/raw-client.ts'
import { openStage, type Stage, type StageOptions } from '../support/stage.ts'
import { TEST_AUDIENCE } from '../support/tokens.ts'

let stage: Stage
let postern: TestPostern
const clients: RawClient[] = []
const sockets: Socket[] = []

/** Tries until it does not reject. */
async function eventually<T>(attempt: () => Promise<T>): Promise<T> {
  for (let tries = 0; tries < 50; tries++) {
    const result = await attempt().catch(() => undefined)
    if (result !== undefined) return result
  }
  return attempt()
}

const server = selfSigned('server')
const agent = selfSigned('agent')
const other = selfSigned('other')

function withTls(tls: Record<string, unknown> = {}, more: StageOptions = {}): StageOptions {
  const settings = { certFile: 'cert.pem', keyFile: 'key.pem', clientCertificates: 'request', ...tls }
  return {
    ...more,
    files: { 'cert.pem': server.cert, 'key.pem': server.key, 'ca.pem': agent.cert },
    config: {
      listeners: [{ name: 'agents', address: '127.0.0.1:0', tls: settings }],
      proof: { dpop: 'draft-nandakumar-moq-generic-dpop-proof-00' },
      ...more.config,
    },
  }
}

beforeAll(async () => {
  stage = await openStage()
  postern = await stage.anotherPostern(withTls())
})
afterAll(async () => {
  for (const client of [...clients, ...sockets]) client.destroy()
  await stage?.stop()
})

async function open(tls: ConnectionOptions = {}, at = postern): Promise<RawClient> {
  const client = await RawClient.open({ port: at.port, tls })
  clients.push(client)
  return client
}

const token = (cnf?: object, at = postern): Promise<string> =>
  stage.token('scout', cnf === undefined ? {} : { claims: { cnf } }, at)

async function codeFor(client: RawClient, password: string): Promise<number | undefined> {
  client.send(connect({ password }))
  return (await client.next('connack')).reasonCode
}

const showing = ({ cert, key }: Certificate): ConnectionOptions => ({ cert, key })
const toAgent = { 'x5t#S256': agent.thumbprint }

describe('POP-02 a token with x5t#S256', () => {
  test.each(['TLSv1.2', 'TLSv1.3'] as const)('%s: is taken with its certificate', async (maxVersion) => {
    expect(await codeFor(await open({ ...showing(agent), maxVersion }), await token(toAgent))).toBe(0)
  })

  test('is refused with another certificate, without one, and without TLS', async () => {
    expect(await codeFor(await open(showing(other)), await token(toAgent))).toBe(0x87)
    expect(await codeFor(await open(), await token(toAgent))).toBe(0x87)
    const plain = await stage.anotherPostern()
    const client = await stage.socket(plain)
    expect(await codeFor(client, await token(toAgent, plain))).toBe(0x87)
    expect((await plain.records()).at(-1)).toMatchObject({ reason: 'proof_required' })
  })

  test('another member that does not hold refuses it', async () => {
    const cnf = { ...toAgent, jkt: 'a'.repeat(43) }
    expect(await codeFor(await open(showing(agent)), await token(cnf))).toBe(0x87)
  })

  test('a resumed connection counts for the certificate it is known to have, and for no other', async () => {
    const first = await open({ ...showing(agent), maxVersion: 'TLSv1.2' })
    const session = (first.socket as TLSSocket).getSession()
    const second = await open({ ...(session && { session }), maxVersion: 'TLSv1.2' })
    expect(await codeFor(second, await token({ 'x5t#S256': other.thumbprint }))).toBe(0x87)
  })
})

describe('POP-04 under TLS 1.3 a proof carries the exporter value', () => {
  const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'jwk' })

  /** The answer to a proof that was made for the connection of `socket`. */
  async function answerWith(
    socket: (client: RawClient) => RawClient | undefined,
    tls: ConnectionOptions = {},
  ): Promise<number | undefined> {
    const bound = await token({ jkt: await calculateJwkThumbprint(pair as never) })
    const client = await open(tls)
    const method = prop.authenticationMethod('POSTERN-DPOP')
    client.send(connect({ properties: [method, prop.authenticationData(bound)] }))
    const nonce = (await client.next('auth')).properties!.authenticationData!
    const options = { privateKey: pair, token: bound, audience: TEST_AUDIENCE, clientId: 'scout' }
    const proof = prove(options, nonce, socket(client)?.socket as TLSSocket | undefined)
    client.send(auth(0x18, [method, prop.authenticationData(proof)]))
    return (await client.next('connack')).reasonCode
  }

  test('its own: taken', async () => {
    expect(await answerWith((client) => client)).toBe(0)
  })

  test('a relay between two TLS connections, or none at all: refused', async () => {
    const relay = await open()
    expect(await answerWith(() => relay)).toBe(0x87)
    expect(await answerWith(() => undefined)).toBe(0x87)
  })

  test('TLS 1.2 has none that binds: the nonce alone does', async () => {
    expect(await answerWith(() => undefined, { maxVersion: 'TLSv1.2' })).toBe(0)
  })
})

describe('a TLS handshake that does not end', () => {
  const limited = (unauthenticated: number): Promise<TestPostern> =>
    stage.anotherPostern(withTls({}, { config: { limits: { failedTries: 1000, unauthenticated } } }))
  const silent = async (at: TestPostern): Promise<Socket> => {
    const socket = connectTcp(at.port, '127.0.0.1')
    sockets.push(socket)
    socket.on('error', () => {})
    await once(socket, 'connect')
    return socket
  }

  test('holds a place of `limits.unauthenticated`: a flood is closed, and leaves nothing behind', async () => {
    const small = await limited(2)
    const held = [await silent(small), await silent(small)]
    const third = await silent(small)
    await once(third, 'close')
    await expect(open({}, small)).rejects.toThrow()
    for (const socket of held) socket.resetAndDestroy()
    // The place is free once Postern has seen the close.
    const client = await eventually(() => open({}, small))
    expect(await codeFor(client, await token(undefined, small))).toBe(0)
  })

  test('does not hold it longer than it lasts: sessions behind it count for themselves', async () => {
    const small = await limited(1)
    for (let i = 0; i < 3; i++) {
      const client = await eventually(() => open({}, small))
      client.send(connect({ clientId: 'scout', password: await token(undefined, small) }))
      expect((await client.next('connack')).reasonCode).toBe(0)
    }
    const garbage = await silent(small)
    garbage.write('GET / HTTP/1.1\r\n\r\n')
    await once(garbage, 'close')
    expect(await codeFor(await eventually(() => open({}, small)), await token(undefined, small))).toBe(0)
  })
})

test('`minVersion` and `verify` hold at the handshake', async () => {
  const strict = await stage.anotherPostern(
    withTls({ minVersion: 'TLSv1.3', clientCertificates: 'verify', clientCaFile: 'ca.pem' }),
  )
  await expect(open({ ...showing(agent), maxVersion: 'TLSv1.2' }, strict)).rejects.toThrow()
  expect(await codeFor(await open(showing(agent), strict), await token(undefined, strict))).toBe(0)
  const stranger = await open(showing(other), strict)
  await stranger.closed()
})

test('a changed certificate is used without a restart; a bad one leaves the former one', async () => {
  const served = async (): Promise<string> => {
    const { raw } = ((await open({}, postern)).socket as TLSSocket).getPeerCertificate()
    return hash('sha256', raw, 'base64url')
  }
  const write = (name: string, text: string): void => writeFileSync(join(postern.directory, name), text)
  expect(await served()).toBe(server.thumbprint)
  const before = await open()
  write('cert.pem', 'nonsense')
  await postern.app.reload()
  expect(await served()).toBe(server.thumbprint)
  write('cert.pem', other.cert)
  write('key.pem', other.key)
  await postern.app.reload()
  expect(await served()).toBe(other.thumbprint)
  expect(await codeFor(before, await token())).toBe(0)
})
