// Who is kept out, by what and for how long. Ids: identity-standards.md 13.7 (REV).
import fc from 'fast-check'
import { describe, expect, it, test } from 'vitest'
import { LiveIndex } from '../../src/revocation/live-index.ts'
import { type Mark, Marks } from '../../src/revocation/marks.ts'
import { facetsOf, facetsOfPrincipal, type Selector } from '../../src/revocation/selector.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { principalOf } from '../support/principal.ts'

const LIFE_MS = 900_000
const SHOWN = { issuedAtMs: 0, shownAtMs: 0 }
const IDP = 'https://idp.test'
const alice: Selector = { human: { iss: IDP, sub: 'alice' } }

function marksAt(clock = new FakeClock()): Marks {
  return new Marks(clock, LIFE_MS)
}

const bar = (marks: Marks, changes: Parameters<typeof principalOf>[0] = {}): string | undefined => {
  const principal = principalOf(changes)
  return marks.barOf(facetsOfPrincipal(principal), principal.issuedAtMs)
}

describe('REV-02 a selector bars those of whom all of it is true', () => {
  it.each<[string, Selector, Parameters<typeof principalOf>[0]]>([
    ['human', alice, { human: 'bob' }],
    ['agent', { agent: { iss: IDP, sub: 'scout' } }, { agent: 'analyst' }],
    ['pair', { ...alice, agent: { iss: IDP, sub: 'scout' } }, { agent: 'analyst' }],
    ['pair', { ...alice, agent: { iss: IDP, sub: 'scout' } }, { human: 'bob' }],
    ['subject, as human', { subject: { iss: IDP, sub: 'alice' } }, { human: 'bob' }],
    ['subject, as agent', { subject: { iss: IDP, sub: 'scout' } }, { agent: 'analyst' }],
    ['token', { token: { iss: IDP, jti: 't1' } }, { tokenId: 't2' }],
    ['client', { client: { iss: IDP, client_id: 'c1' } }, { oauthClientId: 'c2' }],
    ['tenant', { tenant: 'org_a' }, { tenant: 'org_b' }],
    ['tenant', { tenant: 'org_a' }, { tenant: undefined }],
    ['key', { key: { iss: IDP, kid: 'k1' } }, { keyId: 'k2' }],
    ['thumbprint', { thumbprint: 'x' }, { confirmation: { jkt: 'y' } }],
    ['human of another issuer', alice, { issuer: 'https://other.test' }],
  ])('%s', (_, selector, neighbour) => {
    const marks = marksAt()
    marks.disable(selector)
    const named = { oauthClientId: 'c1', keyId: 'k1', confirmation: { x5t: 'x' } }
    expect(bar(marks, named)).toBe('disabled')
    expect(bar(marks, { ...named, ...neighbour })).toBeUndefined()
  })
})

it('REV-02 names that look like a frame of another facet are data', () => {
  const marks = marksAt()
  marks.disable({ human: { iss: IDP, sub: '","x' } })
  marks.disable({ tenant: '__proto__' })
  expect(bar(marks)).toBeUndefined()
  expect(bar(marks, { tenant: '__proto__' })).toBe('disabled')
})

it.each([
  [-1_000, 'revoked'],
  [0, 'revoked'],
  [1_000, undefined],
])('REV-04 a token issued %i ms from the mark: %s', (distance, expected) => {
  const clock = new FakeClock()
  const marks = marksAt(clock)
  marks.revoke(alice, clock.now())
  expect(bar(marks, { issuedAtMs: clock.now() + distance })).toBe(expected)
})

it('REV-04 an earlier mark that comes later does not let anybody back in', () => {
  const clock = new FakeClock()
  const marks = marksAt(clock)
  marks.revoke(alice, clock.now())
  marks.revoke(alice, clock.now() - 60_000)
  expect(bar(marks, { issuedAtMs: clock.now() - 1_000 })).toBe('revoked')
})

it('REV-05 a mark goes when no token can be older; a disabled identity stays until it is enabled', () => {
  const clock = new FakeClock()
  const marks = marksAt(clock)
  marks.revoke(alice, clock.now())
  marks.disable({ tenant: 'org_b' })
  clock.advance(LIFE_MS)
  expect(marks.entries()).toHaveLength(2)
  clock.advance(60_000)
  expect(marks.entries()).toMatchObject([{ selector: { tenant: 'org_b' }, disabled: true }])
  clock.advance(100 * 365 * 86_400_000)
  expect(bar(marks, { tenant: 'org_b', issuedAtMs: clock.now() })).toBe('disabled')
  marks.enable({ tenant: 'org_b' })
  expect([bar(marks, { tenant: 'org_b' }), marks.size]).toEqual([undefined, 0])
})

