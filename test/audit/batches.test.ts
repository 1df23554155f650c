import { readFileSync } from 'node:fs'
import canonicalize from 'canonicalize'
import { describe, expect, it } from 'vitest'
import { MOST_ENTRIES } from '../../src/audit/batch-writer.ts'
import { MODELS, Models } from '../../src/audit/models.ts'
import {
  type AuditRecord,
  type BatchRecord,
  GENESIS,
  RecordEncoder,
  type WrittenRecord,
} from '../../src/audit/record.ts'
import { readRecord } from '../../src/audit/record-reader.ts'
import { scanRecord } from '../../src/audit/record-scanner.ts'
import { checkProof, proveRecord } from '../../src/evidence/inclusion-proof.ts'
import { csvHeader, csvRow, jsonLine } from '../../src/evidence/listing.ts'
import { withSegments } from '../../src/evidence/log-files.ts'
import { parseTopic, select } from '../../src/evidence/selection.ts'
import { verifyLog } from '../../src/evidence/verify-log.ts'
import type { TopicFilter } from '../../src/policy/topic-filter.ts'
import { FakeClock } from '../support/fake-clock.ts'
import {
  batchOf,
  chainOf,
  DIGEST,
  file,
  forged,
  headOf,
  PUBLISH,
  prepared,
  preparedChain,
  verify,
} from './chain.ts'
import { newLogPath, noteOf, openLog, SIGNER, SMALL } from './log-kit.ts'

const { payload: _, packet_id: __, ...COMMON } = PUBLISH

const written = (line: string) => JSON.parse(line) as WrittenRecord
const batch = (line: string) => written(line) as BatchRecord
const newEncoder = () =>
  new RecordEncoder({
    clock: new FakeClock(),
    instance: 'postern-1',
    policy: 'a1b2',
    head: GENESIS,
    short: true,
  })

/** What each line refers to: nothing, or the models of its entries. */
const modelsOf = (lines: readonly string[]) =>
  lines.map((line) => batch(line).batch?.map(({ as }) => as) ?? 'whole')

