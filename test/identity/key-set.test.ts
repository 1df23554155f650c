import { generateKeyPairSync } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { FileKeys } from '../../src/identity/file-keys.ts'
import { openIssuers } from '../../src/identity/issuers.ts'
import { parseKeySet } from '../../src/identity/key-set.ts'
import { TokenVerifier } from '../../src/identity/token-verifier.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { issuerConfig, TestIssuer } from '../support/tokens.ts'
import { RawSigner } from './raw-signer.ts'
import { outcome } from './verifier-kit.ts'

const one = new RawSigner('one')
const two = new RawSigner('two')

function keySet(...keys: object[]): string {
  return JSON.stringify({ keys })
}

describe('choosing a key', () => {
  it('KEY-05 two RSA keys and no kid: refused; with kid: found', async () => {
    const rsa = [new RawSigner('r1', 'RS256'), new RawSigner('r2', 'RS256')]
    const set = await parseKeySet(keySet(...rsa.map((signer) => signer.jwk)), ['RS256'])
    expect(set.choose('RS256', undefined)).toEqual({ ok: false, reason: 'ambiguous_key' })
    expect(set.choose('RS256', 'r2')).toMatchObject({ ok: true, key: { kid: 'r2' } })
  })

  it('KEY-05 one fitting key among others needs no kid', async () => {
    const set = await parseKeySet(keySet(one.jwk, new RawSigner('r', 'RS256').jwk), ['ES256', 'RS256'])
    expect(set.choose('ES256', undefined)).toMatchObject({ ok: true, key: { kid: 'one' } })
  })

  it('KEY-05 two keys of one kid and algorithm are ambiguous', async () => {
    const set = await parseKeySet(keySet(one.jwk, { ...two.jwk, kid: 'one' }), ['ES256'])
    expect(set.choose('ES256', 'one')).toEqual({ ok: false, reason: 'ambiguous_key' })
  })

  it('K3 a key serves only the algorithm it is for', async () => {
    const { alg: _, ...rsa } = new RawSigner('r', 'RS256').jwk
    const set = await parseKeySet(keySet({ ...rsa, alg: 'PS256' }, one.jwk), [
      'RS256',
      'PS256',
      'ES256',
      'ES384',
    ])
    expect(set.choose('PS256', 'r').ok).toBe(true)
    expect(set.choose('RS256', 'r').ok).toBe(false)
    expect(set.choose('ES384', 'one').ok).toBe(false)
    expect(set.choose('RS256', 'one').ok).toBe(false)
  })

  it('TOK-04 HMAC, encryption and foreign keys are left out', async () => {
    const others = [
      { kty: 'oct', k: 'c2VjcmV0', alg: 'HS256', kid: 'h' },
      { ...two.jwk, use: 'enc' },
      { ...two.jwk, key_ops: ['sign'] },
      { ...two.jwk, key_ops: 'verify' },
      { kty: 'PQ', kid: 'q' },
    ]
    const set = await parseKeySet(keySet(one.jwk, ...others), ['ES256', 'HS256'])
    expect(set.keys.map((key) => [key.kid, key.alg])).toEqual([['one', 'ES256']])
    expect(set.brokenCount).toBe(0)
  })

  const shortRsa = generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey.export({ format: 'jwk' })
  const privateEc = one.privateKey.export({ format: 'jwk' })
  it.each([
    ['damaged numbers', { ...two.jwk, x: 'AAAA' }],
    ['a point that is not on the curve', { ...two.jwk, x: two.jwk.y }],
    ['RSA of 1024 bits', shortRsa],
    ['private parts', privateEc],
  ])('K2 a key with %s is not used, and counted', async (_, jwk) => {
    const set = await parseKeySet(keySet(one.jwk, { ...jwk, kid: 'bad' }), ['ES256', 'RS256'])
    expect(set.keys.map((key) => key.kid)).toEqual(['one'])
    expect(set.brokenCount).toBe(1)
  })

  it.each([
    ['nothing', ''],
    ['no JSON', '-----BEGIN PUBLIC KEY-----'],
    ['null', 'null'],
    ['a list', '[]'],
    ['no keys member', '{}'],
    ['keys that are no list', '{"keys":{}}'],
    ['a key that is no object', '{"keys":[1]}'],
    ['an empty list', '{"keys":[]}'],
    ['no fitting key', keySet(new RawSigner('r', 'RS256').jwk)],
  ])('K2 a set with %s is an error', async (_, text) => {
    await expect(parseKeySet(text, ['ES256'])).rejects.toMatchObject({ code: 'ERR_KEY_SET' })
  })
})

