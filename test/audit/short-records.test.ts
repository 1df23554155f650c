import { readFileSync } from 'node:fs'
import canonicalize from 'canonicalize'
import { describe, expect, it } from 'vitest'
import { MODELS, Models } from '../../src/audit/models.ts'
import { type AuditRecord, GENESIS, RecordEncoder, type WrittenRecord } from '../../src/audit/record.ts'
import { readRecord } from '../../src/audit/record-reader.ts'
import { checkProof, proveRecord } from '../../src/evidence/inclusion-proof.ts'
import { jsonLine } from '../../src/evidence/listing.ts'
import { withSegments } from '../../src/evidence/log-files.ts'
import { select } from '../../src/evidence/selection.ts'
import { verifyLog } from '../../src/evidence/verify-log.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { chainOf, file, forged, headOf, PUBLISH, prepared, preparedChain, verify } from './chain.ts'
import { newLogPath, noteOf, openLog, SIGNER, SMALL } from './log-kit.ts'

const { payload, packet_id: _, ...COMMON } = PUBLISH
const DIGEST = { name: 'sha256', hex: payload!.sha256! } as const

const written = (line: string) => JSON.parse(line) as WrittenRecord
const newEncoder = () =>
  new RecordEncoder({
    clock: new FakeClock(),
    instance: 'postern-1',
    policy: 'a1b2',
    head: GENESIS,
    short: true,
  })

describe('AUD-02 a short record', () => {
  it('and its model together say what the whole record would have said', () => {
    const models = new Models()
    const whole = chainOf(4).map((line) => JSON.parse(line) as AuditRecord)
    for (const [i, line] of preparedChain(4).entries()) {
      const record = models.whole(written(line))!
      const { hash: _h, prev: _p, model: _m, as, ...rest } = record
      const { hash: _h2, prev: _p2, ...expected } = whole[i]!
      expect(rest).toEqual(expected)
      expect(as).toBe(i === 0 ? undefined : 1)
    }
  })

  it('takes a third of the bytes, and is canonical', () => {
    const [model, short] = preparedChain(2) as [string, string]
    expect(short.length).toBeLessThan(model.length / 2.5)
    expect(short).toBe(canonicalize(JSON.parse(short)))
  })

  it('is not written where nobody asked for it', async () => {
    const path = newLogPath()
    const log = await openLog(path)
    const record = log.prepare(COMMON)
    for (let i = 1; i <= 3; i++) log.appendPrepared(record, 120, DIGEST, i)
    await log.close()
    expect(readFileSync(path, 'utf8')).not.toMatch(/"as"|"model"/)
  })

  it.each<[string, (records: RecordEncoder) => void]>([
    ['a new policy', (records) => Object.assign(records, { policy: 'c3d4' })],
    ['a new file', (records) => records.beginFile()],
  ])('is not written after %s before another whole one', (_name, change) => {
    const records = newEncoder()
    const record = records.prepare(COMMON)
    const lines = [prepared(records, record, 1), prepared(records, record, 2)]
    change(records)
    lines.push(prepared(records, record, 3), prepared(records, record, 4))
    expect(lines.map((line) => written(line).as)).toEqual([undefined, 1, undefined, 3])
  })

  it(`refers to one of the last ${MODELS} models, of which a reader keeps no more`, () => {
    const records = newEncoder()
    const first = records.prepare(COMMON)
    const lines = [prepared(records, first, 1)]
    for (let i = 1; i < MODELS; i++) lines.push(prepared(records, records.prepare(COMMON), 1))
    lines.push(prepared(records, first, 2))
    expect(written(lines.at(-1)!).as).toBe(1)
    lines.push(prepared(records, records.prepare(COMMON), 1), prepared(records, first, 3))
    expect(written(lines.at(-1)!)).toMatchObject({ model: true })
    expect(verify(file(lines))).toMatchObject({ ok: true })
    const beyond = { ...headOf(lines.at(-1)!), as: 1 }
    const late = forged(preparedChain(2)[1]!, { as: 1, seq: beyond.seq + 1, prev: beyond.hash })
    expect(verify(file([...lines, late]))).toMatchObject({
      ok: false,
      fault: 'no_model',
      line: lines.length + 1,
    })
  })
})

