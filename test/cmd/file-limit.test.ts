import { expect, test } from 'vitest'
import { fileLimitWarning, ownLimits } from '../../cmd/file-limit.ts'
import { RunningPostern } from './child.ts'
import { Workspace } from './workspace.ts'

const allowing = (hard: number | string): string =>
  `Limit                     Soft Limit           Hard Limit           Units\nMax open files            1024                 ${hard}                files\n`

test.each([
  [10_000, 1, 20_100, undefined],
  [10_000, 1, 'unlimited', undefined],
  [10_000, 1, 20_099, 'this process may open 20099 files (ulimit -Hn), enough for 9999 connections'],
  [10_000, 1, 50, 'this process may open 50 files (ulimit -Hn), enough for 0 connections'],
  [10_000, 2, 10_100, undefined],
  [10_000, 2, 10_099, 'each worker may open 10099 files (ulimit -Hn), enough for 4999 connections'],
])('%i connections, %i workers, %s files', (connections, workers, hard, says) => {
  const warning = fileLimitWarning({ connections, workers }, allowing(hard))
  if (says === undefined) expect(warning).toBeUndefined()
  else expect(warning).toContain(says)
})

test('where nobody says how many, nothing is said', () => {
  expect(fileLimitWarning({ connections: 1e6, workers: 1 }, '')).toBeUndefined()
})

test.runIf(process.platform === 'linux')('reads what Linux says of this process', () => {
  expect(fileLimitWarning({ connections: 1e9, workers: 1 }, ownLimits())).toMatch(
    /limits\.connections is 1000000000, but this process may open \d+ files/,
  )
})

test('run says so at its start, once, and goes on', async () => {
  const workspace = await Workspace.create({ limits: { connections: 1_000_000 } })
  const running = new RunningPostern(['--config', workspace.config])
  try {
    await running.next({ msg: 'listening' })
    const warning = fileLimitWarning({ connections: 1_000_000, workers: 1 }, ownLimits())
    const said = running.messages.filter((message) => message === 'open files')
    expect(said).toHaveLength(warning === undefined ? 0 : 1)
  } finally {
    await running.kill()
    workspace.remove()
  }
})
