// Uses of grants that several replicas count in one store, a real Redis. Ids: identity-standards.md 13.6 (JIT).
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import type { StoreConfig } from '../../src/config/config.ts'
import { SharedUses } from '../../src/grants/shared-uses.ts'
import { Store } from '../../src/store/store.ts'
import { Redis } from '../support/redis.ts'
import { TravelClock } from '../support/travel-clock.ts'

const clock = new TravelClock()
const stores: Store[] = []
let redis: Redis

beforeAll(async () => {
  redis = await Redis.start()
})
afterEach(async () => {
  for (const store of stores.splice(0)) await store.close()
})
afterAll(() => redis?.remove())

/** A replica; it has no marks. */
async function replica(): Promise<{ uses: SharedUses; store: Store }> {
  const none = { urlFile: undefined, username: undefined, passwordFile: undefined, tls: undefined }
  const settings = { prefix: 'test:', timeout: 1_000, onFailure: 'continue' } as const
  const config: StoreConfig = { url: redis.url, ...none, ...settings }
  const store = new Store(config, clock, { changed: () => {}, count: () => {} })
  stores.push(store)
  await store.start({ loaded: () => ({ missing: [], useless: [] }), changed: () => {} })
  return { uses: new SharedUses(store), store }
}

const inAnHour = (): number => clock.now() + 3_600_000

test('JIT-03 of as many uses at a time, at two replicas, as many are taken as the grant says', async () => {
  const [a, b] = [await replica(), await replica()]
  const until = inAnHour()
  const asked = Array.from({ length: 60 }, (_, i) => (i % 2 === 0 ? a : b).uses.take('g1', 3, until))
  const answers = await Promise.all(asked)
  expect(answers.filter((answer) => answer === 'taken')).toHaveLength(3)
  expect(answers.filter((answer) => answer === 'spent')).toHaveLength(57)
})

test('JIT-03 one use is gone for good: for another replica, and after a restart of the store', async () => {
  const a = await replica()
  expect(await a.uses.take('g2', 1, inAnHour())).toBe('taken')
  await a.store.close()
  await redis.stop()
  await redis.start()
  const b = await replica()
  expect(await b.uses.take('g2', 1, inAnHour())).toBe('spent')
  expect(await b.uses.take('g3', 1, inAnHour())).toBe('taken')
})

test('JIT-03 without the store no use is taken, also under `onFailure: continue`', async () => {
  const a = await replica()
  await redis.stop()
  expect(await a.uses.take('g4', 1, inAnHour())).toBe('unavailable')
  await redis.start()
  await expect.poll(() => a.uses.take('g4', 1, inAnHour())).toBe('taken')
})
