import { readFileSync, writeFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { type OpenedCheckpoint, openCheckpoint } from '../../src/audit/signed-note.ts'
import { checkProof, parseProof, proveRecord } from '../../src/evidence/inclusion-proof.ts'
import { withSegments } from '../../src/evidence/log-files.ts'
import { verifyLog } from '../../src/evidence/verify-log.ts'
import {
  NEW_SIGNER,
  newLogPath,
  noteOf,
  openLog,
  SIGNER,
  SMALL,
  write,
  writeAndClose,
} from '../audit/log-kit.ts'

const opened = (note: string, keys = [SIGNER, NEW_SIGNER]) => openCheckpoint(note, keys) as OpenedCheckpoint
const verify = (path: string, ...notes: string[]) =>
  verifyLog(withSegments([path]), { partial: false, checkpoints: notes.map((note) => opened(note)) })

/** A log of several segments with checkpoints after 4 and after all records. */
async function signedLog(retention = {}): Promise<{ path: string; early: string; late: string }> {
  const path = newLogPath()
  const log = await openLog(path, { signer: SIGNER.text, segments: { ...SMALL, ...retention } })
  await write(log, 3)
  const early = noteOf(log)
  await write(log, 15)
  const late = noteOf(log)
  await log.close()
  return { path, early, late }
}

describe('AUD-05 against checkpoints', () => {
  it('a whole log confirms them', async () => {
    const { path, early, late } = await signedLog()
    expect(await verify(path, late, early)).toMatchObject({ ok: true, confirmed: 2, problems: [] })
  })

  it('finds a tail that was cut off between two records', async () => {
    const { path, early, late } = await signedLog()
    const lines = readFileSync(path, 'utf8').split('\n')
    writeFileSync(path, `${lines.slice(0, -2).join('\n')}\n`)
    expect(await verify(path)).toMatchObject({ ok: true })
    expect(await verify(path, early, late)).toMatchObject({
      ok: false,
      confirmed: 1,
      problems: [
        expect.stringMatching(
          /The tail was cut off: a checkpoint of 2\d records was made, but the log ends at seq/,
        ),
      ],
    })
  })

  it('finds a log that was made anew, with good hashes', async () => {
    const { late } = await signedLog()
    const forged = newLogPath()
    await writeAndClose(forged, 40, { signer: SIGNER.text, instance: 'postern-2' })
    expect(await verify(forged)).toMatchObject({ ok: true })
    expect(await verify(forged, late)).toMatchObject({
      ok: false,
      problems: [expect.stringContaining('was rewritten')],
    })
  })

  it('goes from the tree that a segment states, where the segments before it were removed', async () => {
    const { path, early, late } = await signedLog({ keep: 1 })
    expect(withSegments([path])).toHaveLength(2)
    expect(await verify(path, late)).toMatchObject({ ok: true, confirmed: 1 })
    expect(await verify(path, early)).toMatchObject({ ok: true, confirmed: 0, tooOld: 1 })
  })
})

describe('AUD-11 key epochs', () => {
  it('a change of keys is a record, and each checkpoint must be signed by the key in force at its place', async () => {
    const path = newLogPath()
    const before = noteOf(await writeAndClose(path, 2, { signer: SIGNER.text }))
    const log = await writeAndClose(path, 2, { signer: NEW_SIGNER.text })
    const actions = readFileSync(path, 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { action: string; reason: string })
    expect(actions.filter(({ action }) => action === 'signer').map(({ reason }) => reason)).toEqual([
      'first_key',
      'key_changed',
    ])
    expect(await verify(path, before, noteOf(log, NEW_SIGNER))).toMatchObject({ ok: true, confirmed: 2 })
    expect(await verify(path, noteOf(log, SIGNER))).toMatchObject({
      ok: false,
      problems: [expect.stringContaining('not in force')],
    })
  })

  it('the epoch is known across segments too', async () => {
    const { path, late } = await signedLog({ keep: 1 })
    expect(await verify(path, late)).toMatchObject({ ok: true, confirmed: 1 })
  })

  it('a restart with the same key writes no record of it', async () => {
    const path = newLogPath()
    await writeAndClose(path, 1, { signer: SIGNER.text })
    const log = await writeAndClose(path, 1, { signer: SIGNER.text })
    expect(log.head.seq).toBe(3)
  })
})

describe('AUD-07 inclusion proofs', () => {
  it('of any record that is there verify without the log', async () => {
    const { path, late } = await signedLog()
    const { size } = opened(late)
    for (const seq of [1, 2, 7, 13, size]) {
      const proof = await proveRecord(withSegments([path]), seq, late, [SIGNER])
      expect(typeof proof, String(proof)).toBe('object')
      const read = parseProof(JSON.stringify(proof))!
      expect(checkProof(read, [SIGNER])).toMatchObject({ records: [{ seq }], size })
    }
  })

  it('work where retention took the beginning', async () => {
    const { path, late } = await signedLog({ keep: 1 })
    const { size } = opened(late)
    expect(await proveRecord(withSegments([path]), size, late, [SIGNER])).toMatchObject({ index: size - 1 })
    expect(await proveRecord(withSegments([path]), 1, late, [SIGNER])).toContain('no record with seq 1')
  })

  it('are refused when anything in them was changed', async () => {
    const { path, late } = await signedLog()
    const proof = await proveRecord(withSegments([path]), 7, late, [SIGNER])
    if (typeof proof === 'string') throw new Error(proof)
    const other = await proveRecord(withSegments([path]), 8, late, [SIGNER])
    if (typeof other === 'string') throw new Error(other)
    expect(checkProof({ ...proof, record: proof.record.replace('scout', 'other') }, [SIGNER])).toContain(
      'not intact',
    )
    expect(checkProof({ ...proof, record: other.record }, [SIGNER])).toContain('another place')
    expect(checkProof({ ...proof, path: other.path.with(0, proof.path[1]!) }, [SIGNER])).toContain(
      'does not lead',
    )
    expect(checkProof({ ...proof, checkpoint: late.replace('postern', 'pastern') }, [SIGNER])).toContain(
      'no use',
    )
    expect(checkProof(proof, [NEW_SIGNER])).toContain('no use')
    expect(parseProof('{"record":1}')).toBeUndefined()
    expect(parseProof('x')).toBeUndefined()
  })

  it('say why there is none', async () => {
    const { path, early } = await signedLog()
    expect(await proveRecord(withSegments([path]), 5, early, [SIGNER])).toContain('came later')
    const short = newLogPath()
    await writeAndClose(short, 1, { signer: SIGNER.text })
    expect(await proveRecord([short], 1, early, [SIGNER])).toContain('shorter')
  })
})
