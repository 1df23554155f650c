// docs/audit-format.md is a promise to other verifiers: its example and its program are run.
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { makeSigner } from '../../src/audit/signed-note.ts'
import { withSegments } from '../../src/evidence/log-files.ts'
import { batchOf, chainOf, DIGEST, file, forged, headOf, preparedChain, verify } from './chain.ts'
import { NEW_SIGNER, newLogPath, noteOf, openLog, SIGNER, SMALL, write, writeAndClose } from './log-kit.ts'

const page = readFileSync(new URL('../../docs/audit-format.md', import.meta.url), 'utf8')
/** A batch that fits its place, but refers to a record that is no model. */
function noModel(): string[] {
  const [whole] = chainOf(1)
  return [whole!, forged(preparedChain(2)[1]!, { prev: headOf(whole!).hash })]
}
/** A model, and a batch of these entries. */
function batchWith(entries: object[]): string[] {
  const [model, batch] = batchOf(1)
  return [model, forged(batch, { batch: entries })]
}
/** The first line of a chain with other text in it, and a hash that fits the text as it stands. */
function forgedText(from: string, to: string): string {
  const line = chainOf(1)[0]!.replace(from, to)
  const hash = createHash('sha256')
    .update(`\0${line.replace(/,"hash":"[0-9a-f]*"/, '')}`)
    .digest('hex')
  return line.replace(/"hash":"[0-9a-f]*"/, `"hash":"${hash}"`)
}
const block = (language: string) => new RegExp(`\`\`\`${language}\\n(.*?)\`\`\``, 's').exec(page)![1]!
const example = block('jsonl')

describe('the page on the format', () => {
  it('has an example that verifies', () => {
    expect(verify(example)).toMatchObject({ ok: true, records: 3, torn: 1 })
  })

  it('lists every member of a record', () => {
    const [, table] = page.split('## Members')
    for (const name of Object.keys(JSON.parse(chainOf(1)[0]!) as object)) expect(table).toContain(`\`${name}`)
  })
})

describe.runIf(spawnSync('python3', ['--version']).status === 0)('AUD-04 the verifier of the page', () => {
  const directory = mkdtempSync(join(tmpdir(), 'postern-format-'))
  const program = join(directory, 'verify.py')
  const log = join(directory, 'audit.jsonl')
  writeFileSync(program, block('python'))
  afterAll(() => rmSync(directory, { recursive: true, force: true }))

  it.each([
    ['the example', example, true],
    ['a chain', file(chainOf(3)), true],
    ['a changed record', file(chainOf(3)).replace('forwarded', 'dropped'), false],
    ['a missing record', file(chainOf(3).toSpliced(1, 1)), false],
    ['batches', file(preparedChain(3)), true],
    ['a batch of many', file(batchOf(256)), true],
    ['a batch without its model', file(noModel()), false],
    ['a batch of nothing', file(batchWith([])), false],
    ['an entry with more', file(batchWith([{ as: 1, length: 1, topic: 't' }])), false],
    ['an entry without a length', file(batchWith([{ as: 1 }])), false],
    ['an entry like a later record', file(batchWith([{ as: 3, length: 1 }])), false],
    ['a digest that is none', file(batchWith([{ as: 1, length: 1, sha256: 'DD' }])), false],
    ['two digests', file(batchWith([{ as: 1, hmac_sha256: DIGEST, length: 1, sha256: DIGEST }])), false],
    ['an identifier that is none', file(batchWith([{ as: 1, length: 1, packet_id: 0 }])), false],
    ['a text for a number', file(batchWith([{ as: 1, length: '1' }])), false],
    ['a text for `v`', file([forged(chainOf(1)[0]!, { v: '1' })]), false],
    ['true for `v`', file([forged(chainOf(1)[0]!, { v: true })]), false],
    ['a fraction', file([forgedText('"mono":0', '"mono":0.5')]), false],
    ['an integer written as a fraction', file([forgedText('"mono":0', '"mono":0.0')]), false],
    ['a number above all that are exact', file(batchWith([{ as: 1, length: 2 ** 60 }])), false],
    ['NaN', file([forgedText('"mono":0', '"mono":NaN')]), false],
    ['a member that is missing', file([forged(chainOf(1)[0]!, { action: undefined })]), false],
    ['a decision that is none', file([forged(chainOf(1)[0]!, { decision: 'maybe' })]), false],
    ['a model that is 1', file([forged(chainOf(1)[0]!, { model: 1 })]), false],
    ['a list for a record', file(['[]']), false],
    ['a text for a gap', file([forged(chainOf(1)[0]!, { gap: 'x' })]), false],
    ['a segment without a number', file([forged(chainOf(1)[0]!, { segment: { oldest: 1 } })]), false],
    ['a whole record with `as`', file([forged(chainOf(1)[0]!, { as: 1 })]), false],
    ['a tear that names other bytes', example.replace('"conn', '"con'), false],
    ['a cut record', file(chainOf(3)).slice(0, -2), false],
  ])('agrees with ours on %s', (_, content, good) => {
    writeFileSync(log, content)
    const { status, stderr } = spawnSync('python3', [program, log], { encoding: 'utf8' })
    expect(status === 0, stderr).toBe(good)
    expect(verify(content).ok).toBe(good)
  })
})