describe('AUD-02 a batch', () => {
  it.each(['sha256', 'hmac_sha256', undefined] as const)(
    'and its models together say what whole records would have said; digest %s',
    (digest) => {
      const records = newEncoder()
      const made = [COMMON, { ...COMMON, resource: { topic: 'other', qos: 0, retain: false } }].map((event) =>
        records.prepare(event, digest),
      )
      const [one, two] = made as [(typeof made)[0], (typeof made)[0]]
      const lines = [
        prepared(records, [[one, 1]]),
        prepared(records, [[two, 0]]),
        prepared(records, [
          [one, 2],
          [two, 0],
          [one, 65535],
        ]),
      ]
      expect(verify(file(lines))).toMatchObject({ ok: true, records: 3 })
      expect(modelsOf(lines)).toEqual(['whole', 'whole', [1, 2, 1]])
      expect(lines[2]).toBe(canonicalize(written(lines[2]!)))
      const models = new Models()
      const found = lines.flatMap((line) => models.records(written(line)))
      const payload = digest === undefined ? { length: 120 } : { length: 120, [digest]: DIGEST }
      const { time, mono } = found[0]!
      const rest = { payload, time, mono, instance: 'postern-1', policy: 'a1b2', v: 1 }
      const { seq, prev, hash } = batch(lines[2]!)
      const line = { ...rest, seq, prev, hash }
      expect(found.slice(2)).toEqual([
        { ...one.event, ...line, packet_id: 2, as: 1, entry: 1 },
        { ...two.event, ...line, as: 2, entry: 2 },
        { ...one.event, ...line, packet_id: 65535, as: 1, entry: 3 },
      ])
    },
  )

  it('takes an eighth of the bytes for each action', () => {
    const [model, line] = batchOf(100)
    expect(line.length / 100).toBeLessThan(model.length / 8)
  })

  it('is not written where nobody asked for it', async () => {
    const path = newLogPath()
    const log = await openLog(path)
    const record = log.prepare(COMMON, 'sha256')
    for (let i = 1; i <= 3; i++) log.appendPrepared(record, 120, DIGEST, i)
    await log.close()
    expect(readFileSync(path, 'utf8')).not.toMatch(/"as"|"batch"|"model"/)
  })

  it('ends where the time goes on, another record comes, somebody looks, and it is long enough', async () => {
    const path = newLogPath()
    const clock = new FakeClock()
    const log = await openLog(path, { short: true, clock })
    const record = log.prepare(COMMON, 'sha256')
    const add = (count: number) => {
      for (let i = 0; i < count; i++) log.appendPrepared(record, 120, DIGEST, 1)
    }
    log.tick()
    add(3)
    clock.advance(1)
    log.tick()
    add(3)
    log.append(PUBLISH)
    add(2)
    log.tick()
    add(2)
    expect(log.head.seq).toBe(5)
    add(MOST_ENTRIES + 1)
    await log.close()
    const lines = readFileSync(path, 'utf8').trim().split('\n')
    expect(lines.map((line) => batch(line).batch?.length)).toEqual([
      ...[undefined, 2, 3, undefined, 4],
      ...[MOST_ENTRIES, 1],
    ])
  })

  it.each<[string, (records: RecordEncoder) => void]>([
    ['a new policy', (records) => Object.assign(records, { policy: 'c3d4' })],
    ['a new file', (records) => records.beginFile()],
  ])('is not written after %s before another whole one', (_name, change) => {
    const records = newEncoder()
    const record = records.prepare(COMMON, 'sha256')
    const lines = [prepared(records, [[record, 1]]), prepared(records, [[record, 2]])]
    change(records)
    lines.push(prepared(records, [[record, 3]]), prepared(records, [[record, 4]]))
    expect(modelsOf(lines)).toEqual(['whole', [1], 'whole', [3]])
  })

  it(`refers to the last ${MODELS} models, of which a reader keeps no more`, () => {
    const records = newEncoder()
    const first = records.prepare(COMMON, 'sha256')
    const lines = [prepared(records, [[first, 1]])]
    const another = () => prepared(records, [[records.prepare(COMMON, 'sha256'), 1]])
    for (let i = 1; i < MODELS; i++) lines.push(another())
    lines.push(prepared(records, [[first, 2]]))
    expect(modelsOf(lines.slice(-1))).toEqual([[1]])
    lines.push(another(), prepared(records, [[first, 3]]))
    expect(written(lines.at(-1)!)).toMatchObject({ model: true })
    expect(verify(file(lines))).toMatchObject({ ok: true })
    const beyond = headOf(lines.at(-1)!)
    const late = forged(preparedChain(2)[1]!, { seq: beyond.seq + 1, prev: beyond.hash })
    expect(verify(file([...lines, late]))).toMatchObject({
      ok: false,
      fault: 'no_model',
      line: lines.length + 1,
    })
  })
})

