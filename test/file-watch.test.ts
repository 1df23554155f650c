import { once } from 'node:events'
import { type FSWatcher, watch } from 'node:fs'
import { appendFile, mkdir, mkdtemp, rename, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { watchFile } from '../src/file-watch.ts'
import { FakeClock } from './support/fake-clock.ts'

let directory: string
let path: string
let clock: FakeClock
let reports: number
let stop: () => void

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'postern-watch-'))
  path = join(directory, 'policy.yaml')
  await writeFile(path, 'one')
  clock = new FakeClock()
  reports = 0
})
afterEach(async () => {
  stop()
  await rm(directory, { recursive: true })
})

async function start(): Promise<void> {
  stop = await watchFile(path, clock, () => {
    reports++
  })
}

/** Lets time pass, `stepMs` at a turn, until a change is reported; `eachTurn` is what else goes on. */
async function reported(stepMs = 20, eachTurn: () => Promise<unknown> = async () => {}): Promise<void> {
  for (let turn = 0; reports === 0; turn++) {
    if (turn === 100) throw new Error(`no report in ${turn} turns of ${stepMs} ms`)
    clock.advance(stepMs)
    await eachTurn()
    await stat(path).catch(() => {})
  }
}

describe('a changed file is noticed', () => {
  it('KEY-08 written in place', async () => {
    await start()
    await writeFile(path, 'two')
    await reported()
  })

  it('KEY-08 renamed over', async () => {
    await start()
    await writeFile(`${path}.new`, 'two')
    await rename(`${path}.new`, path)
    await reported()
  })

  it('KEY-08 by a swapped link, as Kubernetes does it', async () => {
    for (const version of ['v1', 'v2']) {
      await mkdir(join(directory, version))
      await writeFile(join(directory, version, 'policy.yaml'), version)
    }
    await symlink('v1', join(directory, '..data'))
    await rm(path)
    await symlink('..data/policy.yaml', path)
    await start()
    await symlink('v2', join(directory, '..data_tmp'))
    await rename(join(directory, '..data_tmp'), join(directory, '..data'))
    await reported()
  })

  it('when it goes away, and when it comes back', async () => {
    await start()
    await rm(path)
    await reported()
    reports = 0
    await writeFile(path, 'one')
    await reported()
  })

  it('in a directory where something else changes all the time', async () => {
    await start()
    const neighbour = join(directory, 'audit.jsonl')
    const watcher: FSWatcher = watch(directory)
    await writeFile(path, 'two')
    // Faster than a change may settle.
    await reported(20, async () => {
      const event = once(watcher, 'change')
      await appendFile(neighbour, 'record\n')
      await event
    })
    watcher.close()
  })

  it('where the watch does not look: behind a link to another directory', async () => {
    const elsewhere = await mkdtemp(join(tmpdir(), 'postern-watch-'))
    await writeFile(join(elsewhere, 'policy.yaml'), 'one')
    await rm(path)
    await symlink(join(elsewhere, 'policy.yaml'), path)
    await start()
    await writeFile(join(elsewhere, 'policy.yaml'), 'other')
    await reported(1_000)
    await rm(elsewhere, { recursive: true })
  })

  it('in a directory that was replaced as a whole', async () => {
    const inner = join(directory, 'current')
    path = join(inner, 'policy.yaml')
    await mkdir(inner)
    await writeFile(path, 'one')
    await start()
    await mkdir(join(directory, 'next'))
    await writeFile(join(directory, 'next', 'policy.yaml'), 'two')
    await rename(inner, join(directory, 'former'))
    await rename(join(directory, 'next'), inner)
    await reported(1_000)
    reports = 0
    await writeFile(path, 'three')
    await reported(1_000)
  })
})

it('a change is reported once, and nothing after the end', async () => {
  await start()
  await writeFile(path, 'two')
  await reported()
  for (let turn = 0; turn < 20; turn++) {
    clock.advance(1_000)
    await stat(path)
  }
  expect(reports).toBe(1)
  stop()
  await writeFile(path, 'three')
  for (let turn = 0; turn < 20; turn++) {
    clock.advance(1_000)
    await stat(path)
  }
  expect(reports).toBe(1)
  expect(clock.pendingCount).toBe(0)
})

it('a file that is still being written is not reported', async () => {
  await start()
  for (let turn = 0; turn < 20; turn++) {
    await appendFile(path, 'more')
    clock.advance(50)
    await stat(path)
  }
  expect(reports).toBe(0)
  await reported()
})
