// Status lists: the draft's own vectors, and every way in which one is not to be believed. Ids: identity-standards.md
// 13.7 (REV). draft-ietf-oauth-status-list-21.
import { readFileSync } from 'node:fs'
import { deflateSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { readStatusList, referenceIn, statusAt } from '../../src/identity/status-list.ts'
import { TEST_ISSUER } from '../support/tokens.ts'
import { FixedKeys, RawSigner } from './raw-signer.ts'

interface Vector {
  name: string
  bits: 1 | 2 | 4 | 8
  lst: string
  bytes: number
  statuses: [index: number, status: number][]
}

const VECTORS = JSON.parse(
  readFileSync(new URL('../vectors/status-list.json', import.meta.url), 'utf8'),
) as Vector[]
const NOW_S = 1_750_000_000
const URI = 'https://idp.test/status/1'
const RULES = {
  uri: URI,
  issuer: TEST_ISSUER,
  algorithms: ['ES256'],
  maxBytes: 65_536,
  maxListBytes: 2 ** 20,
}
const LST = pack(Buffer.of(0xb9, 0xa3))
const signer = new RawSigner()
const keys = await FixedKeys.of([signer.jwk])

function pack(bytes: Buffer): string {
  return deflateSync(bytes, { level: 9 }).toString('base64url')
}

function read(claims: object = {}, header: object = {}, rules: Partial<typeof RULES> = {}) {
  const good = { sub: URI, iat: NOW_S, status_list: { bits: 1, lst: LST } }
  const token = signer.sign({ ...good, ...claims }, { typ: 'statuslist+jwt', ...header })
  return readStatusList(token, { ...RULES, ...rules }, keys, NOW_S * 1000)
}

describe('REV-13 the vectors of the draft', () => {
  it.each(VECTORS.map((vector) => [vector.name, vector] as const))('%s', async (_, vector) => {
    const { bits, lst, bytes, statuses } = vector
    const list = await read({ status_list: { bits, lst } })
    expect(list).toMatchObject({ bits, ttlMs: undefined })
    expect(list!.bytes.length).toBe(bytes)
    expect(statuses.map(([index]) => [index, statusAt(list!, index)])).toEqual(statuses)
    const length = (bytes * 8) / bits
    expect([typeof statusAt(list!, length - 1), statusAt(list!, length)]).toEqual(['number', undefined])
  })
})

describe('REV-13 a list that is not to be used', () => {
  it.each<[string, object, object?]>([
    ['of another type', {}, { typ: 'at+jwt' }],
    ['without a type', {}, { typ: undefined }],
    ['with a critical header', {}, { crit: ['x'], x: 1 }],
    ['signed with an algorithm that is not allowed', {}, { alg: 'HS256' }],
    ['by a key that is not the issuer’s', {}, { kid: 'other' }],
    ['about another address', { sub: 'https://idp.test/status/2' }],
    ['without `sub`', { sub: undefined }],
    ['of another issuer', { iss: 'https://other.test' }],
    ['without `iat`', { iat: undefined }],
    ['from the future', { iat: NOW_S + 61 }],
    ['expired', { exp: NOW_S }],
    ['with an `exp` that is none', { exp: 'later' }],
    ['with a `ttl` of 0', { ttl: 0 }],
    ['with a `ttl` that is none', { ttl: 'long' }],
    ['without the list', { status_list: undefined }],
    ['with 3 bits', { status_list: { bits: 3, lst: LST } }],
    ['with bits as text', { status_list: { bits: '1', lst: LST } }],
    ['not base64url', { status_list: { bits: 1, lst: `${LST}=` } }],
    ['not compressed', { status_list: { bits: 1, lst: 'uaM' } }],
    ['cut off', { status_list: { bits: 1, lst: pack(Buffer.alloc(4096, 0x5a)).slice(0, -8) } }],
  ])('%s', async (_, claims, header = {}) => {
    expect(await read(claims, header)).toBeUndefined()
  })

  it('a signature of somebody else', async () => {
    const token = new RawSigner().sign(
      { sub: URI, iat: NOW_S, status_list: { bits: 1, lst: LST } },
      { typ: 'statuslist+jwt', kid: signer.jwk.kid },
    )
    expect(await readStatusList(token, RULES, keys, NOW_S * 1000)).toBeUndefined()
  })

  it('one that would unpack to more than allowed is not unpacked', async () => {
    const bomb = pack(Buffer.alloc(8 * 2 ** 20))
    expect(bomb.length).toBeLessThan(100_000)
    const claims = { status_list: { bits: 1, lst: bomb } }
    expect(await read(claims, {}, { maxBytes: 2 ** 20 })).toBeUndefined()
    const fits = { maxBytes: 2 ** 20, maxListBytes: 8 * 2 ** 20 }
    expect((await read(claims, {}, fits))!.bytes.length).toBe(8 * 2 ** 20)
  })

  it('one that is too long as it is sent', async () => {
    expect(await read({}, {}, { maxBytes: 100 })).toBeUndefined()
  })
})

it('REV-13 the good one, for comparison: its times are those that it says, and no `ttl` counts beyond a day', async () => {
  expect(await read({ iss: TEST_ISSUER, exp: NOW_S + 60, ttl: 30, iat: NOW_S + 60 })).toMatchObject({
    expiresAtMs: (NOW_S + 60) * 1000,
    ttlMs: 30_000,
  })
  expect(await read({ ttl: 10 ** 9 })).toMatchObject({ ttlMs: 86_400_000 })
})

it.each<[unknown, ReturnType<typeof referenceIn>]>([
  [undefined, undefined],
  [{}, undefined],
  [{ other_mechanism: {} }, undefined],
  [{ status_list: { idx: 3, uri: URI } }, { uri: URI, index: 3 }],
  ['valid', 'bad'],
  [{ status_list: URI }, 'bad'],
  [{ status_list: { idx: -1, uri: URI } }, 'bad'],
  [{ status_list: { idx: 1.5, uri: URI } }, 'bad'],
  [{ status_list: { idx: '3', uri: URI } }, 'bad'],
  [{ status_list: { idx: 3 } }, 'bad'],
])('REV-13 the reference in a token: %j', (status, expected) => {
  expect(referenceIn(new Map(status === undefined ? [] : [['status', status]]))).toEqual(expected)
})