describe('AUD-04 a chain with batches', () => {
  const lines = preparedChain(4)

  it('is whole', () => {
    expect(verify(file(lines))).toMatchObject({ ok: true, records: 4 })
  })

  it.each([
    ['itself a batch', 2],
    ['still to come', 9],
    ['the batch itself', 4],
    ['nothing', 0],
  ])('has no entry that refers to what is %s', (_name, as) => {
    for (const entries of [
      [{ as, length: 1 }],
      [
        { as: 1, length: 1 },
        { as, length: 1 },
      ],
    ]) {
      const bad = forged(lines[3]!, { batch: entries })
      expect(verify(file([...lines.slice(0, 3), bad]))).toMatchObject({ ok: false, line: 4, seq: 4 })
    }
  })

  it('has no entry that refers to a record that is no model', () => {
    const [whole] = chainOf(1)
    const bad = forged(lines[1]!, { prev: headOf(whole!).hash })
    expect(verify(file([whole!, bad]))).toMatchObject({ ok: false, fault: 'no_model', seq: 2 })
  })

  it.each<[string, object]>([
    ['a member of a whole record', { decision: 'deny' }],
    ['the mark of a model', { model: true }],
    ['a model for all', { as: 1 }],
    ['no entry', { batch: [] }],
    ['no list', { batch: { as: 1, length: 1 } }],
    ...[
      ...[{}, 1, null, [], { length: 1 }, { as: 1 }, { as: '1', length: 1 }, { as: 1, length: '1' }],
      ...[
        { as: 1, length: -1 },
        { as: 1, length: 1.5 },
        { as: 1, length: 1, sha256: 'AB'.repeat(32) },
      ],
      ...[
        { as: 1, length: 1, sha256: 'ab' },
        { as: 1, hmac_sha256: DIGEST, length: 1, sha256: DIGEST },
      ],
      ...[0, 2, 3].map((as) => ({ as, length: 1 })),
      ...[0, 65536, '7'].map((packet_id) => ({ as: 1, length: 1, packet_id })),
      ...[{ topic: 't' }, { human: 'u2' }, { entry: 1 }].map((more) => ({ as: 1, length: 1, ...more })),
    ].map((entry): [string, object] => [`the entry ${JSON.stringify(entry)}`, { batch: [entry] }]),
  ])('has no batch with %s', (_name, change) => {
    const bad = forged(lines[1]!, change)
    expect(scanRecord(Buffer.from(bad))).toBeUndefined()
    expect(readRecord(Buffer.from(bad))).toBe('not_record')
    expect(verify(file([lines[0]!, bad]))).toMatchObject({ ok: false, fault: 'not_record', line: 2 })
  })

  it.each([{ as: 1 }, { entry: 1 }])('has no whole record with %j', (change) => {
    const bad = forged(lines[0]!, change)
    expect(scanRecord(Buffer.from(bad))).toBeUndefined()
    expect(readRecord(Buffer.from(bad))).toBe('not_record')
  })

  it('has no batch in place of the record that seals a tear', () => {
    expect(verify(file([lines[0]!, '{"batch":[{"as', ...lines.slice(1)]))).toMatchObject({
      ok: false,
      fault: 'not_json',
      line: 2,
    })
  })

  it('with its beginning cut off is good in itself, if that is asked for', () => {
    expect(verify(file(lines.slice(2)), { partial: true })).toMatchObject({ ok: true, begins: 'middle' })
    expect(verify(file(lines.slice(2)))).toMatchObject({ ok: false, fault: 'missing_start' })
  })

  const [model, line] = batchOf(3)
  const { hash } = headOf(line)
  const known = { seq: 2, hash }

  it('shows every bit of a batch that was flipped', () => {
    const good = Buffer.from(file([model, line]))
    expect(verify(good, { known })).toMatchObject({ ok: true })
    const accepted: string[] = []
    for (let at = model.length + 1; at < good.length - 1; at++) {
      for (let bit = 1; bit < 256; bit *= 2) {
        good[at]! ^= bit
        if (verify(good, { known }).ok) accepted.push(`${at}: ${good.toString('latin1', at, at + 1)}`)
        good[at]! ^= bit
      }
    }
    expect(accepted).toEqual([])
  })

  it.each<[string, (entries: BatchRecord['batch']) => BatchRecord['batch']]>([
    ['removed', (entries) => entries.slice(1)],
    ['removed at the end', (entries) => entries.slice(0, -1)],
    ['swapped', ([a, b, c]) => [b!, a!, c!]],
    ['repeated', ([a, b, c]) => [a!, a!, b!, c!]],
    ['changed', ([a, b, c]) => [a!, { ...b!, packet_id: 99 }, c!]],
  ])('shows an entry that was %s', (_name, edit) => {
    const [, ...rest] = preparedChain(3, known)
    const edited = { batch: edit(batch(line).batch) }
    const plain = canonicalize({ ...batch(line), ...edited })!
    expect(plain).not.toBe(line)
    expect(verify(file([model, plain]))).toMatchObject({ ok: false, fault: 'hash_mismatch', line: 2 })
    // With a hash that fits, what follows does not, nor does what is known from elsewhere.
    const refit = forged(line, edited)
    expect(verify(file([model, refit]))).toMatchObject({ ok: true })
    expect(verify(file([model, refit]), { known })).toMatchObject({ ok: false })
    const next = forged(rest[0]!, { seq: 3, prev: hash, batch: [{ as: 1, length: 1 }] })
    expect(verify(file([model, line, next]))).toMatchObject({ ok: true })
    expect(verify(file([model, refit, next]))).toMatchObject({ ok: false, fault: 'prev_mismatch', line: 3 })
  })
})

