import fc from 'fast-check'
import { expect, it } from 'vitest'
import { bindClientId } from '../../src/identity/client-id.ts'

const EXACT = { binding: 'exact', separator: '.' } as const
const PREFIX = { binding: 'prefix', separator: '.' } as const
const ANY = { binding: 'any', separator: '.' } as const
const suffix = (): string => 'r4nd0m'

it.each([
  [EXACT, 'scout', true],
  [EXACT, 'scout.1', false],
  [EXACT, 'Scout', false],
  [EXACT, 'analyst', false],
  [EXACT, 'scout ', false],
  [PREFIX, 'scout', true],
  [PREFIX, 'scout.1', true],
  [PREFIX, 'scout.a.b', true],
  [PREFIX, 'scout.', false],
  [PREFIX, 'scout1', false],
  [PREFIX, 'scou', false],
  [PREFIX, '.scout', false],
  [PREFIX, 'analyst', false],
  [PREFIX, 'scout.\u0000', false],
  [ANY, 'analyst', true],
  [ANY, 'a/b', true],
  [ANY, 'a\nb', false],
  [EXACT, '__proto__', false],
] as const)('TOK-16 C6 under %j agent scout may be %j: %s', (rule, requested, allowed) => {
  expect(bindClientId(requested, 'scout', rule, suffix)).toEqual(
    allowed
      ? { ok: true, clientId: requested, assigned: false }
      : { ok: false, reason: 'client_id_mismatch' },
  )
})

it.each([
  [EXACT, 'scout'],
  [PREFIX, 'scout.r4nd0m'],
  [ANY, 'scout.r4nd0m'],
] as const)('TOK-17 C15 under %j an empty identifier becomes %s', (rule, clientId) => {
  expect(bindClientId('', 'scout', rule, suffix)).toEqual({ ok: true, clientId, assigned: true })
})

it('TOK-16 under prefix an agent id with the separator in it is refused', () => {
  expect(bindClientId('a.b', 'a.b', PREFIX, suffix)).toEqual({ ok: false, reason: 'bad_identifier' })
  expect(bindClientId('', 'a.b', PREFIX, suffix)).toEqual({ ok: false, reason: 'bad_identifier' })
  expect(bindClientId('a.b', 'a.b', EXACT, suffix)).toMatchObject({ ok: true })
})

it('TOK-16 property: two different agents never get the same identifier, unless binding is any', () => {
  const text = fc.string({ unit: fc.constantFrom('a', 'b', '.', '-'), minLength: 1, maxLength: 4 })
  fc.assert(
    fc.property(text, text, text, fc.constantFrom(EXACT, PREFIX), (requested, one, other, rule) => {
      fc.pre(one !== other)
      const both = [one, other].every((agent) => bindClientId(requested, agent, rule, suffix).ok)
      expect(both).toBe(false)
    }),
  )
})
