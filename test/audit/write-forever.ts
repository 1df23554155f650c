// Child process of audit-file.test.ts: appends records, and batches of them, until it is killed. Says once that the first are on disk.
import { AuditLog } from '../../src/audit/audit-log.ts'
import { systemClock } from '../../src/clock.ts'
import { DIGEST, ENDLESS, PUBLISH } from './chain.ts'

const silent = { written() {}, lost() {}, failed() {}, recovered() {}, segmentFailed() {} }
const log = await AuditLog.open(process.argv[2]!, {
  clock: systemClock,
  instance: 'child',
  policy: 'a1b2',
  short: true,
  durability: 'async',
  segments: ENDLESS,
  onFailure: 'deny',
  flushInterval: 1,
  maxPending: 1e7,
  observer: silent,
})
const record = log.prepare({ ...PUBLISH, payload: undefined, packet_id: undefined }, 'sha256')
for (let round = 0; ; round++) {
  for (let i = 0; i < 25; i++) log.append(PUBLISH)
  log.tick()
  for (let i = 0; i < 100; i++) log.appendPrepared(record, 120, DIGEST, 7)
  await log.flush()
  if (round === 2) process.stdout.write(`${JSON.stringify(log.head)}\n`)
}
