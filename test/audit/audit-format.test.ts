// docs/audit-format.md is a promise to other verifiers: its example and its program are run.
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { chainOf, file, verify } from './chain.ts'

const page = readFileSync(new URL('../../docs/audit-format.md', import.meta.url), 'utf8')
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
    ['a tear that names other bytes', example.replace('"conn', '"con'), false],
    ['a cut record', file(chainOf(3)).slice(0, -2), false],
  ])('agrees with ours on %s', (_, content, good) => {
    writeFileSync(log, content)
    const { status, stderr } = spawnSync('python3', [program, log], { encoding: 'utf8' })
    expect(status === 0, stderr).toBe(good)
    expect(verify(content).ok).toBe(good)
  })
})
