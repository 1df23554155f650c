// Uses of grants on disk: counted once, whoever asks at the same time, over a restart, a crash and a full disk.
// Ids: identity-standards.md 13.6 (JIT).
import { appendFile, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { UseJournal } from '../../src/grants/use-journal.ts'
import { FakeClock } from '../support/fake-clock.ts'

let directory: string
let path: string
let clock: FakeClock

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'postern-grants-'))
  path = join(directory, 'grants.jsonl')
  clock = new FakeClock()
})
afterEach(() => rm(directory, { recursive: true, force: true }))

const soon = () => clock.now() + 300_000

test('JIT-03 of two who ask at once one gets the only use', async () => {
  const journal = await UseJournal.open(path, clock)
  const asked = await Promise.all([1, 2].map(() => journal.take('a', 1, soon())))
  expect(asked).toEqual(['taken', 'spent'])
  await journal.close()
})

test('JIT-03 what was taken is on disk when that is said, and stays taken after a restart', async () => {
  const journal = await UseJournal.open(path, clock)
  expect(await journal.take('a', 2, soon())).toBe('taken')
  // As a killed process leaves it: nothing is closed.
  const killed = await readFile(path, 'utf8')
  await journal.close()
  await writeFile(path, killed)
  const next = await UseJournal.open(path, clock)
  expect(await next.take('a', 2, soon())).toBe('taken')
  expect(await next.take('a', 2, soon())).toBe('spent')
  await next.close()
  expect((await stat(path)).mode & 0o777).toBe(0o600)
})

test('JIT-03 property: of any tries, with restarts between them, as many are taken as there are uses', async () => {
  const step = fc.oneof(
    { weight: 4, arbitrary: fc.constantFrom('a', 'b', 'c') },
    { weight: 1, arbitrary: fc.constant('restart' as const) },
  )
  let run = 0
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { maxLength: 25 }),
      fc.integer({ min: 1, max: 3 }),
      async (steps, max) => {
        const file = `${path}.${run++}`
        let journal = await UseJournal.open(file, clock)
        const answers = new Map<string, Promise<string>[]>()
        for (const what of steps) {
          if (what === 'restart') {
            await journal.close()
            journal = await UseJournal.open(file, clock)
          } else answers.set(what, [...(answers.get(what) ?? []), journal.take(what, max, soon())])
        }
        for (const tries of answers.values()) {
          const taken = (await Promise.all(tries)).filter((answer) => answer === 'taken').length
          expect(taken).toBe(Math.min(max, tries.length))
        }
        await journal.close()
      },
    ),
    { numRuns: 25 },
  )
})

test('a grant that is long expired is not carried over', async () => {
  const journal = await UseJournal.open(path, clock)
  await journal.take('a', 1, soon())
  await journal.close()
  clock.advance(2 * 3_600_000)
  await (await UseJournal.open(path, clock)).close()
  expect(await readFile(path, 'utf8')).toBe('')
})

test('a last line that a crash cut off is dropped; any other damage keeps Postern from starting', async () => {
  const journal = await UseJournal.open(path, clock)
  await journal.take('a', 1, soon())
  await journal.close()
  await appendFile(path, '{"v":1,"grant":"b"')
  const next = await UseJournal.open(path, clock)
  expect(await next.take('a', 1, soon())).toBe('spent')
  expect(await next.take('b', 1, soon())).toBe('taken')
  await next.close()
  await appendFile(path, '{"v":2}\n')
  await expect(UseJournal.open(path, clock)).rejects.toMatchObject({ code: 'ERR_GRANTS' })
})

test('one process per file', async () => {
  const journal = await UseJournal.open(path, clock)
  await expect(UseJournal.open(path, clock)).rejects.toMatchObject({ code: 'ERR_AUDIT_LOCKED' })
  await journal.close()
})
