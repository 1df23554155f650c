// `postern sts` as its user meets it; that it serves is in test/e2e/sts.test.ts.
import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { TestSts } from '../support/sts.ts'
import { postern } from './child.ts'

let files: TestSts

beforeAll(async () => {
  files = await TestSts.prepare()
})
afterAll(() => files.remove())

type Jwks = { keys: { kid: string; d?: string; x: string }[] }

function keysIn(name: string): Jwks['keys'] {
  return (JSON.parse(readFileSync(files.path(name), 'utf8')) as Jwks).keys
}

describe('keygen', () => {
  it('DEL-13 makes a key that only its owner reads, and no second one by mistake', async () => {
    const file = files.path('new.json')
    const made = await postern(['sts', 'keygen', file, '--public', files.path('new.jwks.json')])
    expect(made).toMatchObject({ status: 0, stderr: '' })
    expect(keysIn('new.json')).toMatchObject([{ kid: made.stdout.trim(), d: expect.any(String) }])
    expect(statSync(file).mode & 0o777).toBe(0o600)
    expect(keysIn('new.jwks.json')).toMatchObject([{ kid: made.stdout.trim() }])
    expect(keysIn('new.jwks.json')[0]).not.toHaveProperty('d')
    const again = await postern(['sts', 'keygen', file])
    expect(again).toMatchObject({ status: 1, stdout: '' })
    expect(again.stderr).toContain('(ERR_STS_KEYS)')
    expect(keysIn('new.json')[0]!.kid).toBe(made.stdout.trim())
  })

  it('DEL-13 --rotate puts a new key in front and keeps the former one only', async () => {
    const file = files.path('rotated.json')
    const kids: string[] = []
    for (const option of [[], ['--rotate'], ['--rotate']]) {
      const { stdout } = await postern(['sts', 'keygen', ...option, file])
      kids.unshift(stdout.trim())
    }
    expect(keysIn('rotated.json').map(({ kid }) => kid)).toEqual(kids.slice(0, 2))
    expect(statSync(file).mode & 0o777).toBe(0o600)
    expect((await postern(['sts', 'keygen', '--rotate', files.path('none.json')])).status).toBe(1)
  })
})

describe('check and run', () => {
  it('DEL-13 a good file, and one with mistakes: every one, with line and key', async () => {
    const good = await postern(['sts', 'check', '--config', files.path('sts.json')])
    expect(good).toEqual({ status: 0, stdout: '', stderr: 'postern: usable\n' })
    files.write('bad.yaml', 'issuer: x\nprofile: draft\n')
    for (const command of ['check', 'run']) {
      const bad = await postern(['sts', command, '--config', files.path('bad.yaml')])
      expect(bad.status).toBe(64)
      expect(bad.stderr).toContain(`${files.path('bad.yaml')}:2: profile: Write one of`)
      expect(bad.stderr).toContain('clients: Missing.')
    }
  })

  it('DEL-13 a key file that is missing: exit code 1 and a sentence', async () => {
    const text = readFileSync(files.path('sts.json'), 'utf8').replace('sts-keys.json', 'no-keys.json')
    files.write('keyless.json', text)
    const { status, stderr } = await postern(['sts', 'run', '--config', files.path('keyless.json')])
    expect(status).toBe(1)
    expect(stderr).toContain(join(files.directory, 'no-keys.json'))
    expect(stderr).toContain('`postern sts keygen` (ERR_STS_KEYS)')
  })
})