describe('AUD-04 a chain with short records', () => {
  const lines = preparedChain(4)

  it('is whole', () => {
    expect(verify(file(lines))).toMatchObject({ ok: true, records: 4 })
  })

  it.each([
    ['one that is itself short', { as: 2 }],
    ['one that is still to come', { as: 9 }],
    ['itself', { as: 4 }],
    ['nothing', { as: 0 }],
  ])('does not refer to %s', (_name, change) => {
    const bad = forged(lines[3]!, change)
    expect(verify(file([...lines.slice(0, 3), bad]))).toMatchObject({ ok: false, line: 4, seq: 4 })
  })

  it('does not refer to a record that is no model', () => {
    const [whole] = chainOf(1)
    const bad = forged(lines[1]!, { prev: headOf(whole!).hash })
    expect(verify(file([whole!, bad]))).toMatchObject({ ok: false, fault: 'no_model', seq: 2 })
  })

  it.each([
    ['a member of its own', { decision: 'deny' }],
    ['the mark of a model', { model: true }],
  ])('has no short record with %s', (_name, change) => {
    const bad = forged(lines[1]!, change)
    expect(readRecord(Buffer.from(bad))).toBe('not_record')
    expect(verify(file([lines[0]!, bad]))).toMatchObject({ ok: false, fault: 'not_record', line: 2 })
  })

  it('has no short record in place of the one that seals a tear', () => {
    expect(verify(file([lines[0]!, '{"as":1,"ha', ...lines.slice(1)]))).toMatchObject({
      ok: false,
      fault: 'not_json',
      line: 2,
    })
  })

  it('with its beginning cut off is good in itself, if that is asked for', () => {
    expect(verify(file(lines.slice(2)), { partial: true })).toMatchObject({ ok: true, begins: 'middle' })
    expect(verify(file(lines.slice(2)))).toMatchObject({ ok: false, fault: 'missing_start' })
  })
})

describe('a log with short records', () => {
  async function written40(): Promise<{ path: string; note: string }> {
    const path = newLogPath()
    const log = await openLog(path, { short: true, signer: SIGNER.text, segments: SMALL })
    const record = log.prepare(COMMON)
    for (let i = 1; i <= 40; i++) {
      log.tick()
      log.appendPrepared(record, 120, DIGEST, i)
      await log.flush()
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
    const found: number[] = []
    for await (const record of select([{ worker: '', files }], { human: ['u1'] })) {
      found.push(record.packet_id!)
      expect(jsonLine(record)).toBe(canonicalize(record))
      expect(record).toMatchObject({ action: 'publish', identity: COMMON.identity, rules: COMMON.rules })
    }
    expect(found).toEqual(Array.from({ length: 40 }, (_n, i) => i + 1))
  })

  it('AUD-07 is proven record by record, a short one with its model', async () => {
    const { path, note } = await written40()
    const files = withSegments([path])
    let proven = 0
    for (let seq = 1; seq <= 20; seq++) {
      const proof = await proveRecord(files, seq, note, [SIGNER])
      if (typeof proof === 'string') throw new Error(proof)
      const { as } = written(proof.record)
      expect(proof.model === undefined).toBe(as === undefined)
      if (proof.model === undefined) continue
      proven += 1
      expect(written(proof.model.record).seq).toBe(as)
      const { model, ...without } = proof
      expect(checkProof(without, [SIGNER])).toContain('its model is missing')
      const other = { ...model, record: proof.record, index: proof.index, path: proof.path }
      expect(checkProof({ ...proof, model: other }, [SIGNER])).toContain('not that of the record')
      const changed = { ...model, record: model.record.replace('forwarded', 'forwardad') }
      expect(checkProof({ ...proof, model: changed }, [SIGNER])).toContain('not intact')
    }
    expect(proven).toBeGreaterThan(5)
  })
})
