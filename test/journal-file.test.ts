// A file of lines on a disk that takes a part, or nothing: what was told is on disk, and the file stays readable.
import { mkdtemp, open, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { JournalFile } from '../src/journal-file.ts'

let directory: string
let path: string
let lines: string[]

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'postern-journal-'))
  path = join(directory, 'journal.jsonl')
  lines = []
})
afterEach(async () => {
  vi.restoreAllMocks()
  await rm(directory, { recursive: true, force: true })
})

const openJournal = (needed = () => lines.length): Promise<JournalFile> =>
  JournalFile.open(path, 'ERR_REVOCATIONS', {
    restore: (line) => /^\d+$/.test(line) && lines.push(`${line}\n`) > 0,
    lines: () => lines,
    needed,
  })

/** The class of file handles, whose methods all of them share. */
async function handles(): Promise<{ write: unknown; sync: unknown }> {
  const file = await open(join(directory, 'any'), 'w')
  await file.close()
  return Object.getPrototypeOf(file)
}

function add(journal: JournalFile, n: number): Promise<void> {
  lines.push(`${n}\n`)
  return journal.append(`${n}\n`)
}

test('a disk that takes a part at a time has all of it when that is told', async () => {
  const journal = await openJournal()
  const shared = (await handles()) as { write(...args: unknown[]): Promise<{ bytesWritten: number }> }
  const write = shared.write
  vi.spyOn(shared, 'write').mockImplementation(function (this: unknown, bytes, at, length, position) {
    return write.call(this, bytes, at, Math.min(2, length as number), position)
  })
  for (const n of [1234, 5678]) await add(journal, n)
  expect(await readFile(path, 'utf8')).toBe('1234\n5678\n')
  await journal.close()
  lines = []
  await (await openJournal()).close()
  expect(lines).toEqual(['1234\n', '5678\n'])
})

test('a disk that takes nothing, and says nothing, is an error; what waits is written when it takes again', async () => {
  const journal = await openJournal()
  const shared = (await handles()) as { write(...args: unknown[]): Promise<{ bytesWritten: number }> }
  const full = vi.spyOn(shared, 'write').mockResolvedValue({ bytesWritten: 0 })
  await expect(add(journal, 1)).rejects.toThrow('nothing was written')
  full.mockRestore()
  await add(journal, 2)
  expect(await readFile(path, 'utf8')).toBe('1\n2\n')
  await journal.close()
})

test('after a new file has the name, lines go there, whatever fails then', async () => {
  let needed = 20_000
  const journal = await openJournal(() => needed)
  lines = Array.from({ length: 10_010 }, (_, i) => `${i}\n`)
  await journal.append(lines.join(''))
  const shared = (await handles()) as { sync(): Promise<void> }
  const sync = shared.sync
  let syncs = 0
  // The first is that of the new file, the second that of its directory.
  const failing = vi.spyOn(shared, 'sync').mockImplementation(function (this: unknown) {
    syncs += 1
    return syncs === 2 ? Promise.reject(new Error('EIO')) : sync.call(this as never)
  })
  needed = -1_000_000
  lines = []
  await add(journal, 1)
  expect(syncs).toBe(2)
  failing.mockRestore()
  needed = 20_000
  await add(journal, 2)
  expect(await readFile(path, 'utf8')).toBe('1\n2\n')
  await journal.close()
})
