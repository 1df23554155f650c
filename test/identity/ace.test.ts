// The method `ace` of RFC 9431: both forms by vectors, and which keys a token may be bound to. Id: POP-05.
import {
  createPublicKey,
  createSecretKey,
  generateKeyPairSync,
  type JsonWebKey,
  randomBytes,
} from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { CompactEncrypt, type JWK } from 'jose'
import { afterAll, describe, expect, it } from 'vitest'
import { type AceKey, aceData, answerNonce, proveByExporter } from '../../src/agent/ace.ts'
import { answersChallenge, type PopKey, provesKey, readAceData } from '../../src/identity/ace.ts'
import { AceKeys } from '../../src/identity/ace-keys.ts'

interface Vector {
  alg: 'Ed25519' | 'HS256'
  jwk: JsonWebKey
  token: string
  exporter: { value: string; connect: string }
  challenge: { connect: string; rsNonce: string; clientNonce: string; answer: string }
}

const { vectors } = JSON.parse(readFileSync('test/vectors/ace.json', 'utf8')) as { vectors: Vector[] }
const directory = mkdtempSync(join(tmpdir(), 'postern-ace-'))
afterAll(() => rmSync(directory, { recursive: true, force: true }))

const hex = (text: string): Buffer => Buffer.from(text, 'hex')
const popKeyOf = ({ alg, jwk }: Vector): PopKey => {
  const secret = Buffer.from(jwk.k ?? '', 'base64url')
  const key = alg === 'HS256' ? createSecretKey(secret) : createPublicKey({ key: jwk, format: 'jwk' })
  return { alg, key, thumbprint: '' }
}
const clientKeyOf = ({ alg, jwk }: Vector): AceKey =>
  alg === 'HS256' ? Buffer.from(jwk.k ?? '', 'base64url') : jwk
const flipped = (bytes: Buffer, at: number): Buffer => {
  const copy = Buffer.from(bytes)
  copy[at] = copy[at]! ^ 1
  return copy
}

describe.each(vectors)('POP-05 vectors: $alg', (vector) => {
  const key = popKeyOf(vector)
  const { exporter, challenge, token } = vector

  it('exporter form', () => {
    const data = readAceData(hex(exporter.connect))!
    expect(data.token.toString()).toBe(token)
    expect(provesKey(key, data.proof, hex(exporter.value))).toBe(true)
    expect(provesKey(key, data.proof, flipped(hex(exporter.value), 0))).toBe(false)
    for (const at of [0, data.proof.length - 1])
      expect(provesKey(key, flipped(data.proof, at), hex(exporter.value))).toBe(false)
    expect(provesKey(key, data.proof.subarray(1), hex(exporter.value))).toBe(false)
  })

  it('challenge form', () => {
    const data = readAceData(hex(challenge.connect))!
    expect([data.token.toString(), data.proof.length]).toEqual([token, 0])
    const answer = hex(challenge.answer)
    expect(answer.subarray(0, 8)).toEqual(hex(challenge.clientNonce))
    expect(answersChallenge(key, hex(challenge.rsNonce), answer)).toBe(true)
    expect(answersChallenge(key, flipped(hex(challenge.rsNonce), 7), answer)).toBe(false)
    for (let at = 0; at < answer.length; at++)
      expect(answersChallenge(key, hex(challenge.rsNonce), flipped(answer, at))).toBe(false)
  })

  it('the client’s side makes the same bytes', () => {
    const mine = clientKeyOf(vector)
    const socket = { exportKeyingMaterial: () => hex(exporter.value) }
    expect(aceData(token, proveByExporter(mine, socket)).toString('hex')).toBe(exporter.connect)
    expect(aceData(token).toString('hex')).toBe(challenge.connect)
    const made = answerNonce(mine, hex(challenge.rsNonce), hex(challenge.clientNonce))
    expect(made.toString('hex')).toBe(challenge.answer)
  })
})

it('POP-05 the key of one algorithm takes no proof of the other, and none takes short ones', () => {
  const [edwards, mac] = vectors.map(popKeyOf) as [PopKey, PopKey]
  const [ofEdwards, ofMac] = vectors.map(({ exporter }) => readAceData(hex(exporter.connect))!.proof)
  const content = hex(vectors[0]!.exporter.value)
  expect(provesKey(edwards, ofMac!, content)).toBe(false)
  expect(provesKey(mac, ofEdwards!, content)).toBe(false)
  for (const key of [edwards, mac]) {
    expect(provesKey(key, Buffer.alloc(0), content)).toBe(false)
    expect(answersChallenge(key, randomBytes(8), Buffer.alloc(0))).toBe(false)
    expect(answersChallenge(key, randomBytes(8), randomBytes(8))).toBe(false)
  }
})

it('POP-05 Authentication Data is a token with its length, and what is left; nothing else is taken', () => {
  for (const bytes of ['', '00', '0000', '0001', '000261']) expect(readAceData(hex(bytes))).toBeUndefined()
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 1, maxLength: 300 }),
      fc.uint8Array({ maxLength: 80 }),
      (token, proof) => {
        const data = Buffer.concat([Buffer.from([token.length >> 8, token.length & 255]), token, proof])
        const read = readAceData(data)!
        expect(Buffer.from(token).equals(read.token) && Buffer.from(proof).equals(read.proof)).toBe(true)
        expect(readAceData(data.subarray(0, 1 + token.length))).toBeUndefined()
      },
    ),
  )
})

