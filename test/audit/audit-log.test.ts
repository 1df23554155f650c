import { open } from 'node:fs/promises'
import { describe, expect, it } from 'vitest'
import type { AuditFile } from '../../src/audit/audit-file.ts'
import { AuditLog } from '../../src/audit/audit-log.ts'
import type { AuditLogOptions } from '../../src/audit/log-options.ts'
import type { Tail } from '../../src/audit/open-log.ts'
import { GENESIS, type WrittenRecord } from '../../src/audit/record.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { DIGEST, ENDLESS, PUBLISH, verify } from './chain.ts'
import { CountingObserver, FakeFile } from './fake-file.ts'

const EMPTY: Tail = {
  ...{ head: GENESIS, unterminated: false, torn: undefined, segment: 1, oldest: 1, begins: false, size: 0 },
  ...{ begunMs: undefined, tree: undefined, signer: undefined },
}

function setUp(options: Partial<AuditLogOptions> = {}, file: AuditFile = new FakeFile()) {
  const clock = new FakeClock()
  const observer = new CountingObserver()
  const log = new AuditLog(file, EMPTY, {
    clock,
    observer,
    instance: 'postern-1',
    policy: 'a1b2',
    durability: 'async',
    segments: ENDLESS,
    onFailure: 'deny',
    flushInterval: 50,
    maxPending: 10_000,
    ...options,
  })
  const append = (count: number) => {
    for (let i = 0; i < count; i++) log.append(PUBLISH)
  }
  return { clock, observer, log, append, file: file as FakeFile }
}

/** Lets writes that are due finish: the fake file answers within microtasks. */
const settle = () => new Promise((resolve) => setImmediate(resolve))

describe('group commit', () => {
  it('writes many records with one write and one sync, when the interval has passed', async () => {
    const { clock, log, file, append, observer } = setUp({ maxPending: 1e6 })
    append(100)
    clock.advance(49)
    expect(file.writes).toBe(0)
    clock.advance(1)
    await log.flush()
    expect(file).toMatchObject({ writes: 1, syncs: 1 })
    expect(verify(file.bytes)).toMatchObject({ ok: true, records: 100, head: log.head })
    expect(observer.writtenRecords).toBe(100)
    expect(log.pendingBytes).toBe(0)
  })

  it('does not wait for the interval once a group is large', async () => {
    const { log, file, append } = setUp({ maxPending: 1e7 })
    append(400)
    await settle()
    expect(file.writes).toBeGreaterThan(0)
    await log.close()
    expect(verify(file.bytes)).toMatchObject({ ok: true, records: 400 })
  })

  it('flush covers what is appended while another write is under way', async () => {
    const { log, file, append } = setUp()
    const gate = Promise.withResolvers<void>()
    file.gate = gate.promise
    append(1)
    const first = log.flush()
    append(1)
    const second = log.flush()
    gate.resolve()
    await Promise.all([first, second])
    expect(verify(file.bytes)).toMatchObject({ ok: true, records: 2 })
  })

  it('AUD-09 is congested above half of maxPending, and says when there is room again', async () => {
    const { log, file, append } = setUp({ maxPending: 64 * 1024 })
    const gate = Promise.withResolvers<void>()
    file.gate = gate.promise
    let calls = 0
    while (!log.congested) append(1)
    expect(log.pendingBytes).toBeLessThan(34 * 1024)
    expect(log.accepting).toBe(true)
    log.whenRoom(() => {
      calls++
    })
    gate.resolve()
    await log.flush()
    expect(log.congested).toBe(false)
    expect(calls).toBe(1)
    await log.close()
  })

  it('AUD-09 a disk that fails makes nobody wait', async () => {
    const { clock, log, file, append } = setUp({ maxPending: 64 * 1024 })
    file.room = 0
    append(1)
    clock.advance(50)
    await settle()
    while (log.pendingBytes < 48 * 1024) append(1)
    expect(log.congested).toBe(false)
  })

  it('goes on after a write that took only some of the bytes', async () => {
    const { log, file, append } = setUp()
    file.atOnce = 100
    append(5)
    await log.close()
    expect(verify(file.bytes)).toMatchObject({ ok: true, records: 5 })
  })

  it('close writes what waits, closes the file and takes nothing more', async () => {
    const { log, file, append, observer } = setUp()
    append(3)
    await log.close()
    await log.close()
    append(1)
    expect(file.closed).toBe(true)
    expect(log.accepting).toBe(false)
    expect(observer.lostRecords).toBe(1)
    expect(verify(file.bytes)).toMatchObject({ ok: true, records: 3 })
  })
})

