import { describe, expect, it } from 'vitest'
import { AuditLog } from '../../src/audit/audit-log.ts'
import type { PreparedRecord } from '../../src/audit/event.ts'
import type { AuditLogOptions } from '../../src/audit/log-options.ts'
import { GENESIS } from '../../src/audit/record.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { ENDLESS, PUBLISH, verify } from './chain.ts'
import { CountingObserver, FakeFile } from './fake-file.ts'

function setUp(options: Partial<AuditLogOptions> = {}) {
  const [clock, observer, file] = [new FakeClock(), new CountingObserver(), new FakeFile()]
  const tail = {
    ...{ head: GENESIS, unterminated: false, torn: undefined, segment: 1, oldest: 1, begins: false, size: 0 },
    ...{ begunMs: undefined, tree: undefined, signer: undefined },
  }
  const log = new AuditLog(file, tail, {
    ...{
      clock,
      observer,
      instance: 'postern-1',
      policy: 'a1b2',
      durability: 'write-ahead',
      onFailure: 'deny',
    },
    ...{ flushInterval: 50, maxPending: 1e6, segments: ENDLESS },
    ...options,
  })
  return { clock, observer, file, log }
}

describe('write-ahead', () => {
  it('commit returns when every record is on disk: one write and one sync', () => {
    const { log, file } = setUp()
    for (let i = 0; i < 20; i++) log.append(PUBLISH)
    expect(file.bytes.length).toBe(0)
    expect(log.commit()).toBe(true)
    expect(file).toMatchObject({ writes: 1, syncs: 1 })
    expect(verify(file.bytes)).toMatchObject({ ok: true, records: 20 })
  })

  it('async leaves that to the group', () => {
    const { log, file } = setUp({ durability: 'async' })
    log.append(PUBLISH)
    expect(log.commit()).toBe(true)
    expect(file.bytes.length).toBe(0)
  })

  it('nothing to commit costs nothing', () => {
    const { log, file } = setUp()
    expect(log.commit()).toBe(true)
    expect(file.syncs).toBe(0)
  })

  it.each([
    [
      'one after the other',
      (log: AuditLog) => log.append({ ...PUBLISH, decision: 'deny', reason: 'no_rule' }),
    ],
    [
      'as entries of batches',
      (() => {
        let record: PreparedRecord | undefined
        return (log: AuditLog) => {
          record ??= log.prepare(PUBLISH, 'sha256')
          log.appendPrepared(record, 1, 'ab'.repeat(32), 0)
        }
      })(),
    ],
  ])('AUD-09 a flood that nobody commits is written meanwhile, and none of it is lost: %s', (_, append) => {
    const { log, file, observer } = setUp({ maxPending: 64 * 1024, short: true })
    for (let i = 0; i < 5000; i++) append(log)
    expect(observer).toMatchObject({ lostRecords: 0 })
    expect(log.accepting).toBe(true)
    expect(file.bytes.length).toBeGreaterThan(64 * 1024)
    expect(log.pendingBytes).toBeLessThan(16 * 1024)
    expect(log.commit()).toBe(true)
    expect(verify(file.bytes)).toMatchObject({ ok: true })
  })

  it('what nobody commits is written within the interval', () => {
    const { clock, log, file } = setUp()
    log.append(PUBLISH)
    clock.advance(50)
    expect(verify(file.bytes)).toMatchObject({ ok: true, records: 1 })
  })

  it.each([
    ['deny', false],
    ['continue', true],
  ] as const)('AUD-09 on a full disk under %s commit says %s, and recovers', (onFailure, answer) => {
    const { clock, log, file, observer } = setUp({ onFailure })
    log.append(PUBLISH)
    file.room = 100
    expect(log.commit()).toBe(answer)
    expect(log.accepting).toBe(answer)
    expect(observer.errors).toHaveLength(1)
    file.room = Number.POSITIVE_INFINITY
    clock.advance(1000)
    expect(log.accepting).toBe(true)
    log.append(PUBLISH)
    expect(log.commit()).toBe(true)
    expect(verify(file.bytes)).toMatchObject({ ok: true, records: 2 })
  })

  it('a failed sync is a failed commit', () => {
    const { log, file } = setUp()
    file.syncFails = true
    log.append(PUBLISH)
    expect(log.commit()).toBe(false)
  })

  it.each(['write-ahead', 'async'] as const)(
    '%s: a new segment that cannot be begun is a failed write',
    async (durability) => {
      const { clock, log, file } = setUp({ durability, segments: { ...ENDLESS, bytes: 2500 } })
      for (let i = 0; i < 3; i++) log.append(PUBLISH)
      await log.flush()
      file.rotationFails = true
      log.append(PUBLISH)
      await expect(log.flush()).rejects.toThrow('EACCES')
      expect(log.accepting).toBe(false)
      file.rotationFails = false
      clock.advance(1000)
      await log.flush()
      expect(file.rotated).toEqual([1])
      expect(file.tidied).toEqual([1])
      expect(verify(Buffer.concat([...file.closedFiles, file.bytes]))).toMatchObject({ ok: true, records: 5 })
    },
  )
})
