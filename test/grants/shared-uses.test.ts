// Uses of grants in the store of the replicas. Ids: identity-standards.md 13.6 (JIT).
import { expect, test } from 'vitest'
import { SharedUses } from '../../src/grants/shared-uses.ts'

test('JIT-03 what the store does not answer is not taken', async () => {
  const asked: unknown[][] = []
  const answers = [Promise.resolve(true), Promise.resolve(false), Promise.reject(new Error('gone'))]
  const uses = new SharedUses({
    take: (...args: unknown[]) => {
      asked.push(args)
      return answers.shift()!
    },
  })
  expect([
    await uses.take('k', 2, 1_000),
    await uses.take('k', 2, 1_000),
    await uses.take('k', 2, 1_000),
  ]).toEqual(['taken', 'spent', 'unavailable'])
  expect(asked[0]).toEqual(['grant:k', 2, 3_601_000])
})