describe('POP-05 the key of a token', () => {
  const secret = { kty: 'oct', k: vectors[1]!.jwk.k!, alg: 'HS256' }
  const wrapping = { kty: 'oct', k: randomBytes(32).toString('base64url'), alg: 'A256KW', kid: 'postern' }
  const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const agreed = { ...pair.privateKey.export({ format: 'jwk' }), alg: 'ECDH-ES+A256KW', kid: 'ec' } as JWK
  const file = join(directory, 'keys.json')
  const { d: _, ...edwards } = vectors[0]!.jwk

  async function keys(set: object = { keys: [wrapping, agreed] }): Promise<AceKeys> {
    writeFileSync(file, JSON.stringify(set))
    const loaded = new AceKeys(file)
    await loaded.load()
    return loaded
  }

  const encrypted = (key: object | string, header: object = {}, to: JWK = wrapping): Promise<string> => {
    const text = typeof key === 'string' ? key : JSON.stringify(key)
    const full = { alg: 'A256KW', enc: 'A128CBC-HS256', kid: 'postern', ...header }
    const recipient =
      to === wrapping
        ? Buffer.from(to.k!, 'base64url')
        : createPublicKey({ key: to as JsonWebKey, format: 'jwk' })
    return new CompactEncrypt(Buffer.from(text)).setProtectedHeader(full).encrypt(recipient)
  }

  it('is an Ed25519 public key in `jwk`, by its thumbprint of RFC 8037 A.3', async () => {
    expect(await (await keys()).read({ jwk: edwards })).toMatchObject({
      alg: 'Ed25519',
      thumbprint: 'kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k',
    })
  })

  it('or a symmetric one in `jwe`, encrypted to Postern', async () => {
    const read = await keys()
    expect(await read.read({ jwe: await encrypted(secret) })).toMatchObject({ alg: 'HS256' })
    expect(await read.read({ jwe: await encrypted(secret, { kid: undefined }) })).toMatchObject({
      alg: 'HS256',
    })
    const ec = await encrypted(secret, { alg: 'ECDH-ES+A256KW', kid: 'ec' }, agreed)
    expect(await read.read({ jwe: ec })).toMatchObject({ alg: 'HS256' })
  })

  it.each<[string, () => unknown]>([
    ['nothing', () => undefined],
    ['an empty cnf', () => ({})],
    ['a symmetric key in the clear', () => ({ jwk: secret })],
    ['a private key', () => ({ jwk: vectors[0]!.jwk })],
    ['another curve', () => ({ jwk: { ...pair.publicKey.export({ format: 'jwk' }) } })],
    ['a broken key', () => ({ jwk: { ...edwards, x: 'AA' } })],
    ['a key without x', () => ({ jwk: { ...edwards, x: undefined } })],
    ['alg none', () => ({ jwk: { ...edwards, alg: 'none' } })],
    ['another alg', () => ({ jwk: { ...edwards, alg: 'HS256' } })],
    ['a key for encryption', () => ({ jwk: { ...edwards, use: 'enc' } })],
    ['a key that only signs', () => ({ jwk: { ...edwards, key_ops: ['sign'] } })],
    ['a thumbprint', () => ({ jkt: 'a'.repeat(43) })],
    ['a reference', () => ({ kid: 'k' })],
    ['two members', () => ({ jwk: edwards, kid: 'k' })],
    ['a list', () => [edwards]],
    ['a text', () => ({ jwk: JSON.stringify(edwards) })],
    ['no JWE', () => ({ jwe: 'x' })],
    ['a JWE for another', () => encrypted(secret, { kid: 'other' }).then((jwe) => ({ jwe }))],
    ['a short secret', () => encrypted({ kty: 'oct', k: 'AAAA' }).then((jwe) => ({ jwe }))],
    ['a secret for another alg', () => encrypted({ ...secret, alg: 'HS512' }).then((jwe) => ({ jwe }))],
    ['a public key in a JWE', () => encrypted(edwards).then((jwe) => ({ jwe }))],
    ['no JSON in a JWE', () => encrypted('x').then((jwe) => ({ jwe }))],
    [
      'a name twice in a JWE',
      () => encrypted(`{"kty":"oct","kty":"oct","k":"${secret.k}"}`).then((jwe) => ({ jwe })),
    ],
  ])('%s is none', async (_, cnf) => {
    expect(await (await keys()).read(await cnf())).toBeUndefined()
  })

  it('without a key file a `jwe` is none', async () => {
    const none = new AceKeys(undefined)
    await none.load()
    expect(await none.read({ jwe: await encrypted(secret) })).toBeUndefined()
  })

  it.each<[string, object, RegExp]>([
    ['no set', {}, /no list of keys/],
    ['an empty set', { keys: [] }, /no list of keys/],
    ['no alg', { keys: [{ ...wrapping, alg: undefined }] }, /`alg` of key 1/],
    ['a signature alg', { keys: [{ ...wrapping, alg: 'HS256' }] }, /`alg` of key 1/],
    ['a public key', { keys: [wrapping, { ...agreed, d: undefined }] }, /key 2 cannot decrypt/],
  ])('a key file with %s is refused, and the former stays', async (_, set, message) => {
    const read = await keys()
    writeFileSync(file, JSON.stringify(set))
    await expect(read.load()).rejects.toThrow(message)
    expect(await read.read({ jwe: await encrypted(secret) })).toBeDefined()
  })
})
