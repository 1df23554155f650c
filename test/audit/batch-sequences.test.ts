// Whatever order things come in, the log says them all in that order, each once.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { AuditLog } from '../../src/audit/audit-log.ts'
import type { AuditEvent, PreparedRecord } from '../../src/audit/event.ts'
import { ChainVerifier } from '../../src/audit/hash-chain.ts'
import { MerkleTree } from '../../src/audit/merkle.ts'
import { Models } from '../../src/audit/models.ts'
import { type AuditRecord, type ChainHead, GENESIS, type WrittenRecord } from '../../src/audit/record.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { ENDLESS, PUBLISH } from './chain.ts'
import { CountingObserver, FakeFile } from './fake-file.ts'

const TOPICS = ['a', 'b', 'größe']
const { payload: _, packet_id: __, ...COMMON } = PUBLISH

const step = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('prepared' as const),
      topic: fc.nat(TOPICS.length - 1),
      times: fc.oneof({ weight: 9, arbitrary: fc.integer({ min: 1, max: 4 }) }, fc.constant(300)),
      length: fc.oneof(fc.nat(9), fc.nat(2 ** 28)),
      packetId: fc.nat(65535),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant('tick' as const), ms: fc.constantFrom(0, 0.001, 1, 60) }),
  },
  ...(['append', 'commit', 'flush', 'policy', 'look', 'prepare again', 'fail once'] as const).map((name) =>
    fc.record({ do: fc.constant(name) }),
  ),
)

interface Expected {
  action: string
  topic: string | undefined
  length: number | undefined
  sha256: string | undefined
  packet_id: number | undefined
  policy: string
}

const said = (record: AuditRecord): Expected => ({
  action: record.action,
  topic: record.resource?.topic,
  length: record.payload?.length,
  sha256: record.payload?.sha256,
  packet_id: record.packet_id,
  policy: record.policy,
})

function setUp(durability: 'async' | 'write-ahead', segmentBytes: number) {
  const [clock, observer, file] = [new FakeClock(), new CountingObserver(), new FakeFile()]
  const tail = {
    ...{ head: GENESIS, unterminated: false, torn: undefined, segment: 1, oldest: 1, begins: false, size: 0 },
    ...{ begunMs: undefined, tree: new MerkleTree(), signer: 'k' },
  }
  const log = new AuditLog(file, tail, {
    ...{ clock, observer, durability, instance: 'postern-1', policy: 'p0', onFailure: 'deny', short: true },
    ...{ flushInterval: 50, maxPending: 1e9, segments: { ...ENDLESS, bytes: segmentBytes }, signer: 'k' },
  })
  return { clock, observer, file, log }
}

/** The records of all files, each file proven. */
function readBack(files: readonly Buffer[]): {
  records: AuditRecord[]
  lines: WrittenRecord[]
  head: ChainHead
} {
  const records: AuditRecord[] = []
  const lines: WrittenRecord[] = []
  let before: ChainHead | undefined
  for (const bytes of files) {
    const verifier = new ChainVerifier({ before })
    verifier.push(bytes)
    const report = verifier.end()
    if (!report.ok) throw new Error(`${report.line}: ${report.message}`)
    before = report.head
    const models = new Models()
    for (const text of bytes.toString().split('\n').slice(0, -1)) {
      const line = JSON.parse(text) as WrittenRecord
      lines.push(line)
      records.push(...models.records(line))
    }
  }
  return { records, lines, head: before ?? GENESIS }
}

describe.each(['async', 'write-ahead'] as const)('AUD-02 AUD-04 a log under %s', (durability) => {
  it('says what happened, in order, each once, whatever comes between', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { minLength: 1, maxLength: 30 }),
        fc.constantFrom(2000, 20_000, Number.POSITIVE_INFINITY),
        async (steps, segmentBytes) => {
          const { clock, observer, file, log } = setUp(durability, segmentBytes)
          const expected: Expected[] = []
          let policy = 'p0'
          const times: number[] = []
          const startMs = clock.now()
          const eventOf = (topic: string): AuditEvent => ({ ...COMMON, resource: { topic } })
          const prepareAll = (): PreparedRecord[] => TOPICS.map((t) => log.prepare(eventOf(t), 'sha256'))
          let prepared = prepareAll()
          let digests = 0
          log.tick()
          for (const next of steps) {
            switch (next.do) {
              case 'prepared':
                for (let i = 0; i < next.times; i++) {
                  const { length, packetId } = next
                  const sha256 = (digests++).toString(16).padStart(64, '0')
                  log.appendPrepared(prepared[next.topic]!, length, sha256, packetId)
                  const id = packetId === 0 ? undefined : packetId
                  const [action, topic] = ['publish', TOPICS[next.topic]]
                  expected.push({ action, topic, length, sha256, packet_id: id, policy })
                  times.push(clock.monotonic())
                }
                break
              case 'append': {
                const event: AuditEvent = { action: 'renew', decision: 'allow', reason: 'ok', effect: 'ok' }
                log.append(event)
                const none = { topic: undefined, length: undefined, sha256: undefined, packet_id: undefined }
                expected.push({ action: 'renew', ...none, policy })
                times.push(clock.monotonic())
                break
              }
              case 'tick':
                clock.advance(next.ms)
                log.tick()
                break
              case 'commit':
                expect(log.commit()).toBe(true)
                if (durability === 'write-ahead') expect(log.pendingBytes).toBe(0)
                break
              case 'flush':
                await log.flush()
                expect(log.pendingBytes).toBe(0)
                break
              case 'policy':
                policy = `p${expected.length}`
                log.policy = policy
                break
              case 'look':
                expect(log.tree!.size).toBe(log.head.seq)
                break
              case 'prepare again':
                prepared = prepareAll()
                break
              case 'fail once':
                file.syncFails = true
                await log.flush().catch(() => {})
                file.syncFails = false
                await log.flush()
            }
          }
          const root = log.tree!.root()
          const head = log.head
          await log.close()
          const found = readBack([...file.closedFiles, file.bytes])
          const actions = found.records.filter(({ action }) => action !== 'segment')
          expect(actions.map(said)).toEqual(expected)
          for (const [i, { action, mono, time }] of actions.entries()) {
            // Those of messages may say the time of another within the same millisecond.
            const lateUs = Math.round(times[i]! * 1000) - mono
            expect(lateUs).toBeGreaterThanOrEqual(0)
            expect(lateUs).toBeLessThan(action === 'publish' ? 1000 : 1)
            expect(time).toBe(new Date(startMs + mono / 1000).toISOString())
          }
          expect(found.head).toEqual(head)
          expect(observer).toMatchObject({ writtenRecords: found.records.length, lostRecords: 0 })
          const tree = new MerkleTree()
          for (const { hash } of found.lines) tree.append(hash)
          expect(tree.root()).toEqual(root)
          const entries = found.lines.map((line) => (line.action === undefined ? line.batch.length : 1))
          expect(Math.max(0, ...entries)).toBeLessThanOrEqual(256)
        },
      ),
      { numRuns: 60 },
    )
  })
})
