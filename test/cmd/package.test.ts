// The package as npm makes it: compiled, with the command, and with nothing that only the checkout needs.
import { execFile } from 'node:child_process'
import { readFileSync, rmSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, it } from 'vitest'

const run = promisify(execFile)
const root = fileURLToPath(new URL('../../', import.meta.url))

it('`npm run build` makes a command that runs and helpers for agents, `npm pack` takes them and leaves the rest', async () => {
  const manifest = JSON.parse(readFileSync(`${root}package.json`, 'utf8'))
  rmSync(`${root}dist`, { recursive: true, force: true })
  await run('npm', ['run', '--silent', 'build'], { cwd: root })
  const { stdout } = await run('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], { cwd: root })
  const files = (JSON.parse(stdout)[0].files as { path: string }[]).map(({ path }) => path)
  const bin = manifest.bin.postern as string
  expect(files).toContain(bin)
  expect(files).toContain('dist/src/app.js')
  const expected = /^(dist\/(cmd|src)\/.*\.(js|d\.ts)|docs\/.*|[A-Z]+(\.md)?|package\.json)$/
  expect(files.filter((path) => !expected.test(path))).toEqual([])
  expect(files.filter((path) => /test|bench|demo|mosquitto/.test(path))).toEqual([])
  expect(readFileSync(`${root}${bin}`, 'utf8')).toMatch(/^#!\/usr\/bin\/env node\n/)
  expect((await run(process.execPath, [`${root}${bin}`, '--version'])).stdout).toBe(`${manifest.version}\n`)
  const agents = "Object.keys({ ...(await import('postern/agent')), ...(await import('postern/agent/ace')) })"
  const script = `console.log(JSON.stringify(${agents}.sort()))`
  const imported = await run(process.execPath, ['--input-type=module', '-e', script], { cwd: root })
  expect(JSON.parse(imported.stdout)).toEqual(
    ['aceData', 'answerAce', 'answerChallenge', 'answerNonce', 'prove', 'proveByExporter'].sort(),
  )
}, 60_000)
