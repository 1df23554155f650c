import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ChainVerifier } from '../../src/audit/hash-chain.ts'
import { MAX_RECORD_BYTES } from '../../src/audit/record.ts'
import { chainOf, encoder, file, headOf, PUBLISH, verify } from './chain.ts'

const COUNT = 8
const LINES = chainOf(COUNT)
const WHOLE = Buffer.from(file(LINES))
const HEAD = headOf(LINES.at(-1)!)
const index = fc.nat(COUNT - 1)

/** The chain of LINES.slice(0, good), a tear, the gap record that seals it, and more records. */
function sealed(good: number, torn: string, change: { bytes?: number; sha256?: string } = {}): string {
  const records = encoder(headOf(LINES[good - 1]!))
  const gap = records.encode({
    action: 'gap',
    decision: 'deny',
    reason: 'torn_record',
    effect: 'sealed',
    gap: {
      torn_bytes: change.bytes ?? Buffer.byteLength(torn),
      torn_sha256: change.sha256 ?? createHash('sha256').update(torn).digest('hex'),
    },
  })
  return `${file(LINES.slice(0, good))}${torn}\n${file([gap, records.encode(PUBLISH)])}`
}

describe('an untouched chain', () => {
  it('verifies, whatever the pieces in which it is read', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: WHOLE.length }), { maxLength: 6 }), (cuts) => {
        const verifier = new ChainVerifier()
        const places = [0, ...cuts.sort((a, b) => a - b), WHOLE.length]
        for (let i = 1; i < places.length; i++) {
          const piece = Buffer.from(WHOLE.subarray(places[i - 1], places[i]))
          verifier.push(piece)
          piece.fill(0) // the verifier must not keep the caller's buffer
        }
        expect(verifier.end()).toEqual({
          ok: true,
          records: COUNT,
          first: 1,
          begins: 'start',
          head: HEAD,
          torn: 0,
          lost: 0,
        })
      }),
    )
  })

  it('may hold a gap record for lost records; they are counted', () => {
    const gap = encoder(HEAD).encode({
      action: 'gap',
      decision: 'deny',
      reason: 'records_lost',
      effect: 'counted',
      gap: { lost: 5 },
    })
    expect(verify(file([...LINES, gap]))).toMatchObject({ ok: true, records: COUNT + 1, lost: 5 })
  })

  it('is good when empty', () => {
    expect(verify('')).toMatchObject({ ok: true, records: 0 })
  })
})

