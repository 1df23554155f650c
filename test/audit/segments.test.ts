import { readFileSync, renameSync, statSync, writeFileSync } from 'node:fs'
import { gunzipSync, gzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import type { AuditRecord } from '../../src/audit/record.ts'
import { segmentPath } from '../../src/audit/segments.ts'
import { withSegments } from '../../src/evidence/log-files.ts'
import { verifyLog } from '../../src/evidence/verify-log.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { newLogPath, openLog, SIGNER, SMALL, segmentNames, write, writeAndClose } from './log-kit.ts'

const verify = (path: string, partial = false) => verifyLog(withSegments([path]), { partial })
const firstRecord = (path: string): AuditRecord => {
  const bytes = path.endsWith('.gz') ? gunzipSync(readFileSync(path)) : readFileSync(path)
  return JSON.parse(bytes.toString().split('\n')[0]!) as AuditRecord
}

describe('segments', () => {
  it('a full file is closed and compressed; the next one continues the chain and says so', async () => {
    const path = newLogPath()
    const log = await writeAndClose(path, 12, { segments: SMALL })
    expect(segmentNames(path)).toEqual(['.00000001.gz', '.00000002.gz'])
    expect(firstRecord(path)).toMatchObject({ action: 'segment', segment: { number: 3, oldest: 1 } })
    expect(firstRecord(`${path}.00000002.gz`)).toMatchObject({
      action: 'segment',
      segment: { number: 2, oldest: 1 },
    })
    expect(await verify(path)).toMatchObject({ ok: true })
    expect(log.head.seq).toBe(14)
  })

  it('an old file is closed too, when something is written', async () => {
    const path = newLogPath()
    const clock = new FakeClock()
    const log = await openLog(path, { clock, segments: { ...SMALL, bytes: 1e9, ageMs: 60_000 } })
    await write(log, 1)
    clock.advance(59_999)
    await write(log, 1)
    expect(segmentNames(path)).toEqual([])
    clock.advance(1)
    await write(log, 1)
    await log.close()
    expect(segmentNames(path)).toEqual(['.00000001.gz'])
    expect(await verify(path)).toMatchObject({ ok: true })
  })

  it.each([false, true])('a restart goes on in the same segment (with tree: %s)', async (withTree) => {
    const path = newLogPath()
    const options = { segments: SMALL, ...(withTree ? { signer: SIGNER.text } : {}) }
    for (let i = 0; i < 4; i++) await writeAndClose(path, 3, options)
    expect(await verify(path)).toMatchObject({ ok: true })
    expect(segmentNames(path).length).toBeGreaterThan(1)
  })

  it('a compressed file is readable for its owner only', async () => {
    const path = newLogPath()
    await writeAndClose(path, 6, { segments: SMALL })
    expect(statSync(`${path}.00000001.gz`).mode & 0o777).toBe(0o600)
  })

  it('write-ahead rotates too', async () => {
    const path = newLogPath()
    await writeAndClose(path, 12, { segments: SMALL, durability: 'write-ahead' })
    expect(segmentNames(path)).toHaveLength(2)
    expect(await verify(path)).toMatchObject({ ok: true })
  })
})

describe('retention', () => {
  it('keeps so many closed files; that the others went is in the chain', async () => {
    const path = newLogPath()
    await writeAndClose(path, 30, { segments: { ...SMALL, keep: 2 } })
    const names = segmentNames(path)
    expect(names).toHaveLength(2)
    expect(firstRecord(path).segment!.oldest).toBe(Number(names[0]!.slice(1, 9)))
    expect(await verify(path)).toMatchObject({ ok: true })
  })

  it('keeps files for so long', async () => {
    const path = newLogPath()
    // Files get their times from the real clock.
    const clock = new FakeClock(Date.now())
    const segments = { ...SMALL, keepForMs: 3_600_000 }
    const log = await openLog(path, { clock, segments })
    await write(log, 10)
    clock.advance(3_700_000)
    await write(log, 5)
    await log.close()
    expect(segmentNames(path).length).toBeLessThan(3)
    expect(await verify(path)).toMatchObject({ ok: true })
  })

  it('a file that went without the log saying so is noticed', async () => {
    const path = newLogPath()
    await writeAndClose(path, 12, { segments: SMALL })
    const whole = withSegments([path])
    expect(await verifyLog(whole.slice(1), { partial: false })).toMatchObject({
      ok: false,
      problems: [expect.stringContaining('Segments 1 to 1 are missing')],
    })
    expect(await verifyLog(whole.toSpliced(1, 1), { partial: false })).toMatchObject({ ok: false })
    expect(await verifyLog(whole.toReversed(), { partial: false })).toMatchObject({ ok: false })
    expect(await verifyLog(whole.slice(1), { partial: true })).toMatchObject({ ok: true })
  })
})

describe('AUD-08 a crash in the middle of a rotation', () => {
  it('after the file got its number: the next one begins with the segment record', async () => {
    const path = newLogPath()
    await writeAndClose(path, 3, { segments: SMALL, signer: SIGNER.text })
    renameSync(path, segmentPath(path, 1))
    await writeAndClose(path, 1, { segments: SMALL, signer: SIGNER.text })
    expect(firstRecord(path)).toMatchObject({ seq: 5, segment: { number: 2 } })
    expect(await verify(path)).toMatchObject({ ok: true })
  })

  it('after the new file was made, before anything was written', async () => {
    const path = newLogPath()
    await writeAndClose(path, 3, { segments: SMALL })
    renameSync(path, segmentPath(path, 1))
    writeFileSync(path, '')
    await writeAndClose(path, 1, { segments: SMALL })
    expect(firstRecord(path)).toMatchObject({ seq: 4, segment: { number: 2 } })
    expect(await verify(path)).toMatchObject({ ok: true })
  })

  it('in the first record of the new file', async () => {
    const path = newLogPath()
    await writeAndClose(path, 3, { segments: SMALL })
    renameSync(path, segmentPath(path, 1))
    writeFileSync(path, '{"action":"segment","dec')
    await writeAndClose(path, 1, { segments: SMALL })
    expect(await verify(path)).toMatchObject({ ok: true })
  })

  it.each([
    ['while the file was compressed', '.00000001.gz.tmp'],
    ['before the plain file was removed', '.00000001.gz'],
    ['before the new file got its name', '.next'],
  ])('%s', async (_, left) => {
    const path = newLogPath()
    await writeAndClose(path, 6, { segments: SMALL })
    const plain = gunzipSync(readFileSync(`${path}.00000001.gz`))
    writeFileSync(segmentPath(path, 1), plain)
    writeFileSync(`${path}${left}`, left.endsWith('.gz') ? gzipSync(plain) : 'x')
    await writeAndClose(path, 1, { segments: SMALL })
    expect(segmentNames(path)).toEqual(['.00000001.gz'])
    expect(await verify(path)).toMatchObject({ ok: true })
  })
})

it('a file with a changed record in its middle is not written on', async () => {
  const path = newLogPath()
  await writeAndClose(path, 5)
  const lines = readFileSync(path, 'utf8').split('\n')
  writeFileSync(path, lines.with(2, lines[2]!.replace('scout', 'other')).join('\n'))
  await expect(openLog(path)).rejects.toMatchObject({
    code: 'ERR_AUDIT_TAIL',
    message: expect.stringContaining('line 3'),
  })
})
