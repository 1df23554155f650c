import { expect, test } from 'vitest'
import type { VerificationKey } from '../../src/identity/key-set.ts'
import { KnownSignatures } from '../../src/identity/known-signatures.ts'

const KEY = { kid: 'k1' } as VerificationKey
const jwsOf = (token: string) =>
  ({ ok: true, token, header: new Map(), claims: new Map([['sub', token]]) }) as const

test('a token that was verified is read once, and is known under that key object only', () => {
  const known = new KnownSignatures()
  const jws = jwsOf('a.b.c')
  const digest = known.digestOf(jws.token)
  expect(known.read('a.b.c')).toBeUndefined()
  expect(known.holds(digest, KEY)).toBe(false)
  known.add(jws, digest, KEY)
  expect(known.read('a.b.c')).toBe(jws)
  expect(known.digestOf('a.b.c')).toBe(digest)
  expect(known.holds(digest, KEY)).toBe(true)
  expect(known.holds(digest, { ...KEY })).toBe(false)
  expect(known.read('a.b.d')).toBeUndefined()
})

test('tokens that are used stay, those that are not are forgotten', () => {
  const known = new KnownSignatures()
  const add = (name: string): void => known.add(jwsOf(name), known.digestOf(name), KEY)
  add('used')
  add('unused')
  for (let i = 0; i < 30_000; i++) {
    add(`other ${i}`)
    if (i % 500 === 0) expect(known.read('used') && known.holds(known.digestOf('used'), KEY)).toBe(true)
  }
  expect(known.read('unused')).toBeUndefined()
  expect(known.holds(known.digestOf('unused'), KEY)).toBe(false)
})