describe('AUD-04 A1 the first bad record is named', () => {
  it('when any bit of the file is flipped', () => {
    fc.assert(
      fc.property(fc.nat(WHOLE.length - 1), fc.nat(7), (at, bit) => {
        const bytes = Buffer.from(WHOLE)
        bytes[at]! ^= 1 << bit
        const hit = WHOLE.subarray(0, at).filter((byte) => byte === 0x0a).length + 1
        expect(verify(bytes)).toMatchObject({ ok: false, line: hit, seq: hit })
      }),
      { numRuns: 2000 },
    )
  })

  it('when any byte is put in or taken out', () => {
    fc.assert(
      fc.property(fc.nat(WHOLE.length - 1), fc.option(fc.nat(255)), (at, added) => {
        const put = added === null ? Buffer.alloc(0) : Buffer.from([added])
        const bytes = Buffer.concat([
          WHOLE.subarray(0, at),
          put,
          WHOLE.subarray(added === null ? at + 1 : at),
        ])
        if (bytes.equals(WHOLE)) return
        // A newline before a newline leaves the record whole and makes an empty line behind it.
        const kept = added === 0x0a && WHOLE[at] === 0x0a ? at + 1 : at
        const hit = WHOLE.subarray(0, kept).filter((byte) => byte === 0x0a).length + 1
        expect(verify(bytes)).toMatchObject({ ok: false, seq: hit })
      }),
      { numRuns: 1000 },
    )
  })

  it('when a record is dropped, unless it is the last', () => {
    for (let i = 0; i < COUNT - 1; i++) {
      const report = verify(file(LINES.toSpliced(i, 1)))
      expect(report).toMatchObject({ ok: false, line: i + 1, fault: i === 0 ? 'missing_start' : 'seq_gap' })
      if (i > 0) expect(report).toMatchObject({ seq: i + 1 })
    }
  })

  it('when a record is repeated or moved', () => {
    fc.assert(
      fc.property(index, index, (from, to) => {
        expect(verify(file(LINES.toSpliced(to, 0, LINES[from]!)))).toMatchObject({ ok: false })
        if (from === to) return
        const moved = LINES.with(from, LINES[to]!).with(to, LINES[from]!)
        expect(verify(file(moved))).toMatchObject({ ok: false, line: Math.min(from, to) + 1 })
      }),
    )
  })

  it('when a forged record is put in with a right hash', () => {
    for (let i = 1; i < COUNT; i++) {
      const forged = encoder(headOf(LINES[i - 1]!)).encode({ ...PUBLISH, decision: 'deny' })
      expect(verify(file(LINES.toSpliced(i, 0, forged)))).toMatchObject({
        ok: false,
        fault: 'seq_gap',
        line: i + 2,
      })
      const replaced = verify(file(LINES.with(i, forged)))
      if (i < COUNT - 1) expect(replaced).toMatchObject({ ok: false, fault: 'prev_mismatch', line: i + 2 })
    }
  })

  it('when another file is joined', () => {
    const other = chainOf(3)
    expect(verify(file([...LINES, ...other]))).toMatchObject({
      ok: false,
      fault: 'joined_chain',
      line: COUNT + 1,
    })
    expect(verify(file([...LINES, ...other.slice(1)]))).toMatchObject({
      ok: false,
      fault: 'seq_gap',
      line: COUNT + 1,
    })
  })

  it('when the tail is cut within a record', () => {
    expect(verify(WHOLE.subarray(0, -1))).toMatchObject({
      ok: false,
      fault: 'torn_tail',
      line: COUNT,
      seq: COUNT,
    })
    expect(verify(WHOLE.subarray(0, -400))).toMatchObject({ ok: false, fault: 'torn_tail', line: COUNT })
  })

  it('when the tail is cut between records and the head is known from elsewhere', () => {
    const cut = file(LINES.slice(0, -1))
    expect(verify(cut)).toMatchObject({ ok: true })
    expect(verify(cut, { known: HEAD })).toMatchObject({ ok: false, fault: 'known_record_missing' })
    expect(verify(WHOLE, { known: HEAD })).toMatchObject({ ok: true })
  })

  it('when the whole chain was written anew and a record is known from elsewhere', () => {
    const records = encoder()
    const anew = LINES.map(() => records.encode({ ...PUBLISH, effect: 'dropped' }))
    expect(verify(file(anew), { known: headOf(LINES[3]!) })).toMatchObject({
      ok: false,
      fault: 'known_record_missing',
      line: 4,
      seq: 4,
    })
  })

  it.each([
    ['not_json', 'hello'],
    ['not_json', ''],
    ['not_json', Buffer.from([0xff, 0xfe])],
    ['not_record', '{}'],
    ['not_record', 'null'],
    ['not_record', LINES[2]!.replace('"v":1', '"v":2')],
    ['not_canonical', LINES[2]!.replace('"v":1', '"v":1.0')],
    ['not_canonical', LINES[2]!.replace(':', ': ')],
    [
      'not_canonical',
      LINES[2]!.replace('{"action":"publish",', '{').replace('"v":1}', '"v":1,"action":"publish"}'),
    ],
    ['not_canonical', LINES[2]!.replace('"v":1}', '"v":1,"v":1}')],
    ['not_canonical', LINES[2]!.replace('scout', '\\u0073cout')],
    ['not_canonical', LINES[2]!.replace('"v":1}', `"v":1,"w":${'['.repeat(20000)}${']'.repeat(20000)}}`)],
    ['not_canonical', LINES[2]!.replace('"v":1}', '"v":1,"w":"\\ud800"}')],
    ['hash_mismatch', LINES[2]!.replace('"v":1}', '"v":1,"w":{"10":1,"9":1}}')],
    ['hash_mismatch', LINES[2]!.replace('"allow"', '"deny"')],
  ])('when a line is %s (%#)', (fault, line) => {
    const bytes = Buffer.concat([
      Buffer.from(file(LINES.slice(0, 2))),
      Buffer.from(line),
      Buffer.from('\n'),
      Buffer.from(file(LINES.slice(3))),
    ])
    expect(verify(bytes)).toMatchObject({ ok: false, fault, line: 3, seq: 3 })
  })

  it('when a line has no end, in bounded memory', () => {
    const verifier = new ChainVerifier()
    const piece = Buffer.alloc(1024 * 1024, 'x')
    let pushed = 0
    while (!verifier.done) {
      verifier.push(piece)
      pushed += piece.length
    }
    expect(pushed).toBeLessThanOrEqual(MAX_RECORD_BYTES + piece.length)
    expect(verifier.end()).toMatchObject({ ok: false, fault: 'too_long', line: 1 })
  })
})

describe('AUD-08 a sealed tear', () => {
  it.each(['{', LINES[4]!.slice(0, 200), `${LINES[4]!.slice(0, 50)}\n{"act`, '\0\0\0', ''])(
    'verifies (%#)',
    (torn) => {
      expect(verify(sealed(4, torn))).toMatchObject({ ok: true, records: 6, torn: 1 })
    },
  )

  it.each([
    ['names other bytes', sealed(4, '{"act', { sha256: 'e'.repeat(64) })],
    ['names another length', sealed(4, '{"act', { bytes: 4 })],
    ['was forged elsewhere', `${file(LINES.slice(0, 3))}{"act\n${file(LINES.slice(3))}`],
    ['hides a changed record', sealed(3, LINES[3]!.replace('allow', 'deny'))],
    ['is torn itself', sealed(4, '{"act').slice(0, -1500)],
    ['was never sealed', `${file(LINES.slice(0, 4))}{"act\n`],
  ])('is bad when it %s', (_, bytes) => {
    expect(verify(bytes)).toMatchObject({ ok: false })
  })

  it('does not make a gap record good that has no tear before it', () => {
    expect(verify(sealed(4, '{"act').replace('{"act\n', ''))).toMatchObject({
      ok: false,
      fault: 'not_record',
      line: 5,
    })
  })
})

describe('several files', () => {
  const next = file(chainOf(3, HEAD))

  it('may continue one another', () => {
    expect(verify(next, { before: HEAD })).toMatchObject({ ok: true, first: COUNT + 1, begins: 'continues' })
  })

  it('are bad when the start is missing, unless a partial chain is asked for', () => {
    expect(verify(next)).toMatchObject({ ok: false, fault: 'missing_start', line: 1 })
    expect(verify(next, { before: headOf(LINES[2]!) })).toMatchObject({ ok: false, fault: 'missing_start' })
    expect(verify(next, { partial: true })).toMatchObject({ ok: true, begins: 'middle' })
  })
})
