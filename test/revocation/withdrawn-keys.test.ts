import { expect, test } from 'vitest'
import { Marks } from '../../src/revocation/marks.ts'
import { Roster } from '../../src/revocation/roster.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { principalOf } from '../support/principal.ts'

test('KEY-06 REV-18 a CONNECT that was verified by a key that is gone by then ends refused', () => {
  const clock = new FakeClock()
  const roster = new Roster(new Marks(clock, 1000), new Marks(clock, 1000), clock, () => undefined)
  const principal = principalOf({ keyId: 'k1' })
  const key = { iss: principal.issuer, kid: 'k1' }
  const who = { revoke: () => () => {} }
  const { version } = roster
  roster.dropKey(key)
  expect(roster.version).not.toBe(version)
  expect([roster.enter(who, principal), roster.barOf(principal)]).toEqual(['revoked', 'revoked'])
  expect(roster.enter(who, principalOf({ keyId: 'k2' }))).toBeUndefined()
  expect(roster.enter(who, principalOf({ keyId: 'k1', issuer: 'https://other.test' }))).toBeUndefined()
  roster.restoreKey(key)
  expect(roster.enter(who, principal)).toBeUndefined()
})
