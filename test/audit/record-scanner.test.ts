import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { type AuditRecord, GENESIS, type WrittenRecord } from '../../src/audit/record.ts'
import { readRecord } from '../../src/audit/record-reader.ts'
import { type Link, scanRecord } from '../../src/audit/record-scanner.ts'
import { batchOf, chainOf, encoder, PUBLISH, prepared, preparedChain } from './chain.ts'

const LINES = [
  ...chainOf(3),
  ...preparedChain(3),
  ...batchOf(3),
  ...[undefined, 'hmac_sha256' as const].map(mixedBatch),
  encoder().encode({ action: 'start', decision: 'allow', reason: 'ok', effect: 'listening' }),
  encoder().encode({ ...PUBLISH, repeated: { count: 3, first: 'a', last: 'b', bytes: 0 }, decision: 'deny' }),
].map((line) => Buffer.from(line))

/** Entries of two models, in turn. */
function mixedBatch(digest: 'hmac_sha256' | undefined): string {
  const records = encoder(GENESIS, true)
  const models = ['a', 'b'].map((topic) => records.prepare({ ...PUBLISH, resource: { topic } }, digest))
  for (const model of models) prepared(records, [[model, 1]])
  return prepared(
    records,
    [0, 0, 1, 0].map((i) => [models[i]!, i]),
  )
}

function linkOf(record: WrittenRecord): Link {
  const { seq, prev, hash } = record
  if (record.action !== undefined) return { seq, prev, hash, as: undefined, model: record.model === true }
  const as = record.batch.map((entry) => entry.as)
  return { seq, prev, hash, as: as.filter((one, i) => one !== as[i - 1]), model: false }
}

it('AUD-04 takes the ordinary records, with what ties them together', () => {
  for (const line of LINES) {
    expect(scanRecord(line)).toEqual(linkOf(JSON.parse(line.toString())))
  }
})

it.each([
  ['escapes', encoder().encode({ ...PUBLISH, resource: { topic: 'a"b' } })],
  ['text beyond ASCII', encoder().encode({ ...PUBLISH, resource: { topic: 'größe' } })],
  ['gap', encoder().encode({ ...PUBLISH, gap: { lost: 1 } })],
  ['segment', encoder().encode({ ...PUBLISH, segment: { number: 2, oldest: 1 } })],
  ['signer', encoder().encode({ ...PUBLISH, signer: 'x' })],
  ['nothing', ''],
])('leaves %s to the strict reader', (_, line) => {
  expect(scanRecord(Buffer.from(line))).toBeUndefined()
})

/** Pieces of JSON that could fool a scanner. */
const PIECES = [
  '"',
  '{',
  '}',
  '[',
  ']',
  ',',
  ':',
  '\\',
  ' ',
  '0',
  '1',
  '-',
  '.',
  'e',
  'null',
  'true',
  '"v":1',
  ',"a":1',
  '\u00e9',
  '\0',
]

it('AUD-04 accepts nothing that the strict reader refuses, and says the same of what it accepts', () => {
  const edit = fc.record({
    at: fc.nat(3000),
    remove: fc.nat(3),
    put: fc.oneof(fc.constantFrom(...PIECES), fc.string({ maxLength: 3 })),
  })
  fc.assert(
    fc.property(fc.constantFrom(...LINES), fc.array(edit, { maxLength: 3 }), (line, edits) => {
      let text = line.toString()
      for (const { at, remove, put } of edits) {
        const place = at % (text.length + 1)
        text = text.slice(0, place) + put + text.slice(place + remove)
      }
      const scanned = scanRecord(Buffer.from(text))
      if (scanned === undefined) return
      expect(scanned).toEqual(linkOf(readRecord(Buffer.from(text)) as AuditRecord))
    }),
    { numRuns: 3000 },
  )
})

it('AUD-04 nor does it accept canonical-looking changes with a hash made to fit', () => {
  const shapes: [string, (record: Record<string, unknown>) => void][] = [
    ['members out of order', (r) => Object.assign(r, { aaa: 1 })],
    ['a missing member', (r) => delete r['reason']],
    ['a number for text', (r) => Object.assign(r, { reason: 1 })],
    ['text for a number', (r) => Object.assign(r, { mono: '1' })],
    ['an object for a number', (r) => Object.assign(r, { mono: {} })],
    ['true for a number', (r) => Object.assign(r, { seq: true })],
    ['a model of its own', (r) => Object.assign(r, { as: 1, seq: 2 })],
    ['a batch', (r) => Object.assign(r, { batch: [{ as: 1, length: 1 }], seq: 2 })],
    ['version 2', (r) => Object.assign(r, { v: 2 })],
    ['another decision', (r) => Object.assign(r, { decision: 'maybe' })],
    ['a short prev', (r) => Object.assign(r, { prev: 'ab' })],
    ['seq 0', (r) => Object.assign(r, { seq: 0 })],
    ['a fraction', (r) => Object.assign(r, { mono: 1.5 })],
  ]
  for (const [name, change] of shapes) {
    const record = JSON.parse(LINES[0]!.toString()) as Record<string, unknown>
    change(record)
    const { hash: _, ...rest } = record
    const text = JSON.stringify(rest)
    const digest = hashOf(text)
    // Put back where it stood: behind `effect`.
    const line = text.replace(/("effect":"[^"]*")/, `$1,"hash":"${digest}"`)
    expect(scanRecord(Buffer.from(line)), name).toBeUndefined()
  }
})

function hashOf(text: string): string {
  return createHash('sha256').update(`\0${text}`).digest('hex')
}