describe('AUD-09 A2 when writing fails', () => {
  it('entries of a batch that find no room are lost one by one, and counted in their place', async () => {
    const { clock, log, file, observer } = setUp({ short: true, onFailure: 'continue' })
    const { payload: _, packet_id: __, ...common } = PUBLISH
    const record = log.prepare(common, 'sha256')
    const add = (count: number) => {
      for (let i = 0; i < count; i++) log.appendPrepared(record, 120, DIGEST, 7)
    }
    file.room = 0
    add(200)
    const lost = observer.lostRecords
    expect(lost).toBeGreaterThan(50)
    expect(log.pendingBytes).toBeLessThan(10_500)
    clock.advance(50)
    await settle()
    file.room = Number.POSITIVE_INFINITY
    await log.flush()
    add(10)
    await log.close()
    const lines = file.bytes
      .toString()
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as WrittenRecord)
    const actions = lines.flatMap((line) => line.action ?? line.batch.map(() => 'entry'))
    expect(actions).toEqual([
      ...['publish', ...Array(199 - lost).fill('entry'), 'gap'],
      ...Array(10).fill('entry'),
    ])
    expect(lines.length).toBeLessThan(20)
    expect(observer).toMatchObject({ lostRecords: lost, writtenRecords: 200 - lost + 11 })
    expect(verify(file.bytes)).toMatchObject({ ok: true, lost })
  })

  it.each([
    ['deny', false],
    ['continue', true],
  ] as const)(
    'onFailure %s: accepting is %s, the error is reported, and nothing is lost while there is room',
    async (onFailure, accepting) => {
      const { clock, log, file, append, observer } = setUp({ onFailure })
      append(1)
      await log.flush()
      file.room = 300
      append(2)
      clock.advance(50)
      await settle()
      expect(log.accepting).toBe(accepting)
      expect(log.failure).toMatchObject({
        code: 'ERR_AUDIT_WRITE',
        message: 'The audit log cannot be written: ENOSPC.',
      })
      expect(observer.errors).toHaveLength(1)

      append(1)
      file.room = Number.POSITIVE_INFINITY
      clock.advance(1000)
      await settle()
      await log.flush()
      expect(log.accepting).toBe(true)
      expect(log.failure).toBeUndefined()
      expect(observer).toMatchObject({ recoveries: 1, lostRecords: 0, writtenRecords: 4 })
      expect(verify(file.bytes)).toMatchObject({ ok: true, records: 4, lost: 0 })
    },
  )

  it('is tried again on a timer until it works', async () => {
    const { clock, file, append, observer } = setUp()
    file.room = 0
    append(1)
    clock.advance(50)
    await settle()
    for (let i = 0; i < 3; i++) {
      clock.advance(1000)
      await settle()
    }
    expect(observer.errors).toHaveLength(4)
    file.room = Number.POSITIVE_INFINITY
    clock.advance(1000)
    await settle()
    expect(observer.recoveries).toBe(1)
  })

  it.each(['deny', 'continue'] as const)(
    'onFailure %s: records beyond maxPending are lost, and a gap record counts them in their place',
    async (onFailure) => {
      const { clock, log, file, append, observer } = setUp({ onFailure, maxPending: 3000 })
      file.room = 0
      append(20)
      clock.advance(50)
      await settle()
      const kept = 20 - observer.lostRecords
      expect(observer.lostRecords).toBeGreaterThan(0)
      expect(log.pendingBytes).toBeLessThan(6000)

      file.room = Number.POSITIVE_INFINITY
      clock.advance(1000)
      await settle()
      append(1)
      await log.close()
      expect(verify(file.bytes)).toMatchObject({ ok: true, records: kept + 2, lost: observer.lostRecords })
      const actions = file.bytes
        .toString()
        .trim()
        .split('\n')
        .map((line) => (JSON.parse(line) as { action: string }).action)
      expect(actions).toEqual([...Array(kept).fill('publish'), 'gap', 'publish'])
    },
  )

  it('deny stops accepting when too much waits, although nothing has failed, and accepts again after', async () => {
    const { log, append } = setUp({ maxPending: 3000 })
    append(2)
    expect(log.accepting).toBe(true)
    append(2)
    expect(log.accepting).toBe(false)
    await log.flush()
    expect(log.accepting).toBe(true)
  })

  it('never loses a record for which accepting was true', () => {
    const { log, observer } = setUp({ maxPending: 5000 })
    for (let i = 0; i < 100 && log.accepting; i++) log.append(PUBLISH)
    expect(observer.lostRecords).toBe(0)
  })

  it('a failed sync counts as a failed write and is repeated', async () => {
    const { clock, log, file, append, observer } = setUp()
    file.syncFails = true
    append(1)
    clock.advance(50)
    await settle()
    expect(log.accepting).toBe(false)
    expect(log.pendingBytes).toBeGreaterThan(0)
    file.syncFails = false
    await log.flush()
    expect(observer).toMatchObject({ writtenRecords: 1, recoveries: 1 })
    expect(file.writes).toBe(1)
    expect(verify(file.bytes)).toMatchObject({ ok: true, records: 1 })
  })

  it('flush and close reject, and close counts what it could not write', async () => {
    const { log, file, append, observer } = setUp()
    file.room = 0
    append(2)
    await expect(log.flush()).rejects.toMatchObject({ code: 'ERR_AUDIT_WRITE' })
    await expect(log.close()).rejects.toMatchObject({ code: 'ERR_AUDIT_WRITE' })
    expect(file.closed).toBe(true)
    expect(observer.lostRecords).toBe(2)
  })

  it.runIf(process.platform === 'linux')('ENOSPC of a real device is such a failure', async () => {
    const full = await open('/dev/full', 'a')
    const device: AuditFile = {
      ...{ writeNow: () => 0, syncNow: () => {}, oldestKept: () => 1, rotate: () => {}, tidy: () => {} },
      write: async (bytes) => (await full.write(bytes)).bytesWritten,
      sync: async () => {},
      close: () => full.close(),
    }
    const { log, append } = setUp({}, device)
    append(1)
    await expect(log.flush()).rejects.toThrow('ENOSPC')
    expect(log.accepting).toBe(false)
    await expect(log.close()).rejects.toThrow('ENOSPC')
  })
})