describe('a log with batches', () => {
  async function written40(): Promise<{ path: string; note: string }> {
    const path = newLogPath()
    const log = await openLog(path, { short: true, signer: SIGNER.text, segments: SMALL })
    const topics = ['a', 'b'].map((topic) => log.prepare({ ...COMMON, resource: { topic } }, 'sha256'))
    for (let i = 1; i <= 40; i++) {
      log.tick()
      log.appendPrepared(topics[i % 2]!, 120, DIGEST, i)
      if (i % 3 === 0) await log.flush()
    }
    const note = noteOf(log)
    await log.close()
    return { path, note }
  }

  it('AUD-14 has models of its own in each segment, and every record is found by its human', async () => {
    const { path } = await written40()
    const files = withSegments([path])
    expect(files.length).toBeGreaterThan(2)
    expect(await verifyLog(files, { partial: false })).toMatchObject({ ok: true })
    const found: AuditRecord[] = []
    for await (const record of select([{ worker: '', files }], { human: ['u1'] })) {
      found.push(record)
      expect(jsonLine(record)).toBe(canonicalize(record))
      expect(record).toMatchObject({ action: 'publish', identity: COMMON.identity, rules: COMMON.rules })
      expect(record.payload).toEqual({ length: 120, sha256: DIGEST })
    }
    expect(found.map(({ packet_id: id }) => id)).toEqual(Array.from({ length: 40 }, (_n, i) => i + 1))
    expect(found.filter(({ entry }) => entry === 2).length).toBeGreaterThan(5)
    const columns = csvHeader().split(',')
    const row = csvRow(found.find(({ entry }) => entry === 2)!)
    for (const value of ['2', DIGEST]) expect(row.split(',')).toContain(value)
    expect(columns).toEqual(expect.arrayContaining(['seq', 'entry', 'packet_id', 'payload_digest']))
  })

  it('AUD-14 answers for one topic of those in a batch', async () => {
    const { path } = await written40()
    const ids: number[] = []
    const chains = [{ worker: '', files: withSegments([path]) }]
    const topic = parseTopic('a') as TopicFilter
    for await (const record of select(chains, { topic })) ids.push(record.packet_id!)
    expect(ids).toEqual(Array.from({ length: 20 }, (_n, i) => 2 * i + 2))
  })

  it('AUD-07 is proven record by record, a batch with its models', async () => {
    const { path, note } = await written40()
    const files = withSegments([path])
    let proven = 0
    for (let seq = 1; seq <= 20; seq++) {
      const proof = await proveRecord(files, seq, note, [SIGNER])
      if (typeof proof === 'string') throw new Error(proof)
      const { batch: entries } = batch(proof.record)
      expect(proof.models?.map(({ record }) => headOf(record).seq)).toEqual(
        entries && [...new Set(entries.map(({ as }) => as))],
      )
      if (proof.models === undefined) continue
      proven += 1
      expect(checkProof(proof, [SIGNER])).toMatchObject({ records: entries.map(() => ({ seq })) })
      const [model, ...more] = proof.models
      expect(checkProof({ ...proof, models: more }, [SIGNER])).toContain('model of it is missing')
      const itself = { record: proof.record, index: proof.index, path: proof.path }
      expect(checkProof({ ...proof, models: [itself, ...more] }, [SIGNER])).toContain(
        'model of it is missing',
      )
      const changed = { ...model!, record: model!.record.replace('forwarded', 'forwardad') }
      expect(checkProof({ ...proof, models: [changed, ...more] }, [SIGNER])).toContain('not intact')
    }
    expect(proven).toBeGreaterThan(5)
  })
})
