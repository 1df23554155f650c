// An issuer with a status list and introspection: what one of them has found is not taken back by the other.
import { expect, test } from 'vitest'
import type { CheckFailure, TokenCheck } from '../../src/identity/token-check.ts'
import { CheckedTokens, type CheckSource } from '../../src/revocation/checked-tokens.ts'
import { Marks } from '../../src/revocation/marks.ts'
import { Roster } from '../../src/revocation/roster.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { principalOf } from '../support/principal.ts'

const INTERVAL_MS = 1000

test('REV-14 a token that introspection has ended stays out while its status list still has it', async () => {
  const clock = new FakeClock()
  const roster = new Roster(new Marks(clock, 1000), new Marks(clock, 1000), clock, () => undefined)
  const found = new Map<CheckSource, CheckFailure>()
  const open = (source: CheckSource): CheckedTokens => {
    const check: TokenCheck = { check: async () => found.get(source), close: async () => {} }
    const ports = { clock, roster, intervalMs: INTERVAL_MS, onCut: () => {}, count: () => {} }
    const opened = new CheckedTokens(check, { source, ...ports })
    opened.start()
    return opened
  }
  const checks = [open('status_list'), open('introspection')]
  const settle = () => new Promise((resolve) => setImmediate(resolve))
  const principal = principalOf()
  const { issuer, tokenId, expiresAtMs } = principal
  const token = { token: 'a.b.c', digest: '00', claims: new Map(), issuer, tokenId, expiresAtMs }
  /** As the verifier asks: the next one only if this one has nothing against it. */
  const shown = async (): Promise<CheckFailure | undefined> => {
    for (const check of checks) {
      const failure = await check.check(token)
      if (failure !== undefined) return failure
    }
    return undefined
  }

  expect(await shown()).toBeUndefined()
  // Of messages: they are not ended, but asked about (message-rights.ts).
  roster.enter({ revoke: () => () => {} }, principal)
  found.set('introspection', 'not_active')
  clock.advance(INTERVAL_MS)
  await settle()
  expect(roster.barOf(principal)).toBe('revoked')

  expect(await shown()).toBe('not_active')
  expect(roster.barOf(principal)).toBe('revoked')

  found.clear()
  expect(await shown()).toBeUndefined()
  expect(roster.barOf(principal)).toBeUndefined()
  for (const check of checks) await check.close()
})