describe('JWKS file', () => {
  let directory: string
  let path: string
  let clock: FakeClock

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'postern-keys-'))
    path = join(directory, 'jwks.json')
    clock = new FakeClock()
  })
  afterEach(() => rm(directory, { recursive: true }))

  const open = (maxBytes = 65_536): FileKeys => new FileKeys({ path, algorithms: ['ES256'], maxBytes }, clock)

  it('KEY-08 a replaced file brings new keys and takes the old ones away', async () => {
    await writeFile(path, keySet(one.jwk))
    const keys = open()
    expect(keys.ready()).toBe(false)
    expect(await keys.keyFor('ES256', 'one')).toEqual({ ok: false, reason: 'keys_unavailable' })
    await keys.load()
    expect((await keys.keyFor('ES256', 'one')).ok).toBe(true)
    await writeFile(path, keySet(two.jwk))
    await keys.load()
    expect(await keys.keyFor('ES256', 'one')).toEqual({ ok: false, reason: 'unknown_key' })
    expect((await keys.keyFor('ES256', 'two')).ok).toBe(true)
  })

  it.each([
    ['is no JSON', '{'],
    ['holds no usable key', keySet({ kty: 'oct', k: 'AAAA' })],
    ['holds a damaged key beside a good one', keySet(two.jwk, { ...one.jwk, x: 'AAAA' })],
    ['is too large', keySet(two.jwk, { kty: 'x', padding: 'x'.repeat(70_000) })],
  ])('KEY-08 K2 a file that %s keeps the old keys', async (_, text) => {
    await writeFile(path, keySet(one.jwk))
    const keys = open()
    await keys.load()
    await writeFile(path, text)
    await expect(keys.load()).rejects.toMatchObject({ code: 'ERR_KEY_FILE' })
    expect((await keys.keyFor('ES256', 'one')).ok).toBe(true)
    expect((await keys.keyFor('ES256', 'two')).ok).toBe(false)
  })

  it('K2 a file that is missing or bad at start is an error, which shows nothing of its content', async () => {
    const issuers = [issuerConfig({ jwks: { ...issuerConfig().jwks, file: path } })]
    const start = (): Promise<unknown> => openIssuers(issuers, clock, () => {})
    await expect(start()).rejects.toMatchObject({ code: 'ERR_KEY_FILE' })
    await writeFile(path, '"secret-in-the-wrong-place')
    const error = await start().catch((e: Error) => e)
    expect(String(error)).not.toContain('secret')
  })

  it.each([
    ['neither file nor URL', { url: undefined, file: undefined }],
    ['both', { url: 'https://keys.example/', file: 'x' }],
  ])('an issuer with %s is an error', async (_, source) => {
    const config = issuerConfig({ jwks: { ...issuerConfig().jwks, ...source } })
    await expect(openIssuers([config], clock, () => {})).rejects.toMatchObject({ code: 'ERR_JWKS_SOURCE' })
  })

  it('KEY-08 from file and from URL side by side: both verify, and ready() waits for both', async () => {
    const [a, b] = await Promise.all([
      TestIssuer.create(clock, { issuer: 'https://a.test' }),
      TestIssuer.create(clock, { issuer: 'https://b.test', alg: 'Ed25519' }),
    ])
    const server = await b.serveJwks()
    server.behaviour = 'error'
    await writeFile(path, keySet(a.publicKey))
    const results: string[] = []
    const { jwks } = issuerConfig()
    const issuers = await openIssuers(
      [
        issuerConfig({ issuer: 'https://a.test', jwks: { ...jwks, file: path } }),
        issuerConfig({
          issuer: 'https://b.test',
          algorithms: ['Ed25519'],
          jwks: { ...jwks, file: undefined, url: server.url },
        }),
      ],
      clock,
      (issuer, result) => results.push(`${issuer} ${result}`),
    )
    const verifier = new TokenVerifier(issuers, clock, { maxBytes: 8192 })
    expect(verifier.ready()).toBe(false)
    expect(outcome(await verifier.verify(await a.mint()))).toBe('ok')
    expect(outcome(await verifier.verify(await b.mint()))).toBe('keys_unavailable')
    server.behaviour = 'ok'
    await Promise.all(issuers.map(({ keys }) => keys.load()))
    expect(results).toEqual(['https://b.test bad_status', 'https://b.test ok'])
    expect(verifier.ready()).toBe(true)
    expect(outcome(await verifier.verify(await b.mint()))).toBe('ok')
    await Promise.all(issuers.map(({ keys }) => keys.close()))
    await server.close()
  })
})
