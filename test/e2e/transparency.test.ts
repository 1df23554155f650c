// Under a policy that allows everything a client cannot tell Postern from the broker: every scenario is played directly
// and through Postern, and both ends must see the same. `npx vitest run test/e2e/transparency.test.ts -u` writes
// docs/transparency.md.
import { afterAll, beforeAll, describe, expect, it, test } from 'vitest'
import { SCENARIOS } from '../transparency/all-scenarios.ts'
import { compare, playBoth } from '../transparency/comparison.ts'
import { transparencyDocument } from '../transparency/document.ts'
import { outcomeOf } from '../transparency/malformed.ts'
import { MALFORMED_CONNECTS } from '../transparency/malformed-connects.ts'
import { MALFORMED_PACKETS } from '../transparency/malformed-packets.ts'
import { type Pair, startPair } from '../transparency/pair.ts'
import { Stage } from '../transparency/stage.ts'

let pair: Pair

beforeAll(async () => {
  pair = await startPair()
})
afterAll(async () => {
  await pair?.stop()
})

describe.concurrent('as directly', () => {
  it.each(SCENARIOS.map((scenario, i) => ({ ...scenario, prefix: `t${i}` })))('$name', async (scenario) => {
    const { unexpected } = await playBoth(scenario, scenario.prefix, pair)
    expect(unexpected.map(({ text }) => text).join('\n\n')).toBe('')
  })
})

describe.concurrent('malformed', () => {
  const rows = [...MALFORMED_CONNECTS, ...MALFORMED_PACKETS]
  it.each(rows.map((row, i) => ({ ...row, prefix: `m${i}` })))('$name', async (row) => {
    const [direct, postern] = await Promise.all([
      outcomeOf(row, new Stage(pair.direct, pair, row.prefix)),
      outcomeOf(row, new Stage(pair.postern, pair, row.prefix)),
    ])
    expect(postern).toBe(row.outcome)
    if (pair.isKnown) expect(direct).toBe(row.differs?.[0] ?? row.outcome)
  })
})

test('a lost, a changed and an additional packet are all found, at the right place', () => {
  const outcome = (...lines: string[]) => ({ transcript: new Map([['client a', lines]]), error: undefined })
  const direct = outcome('CONNACK', 'PUBACK id 1', 'closed with FIN')
  const texts = [
    compare(direct, outcome('CONNACK', 'closed with FIN')),
    compare(direct, outcome('CONNACK', 'PUBACK id 2', 'closed with FIN')),
    compare(direct, outcome('CONNACK', 'PUBACK id 1', 'PINGRESP', 'closed with FIN')),
  ].map((differences) =>
    differences
      .map(({ text }) => text)
      .join('\n')
      .split('\n')
      .slice(1),
  )
  expect(texts).toEqual([
    ['    CONNACK', '  - PUBACK id 1', '    closed with FIN'],
    ['    CONNACK', '  - PUBACK id 1', '  + PUBACK id 2', '    closed with FIN'],
    ['    CONNACK', '    PUBACK id 1', '  + PINGRESP', '    closed with FIN'],
  ])
})

test('names of scenarios are unique', () => {
  const names = [...SCENARIOS, ...MALFORMED_CONNECTS, ...MALFORMED_PACKETS].map(({ name }) => name)
  expect(names).toEqual([...new Set(names)])
})

test('docs/transparency.md is in step with the scenarios', async () => {
  await expect(transparencyDocument()).toMatchFileSnapshot('../../docs/transparency.md')
})