const tools = [
  ['python3', '--version'],
  ['openssl', 'version'],
] as const
describe.runIf(tools.every(([tool, flag]) => spawnSync(tool, [flag]).status === 0))(
  'AUD-05 AUD-06 the verifier of the page, on segments and checkpoints',
  () => {
    const program = join(mkdtempSync(join(tmpdir(), 'postern-format-')), 'verify.py')
    writeFileSync(program, block('python'))
    afterAll(() => rmSync(dirname(program), { recursive: true, force: true }))

    it('finds a tail that was cut off', async () => {
      const path = newLogPath()
      const log = await writeAndClose(path, 5, { signer: SIGNER.text })
      const note = join(dirname(path), 'note')
      writeFileSync(note, noteOf(log))
      const args = [program, '--checkpoint', note, SIGNER.text, path]
      expect(spawnSync('python3', args).status).toBe(0)
      const lines = readFileSync(path, 'utf8').split('\n')
      writeFileSync(path, `${lines.slice(0, -2).join('\n')}\n`)
      expect(spawnSync('python3', args, { encoding: 'utf8' }).stderr).toContain(
        'a checkpoint of 6 records was made, the log ends at seq 5',
      )
    })

    it('takes a key with a plus sign in its base64, and its signature among those of others', async () => {
      const signer = makeSigner('postern.example/edge-1', Buffer.alloc(32, 8))
      expect(signer.text.split('+')).toHaveLength(4)
      const path = newLogPath()
      const log = await writeAndClose(path, 2, { signer: signer.text })
      const note = join(dirname(path), 'note')
      const mine = noteOf(log, signer)
      const other = noteOf(log, NEW_SIGNER)
      const line = (text: string): string => text.slice(text.indexOf('\n\n') + 2)
      const status = (text: string): number | null => {
        writeFileSync(note, text)
        return spawnSync('python3', [program, '--checkpoint', note, signer.text, path]).status
      }
      expect(status(mine)).toBe(0)
      expect(status(mine + line(other))).toBe(0)
      expect(status(other + line(mine))).toBe(0)
      expect(status(other)).toBe(1)
    })

    it('agrees with ours', async () => {
      const path = newLogPath()
      const log = await openLog(path, { signer: SIGNER.text, segments: { ...SMALL, keep: 2 } })
      await write(log, 20)
      const late = noteOf(log)
      await write(log, 3)
      const wrongKey = noteOf(log, NEW_SIGNER)
      await log.close()
      const files = withSegments([path])
      expect(files).toHaveLength(3)
      const note = join(dirname(path), 'note')
      const says = (text: string, key: string, given = files): string => {
        writeFileSync(note, text)
        const { status, stdout, stderr } = spawnSync(
          'python3',
          [program, '--checkpoint', note, key, ...given],
          {
            encoding: 'utf8',
          },
        )
        return status === 0 ? stdout : stderr
      }
      const { seq, hash } = log.head
      expect(says(late, SIGNER.text)).toBe(`OK: up to seq ${seq}, head ${hash}\n`)
      expect(says(late, NEW_SIGNER.text)).toContain('not signed by this key')
      expect(says(late.replace('edge-1', 'edge-2'), SIGNER.text)).toContain('not signed by this key')
      expect(says(wrongKey, NEW_SIGNER.text)).toContain('another key was in force')
      expect(says(late, SIGNER.text, files.slice(0, 1))).toContain('BAD')
      expect(says(late, SIGNER.text, files.slice(1))).toContain('are missing')
      expect(says(late, SIGNER.text, files.toSpliced(1, 1))).toContain('BAD')
    })
  },
)