it('REV-04 whoever is enabled again is still refused with tokens from before a revocation', () => {
  const clock = new FakeClock()
  const marks = marksAt(clock)
  marks.revoke(alice, clock.now())
  marks.disable(alice)
  marks.enable(alice)
  expect(bar(marks, { issuedAtMs: clock.now() })).toBe('revoked')
  expect(bar(marks, { issuedAtMs: clock.now() + 1_000 })).toBeUndefined()
})

describe('REV-17 marks of several replicas', () => {
  const KEEP_MS = 86_400_000
  const joined = (marks: readonly Mark[], clock: FakeClock): Mark[] => {
    const all = new Marks(clock, LIFE_MS, KEEP_MS)
    for (const mark of marks) all.join(mark)
    return all.entries()
  }

  it('come to the same in whatever order, and however often, they are joined', () => {
    const clock = new FakeClock()
    const instant = fc.integer({ min: 1, max: 4 }).map((i) => clock.now() - i)
    const mark = fc.record({
      selector: fc.constant(alice),
      beforeMs: fc.option(instant, { nil: undefined }),
      atMs: fc.constant(clock.now()),
      disabled: fc.boolean(),
      wordMs: instant,
    })
    const some = fc.array(mark, { minLength: 1, maxLength: 6 })
    fc.assert(
      fc.property(some, fc.array(fc.nat(5)), (marks, twice) => {
        const other = [...marks, ...twice.flatMap((i) => marks[i] ?? [])].reverse()
        expect(joined(other, clock)).toEqual(joined(marks, clock))
      }),
    )
  })

  it('a word after one that is known comes after it, though the clock is behind', () => {
    const clock = new FakeClock()
    const here = new Marks(clock, LIFE_MS, KEEP_MS)
    here.join({ selector: alice, beforeMs: undefined, atMs: 0, disabled: true, wordMs: clock.now() + 5_000 })
    here.enable(alice)
    const there = new Marks(clock, LIFE_MS, KEEP_MS)
    there.disable(alice, clock.now() + 5_000)
    expect(there.join(here.of(alice)!)).toBe(true)
    expect([bar(there), there.size]).toEqual([undefined, 0])
  })

  it('that somebody was enabled is forgotten when no replica can have missed it', () => {
    const clock = new FakeClock()
    const marks = new Marks(clock, LIFE_MS, KEEP_MS)
    marks.disable(alice)
    marks.enable(alice)
    expect(marks.entries()).toHaveLength(1)
    clock.advance(KEEP_MS + 1)
    expect(marks.entries()).toEqual([])
  })
})

test('REV-03 the index finds what a search through all would find', () => {
  const name = fc.constantFrom('a', 'b', 'c')
  const person = fc.record({ human: name, agent: name, tenant: fc.option(name, { nil: undefined }) })
  const asked = fc
    .record({ human: fc.option(name), agent: fc.option(name), tenant: fc.option(name) })
    .filter((it) => it.human !== null || it.agent !== null || it.tenant !== null)
  fc.assert(
    fc.property(fc.array(person, { maxLength: 30 }), fc.array(fc.nat(29)), asked, (people, gone, who) => {
      const index = new LiveIndex()
      const connections = people.map((p) => ({ ...p, revoke: () => () => {} }))
      for (const c of connections) index.put(c, facetsOfPrincipal(principalOf({ ...c })), SHOWN)
      // A renewal replaces; an end removes.
      for (const c of connections.slice(0, 3)) index.put(c, facetsOfPrincipal(principalOf({ ...c })), SHOWN)
      const left = connections.filter((_, i) => !gone.includes(i))
      for (const c of connections) if (!left.includes(c)) index.remove(c)
      const selector: Selector = {
        ...(who.human === null ? {} : { human: { iss: IDP, sub: who.human } }),
        ...(who.agent === null ? {} : { agent: { iss: IDP, sub: who.agent } }),
        ...(who.tenant === null ? {} : { tenant: who.tenant }),
      }
      const expected = left.filter(
        (c) =>
          (who.human === null || c.human === who.human) &&
          (who.agent === null || c.agent === who.agent) &&
          (who.tenant === null || c.tenant === who.tenant),
      )
      expect(new Set(index.find(facetsOf(selector)).map(([c]) => c))).toEqual(new Set(expected))
    }),
  )
})
