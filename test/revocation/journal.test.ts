// Revocations on disk: what survives a restart, a crash, a full disk. Ids: identity-standards.md 13.7 (REV).
import { appendFile, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { apply, type Entry, Journal } from '../../src/revocation/journal.ts'
import { Marks } from '../../src/revocation/marks.ts'
import { eventKey, SEEN_FOR_MS, SeenEvents } from '../../src/revocation/seen-events.ts'
import { FakeClock } from '../support/fake-clock.ts'

const LIFE_MS = 900_000

let directory: string
let path: string
let clock: FakeClock

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'postern-revocations-'))
  path = join(directory, 'revocations.jsonl')
  clock = new FakeClock()
})
afterEach(() => rm(directory, { recursive: true, force: true }))

const revoke = (sub: string, before = clock.now()): Entry => ({
  do: 'revoke',
  selector: { human: { iss: 'i', sub } },
  before,
})

/** Marks after a start with the file as it is. */
async function restarted(): Promise<Marks> {
  const marks = new Marks(clock, LIFE_MS)
  const journal = await Journal.open(path, marks, new SeenEvents(clock))
  await journal.close()
  return marks
}

test('REV-05 everything that was told to be done is there after a restart', async () => {
  const journal = await Journal.open(path, new Marks(clock, LIFE_MS), new SeenEvents(clock))
  const tenant = { tenant: 'org' }
  await Promise.all([
    journal.append(revoke('a')),
    journal.append({ do: 'disable', selector: tenant }),
    journal.append({ do: 'disable', selector: { tenant: 'gone' } }),
    journal.append({ do: 'enable', selector: { tenant: 'gone' } }),
  ])
  await journal.close()
  expect((await restarted()).entries()).toMatchObject([
    { selector: { human: { iss: 'i', sub: 'a' } }, beforeMs: clock.now(), disabled: false },
    { selector: tenant, beforeMs: undefined, disabled: true },
  ])
  expect((await stat(path)).mode & 0o777).toBe(0o600)
})

test('REV-05 what no token can be older than is not carried over', async () => {
  const journal = await Journal.open(path, new Marks(clock, LIFE_MS), new SeenEvents(clock))
  await journal.append(revoke('a'))
  await journal.close()
  clock.advance(LIFE_MS + 1)
  expect((await restarted()).size).toBe(0)
  expect(await readFile(path, 'utf8')).toBe('')
})

test('REV-05 a line that a crash has cut off is dropped; the lines before it hold', async () => {
  const journal = await Journal.open(path, new Marks(clock, LIFE_MS), new SeenEvents(clock))
  await journal.append(revoke('a'))
  await journal.close()
  await appendFile(path, '{"v":1,"do":"revo')
  expect((await restarted()).size).toBe(1)
})

test.each([
  'nonsense\n',
  '{"v":2,"do":"disable","selector":{"tenant":"a"}}\n',
  '{"v":1,"do":"revoke","selector":{"tenant":"a"}}\n',
  '{"v":1,"do":"disable","selector":{}}\n',
  '{"v":1,"do":"constructor","selector":{"tenant":"a"}}\n',
])('REV-05 a damaged file is not started with: %j', async (text) => {
  await writeFile(path, text)
  await expect(restarted()).rejects.toMatchObject({ code: 'ERR_REVOCATIONS' })
  expect(await readFile(path, 'utf8')).toBe(text)
})

test('REV-08 events that were seen are known after a restart, for a week', async () => {
  const journal = await Journal.open(path, new Marks(clock, LIFE_MS), new SeenEvents(clock))
  await journal.append({ do: 'seen', event: eventKey('idp', 'j1'), at: clock.now() })
  await journal.close()
  const seen = new SeenEvents(clock)
  await (await Journal.open(path, new Marks(clock, LIFE_MS), seen)).close()
  expect([seen.has(eventKey('idp', 'j1')), seen.has(eventKey('idp', 'j2'))]).toEqual([true, false])
  clock.advance(SEEN_FOR_MS)
  expect(seen.has(eventKey('idp', 'j1'))).toBe(false)
  await restarted()
  expect(await readFile(path, 'utf8')).toBe('')
})

test('one process per file', async () => {
  const journal = await Journal.open(path, new Marks(clock, LIFE_MS), new SeenEvents(clock))
  await expect(Journal.open(path, new Marks(clock, LIFE_MS), new SeenEvents(clock))).rejects.toThrow()
  await journal.close()
})

test('the file is written anew when most of it is of no more use', async () => {
  const marks = new Marks(clock, LIFE_MS)
  const journal = await Journal.open(path, marks, new SeenEvents(clock))
  for (let i = 0; i < 11; i++) {
    const entries = Array.from({ length: 1_000 }, () => revoke('a', clock.now() + i))
    for (const entry of entries) apply(marks, entry)
    await Promise.all(entries.map((entry) => journal.append(entry)))
  }
  await journal.append(revoke('b'))
  await journal.close()
  expect((await readFile(path, 'utf8')).split('\n').length).toBeLessThan(1_100)
  expect((await restarted()).size).toBe(2)
})
