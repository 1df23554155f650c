import { writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { PassThrough } from 'node:stream'
import { describe, expect, it } from 'vitest'
import { checkpointFile, lastCheckpoint, readDigestKey, readSigner } from '../../src/audit/checkpoint-file.ts'
import { checkpointHook } from '../../src/audit/checkpoint-hook.ts'
import { Checkpointer, type CheckpointPlace } from '../../src/audit/checkpointer.ts'
import { type Checkpoint, openCheckpoint } from '../../src/audit/signed-note.ts'
import { checkpointsToOutput } from '../../src/audit/standard-output.ts'
import { FakeClock } from '../support/fake-clock.ts'
import {
  NEW_SIGNER,
  newDirectory,
  newLogPath,
  noteOf,
  openLog,
  SIGNER,
  write,
  writeAndClose,
} from './log-kit.ts'

class MemoryPlace implements CheckpointPlace {
  readonly name = 'url'
  readonly notes: string[] = []
  fails = false

  async send(note: string): Promise<void> {
    if (this.fails) throw new Error('away')
    this.notes.push(note)
  }

  get sizes(): number[] {
    return this.notes.map((note) => (openCheckpoint(note, [SIGNER]) as Checkpoint).size)
  }
}

const settle = () => new Promise((resolve) => setTimeout(resolve, 20))

async function setUp(records = 10) {
  const clock = new FakeClock()
  const place = new MemoryPlace()
  const failures: string[] = []
  const log = await openLog(newLogPath(), { signer: SIGNER.text })
  const checkpointer = new Checkpointer(log, 0, {
    ...{ clock, signer: SIGNER, records, interval: 60_000, places: [place] },
    sent: () => {},
    failed: (name) => failures.push(name),
  })
  return { clock, place, failures, log, checkpointer }
}

describe('AUD-05 checkpoints', () => {
  it('are made after so many records, after some time if there are new ones, and at the end', async () => {
    const { clock, place, log, checkpointer } = await setUp()
    await write(log, 8)
    checkpointer.written()
    expect(place.sizes).toEqual([])
    await write(log, 1)
    checkpointer.written()
    await settle()
    expect(place.sizes).toEqual([10])
    clock.advance(60_000)
    await settle()
    expect(place.sizes).toEqual([10])
    await write(log, 1)
    clock.advance(60_000)
    await settle()
    expect(place.sizes).toEqual([10, 11])
    await write(log, 1)
    await checkpointer.close()
    expect(place.sizes).toEqual([10, 11, 12])
    expect(clock.pendingCount).toBe(0)
    await log.close()
  })

  it('hold only what is on disk', async () => {
    const { place, log, checkpointer } = await setUp()
    log.append({ action: 'start', decision: 'allow', reason: 'ok', effect: 'listening' })
    expect(log.pendingBytes).toBeGreaterThan(0)
    await checkpointer.make()
    expect(log.pendingBytes).toBe(0)
    expect(place.sizes).toEqual([2])
    await log.close()
  })

  it('a place that was away gets the newest one, once', async () => {
    const { clock, place, failures, log, checkpointer } = await setUp()
    place.fails = true
    await write(log, 1)
    await checkpointer.make()
    await write(log, 1)
    await checkpointer.make()
    await settle()
    expect(failures).toEqual(['url', 'url'])
    place.fails = false
    clock.advance(60_000)
    await settle()
    clock.advance(60_000)
    await settle()
    expect(place.sizes).toEqual([3])
    await log.close()
  })

  it('the end does not wait for ever', async () => {
    const { clock, place, log, checkpointer } = await setUp()
    place.send = () => new Promise(() => {})
    await write(log, 1)
    const closed = checkpointer.close()
    await settle()
    clock.advance(5_000)
    await closed
    await log.close()
  })
})

describe('where checkpoints go', () => {
  it('a hook gets them by POST, and another answer than 2xx is a failure', async () => {
    const got: { body: string; type: string | undefined }[] = []
    let status = 204
    const server = createServer((request, response) => {
      let body = ''
      request.on('data', (chunk) => {
        body += chunk
      })
      request.on('end', () => {
        got.push({ body, type: request.headers['content-type'] })
        response.writeHead(status, status === 302 ? { location: '/elsewhere' } : {}).end()
      })
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const hook = checkpointHook(`http://127.0.0.1:${(server.address() as AddressInfo).port}/checkpoints`)
    await hook.send('a note\n')
    expect(got).toEqual([{ body: 'a note\n', type: 'text/plain; charset=utf-8' }])
    for (status of [302, 500]) {
      await expect(hook.send('a note\n')).rejects.toMatchObject({ code: 'ERR_AUDIT_EXPORT' })
    }
    server.close()
    server.closeAllConnections()
    await expect(hook.send('a note\n')).rejects.toThrow()
  })

  it('standard output gets one line of JSON', async () => {
    const stream = new PassThrough()
    await checkpointsToOutput(stream).send('a\nb\n')
    expect(stream.read().toString()).toBe('{"checkpoint":"a\\nb\\n"}\n')
  })

  it('the file beside the log holds the newest one', async () => {
    const path = newLogPath()
    const log = await writeAndClose(path, 3, { signer: SIGNER.text })
    expect(lastCheckpoint(path, SIGNER)).toBeUndefined()
    await checkpointFile(path).send('old')
    await checkpointFile(path).send(noteOf(log))
    expect(lastCheckpoint(path, SIGNER)).toMatchObject({ size: 4 })
    expect(lastCheckpoint(path, NEW_SIGNER)).toBeUndefined()
  })
})

describe('a log that is not the one of its last checkpoint', () => {
  it('is not written on: its tail was cut off, or it was made anew', async () => {
    const path = newLogPath()
    const log = await writeAndClose(path, 3, { signer: SIGNER.text })
    const last = openCheckpoint(noteOf(log), [SIGNER]) as Checkpoint
    const short = newLogPath()
    await writeAndClose(short, 1, { signer: SIGNER.text })
    const options = { signer: SIGNER.text, last }
    await expect(openLog(short, options)).rejects.toMatchObject({
      message: expect.stringContaining('ends at seq 2'),
    })
    const other = newLogPath()
    await writeAndClose(other, 5, { signer: SIGNER.text, instance: 'postern-2' })
    await expect(openLog(other, options)).rejects.toMatchObject({
      message: expect.stringContaining('is not the log'),
    })
    await writeAndClose(path, 1, options)
  })
})

describe('key files', () => {
  it('that hold no key say what to do', () => {
    const path = `${newDirectory()}/key`
    expect(() => readSigner(path)).toThrow('ENOENT')
    writeFileSync(path, 'x')
    expect(() => readSigner(path)).toThrow('postern audit keygen')
    expect(() => readDigestKey(path)).toThrow('32 bytes')
    writeFileSync(path, `${SIGNER.privateText}\n`)
    expect(readSigner(path).text).toBe(SIGNER.text)
    expect(readDigestKey(path).length).toBeGreaterThan(32)
  })
})
