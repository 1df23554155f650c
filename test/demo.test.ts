import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { expect, test } from 'vitest'
import { runDemo } from '../cmd/demo/run.ts'
import { Screen } from '../cmd/demo/screen.ts'

const LIMIT_MS = 60_000

function run(args: readonly string[]): Promise<{ code: number; stdout: string }> {
  return new Promise((resolve) => {
    execFile(process.execPath, ['cmd/demo.ts', ...args], (error, stdout) => {
      resolve({ code: error === null ? 0 : Number(error.code ?? -1), stdout })
    })
  })
}

function refuses(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.once('connect', () => resolve(false))
    socket.once('error', () => resolve(true))
  })
}

test('the demo tells its story, proves its trail and ends with 0', { timeout: LIMIT_MS }, async () => {
  const { code, stdout } = await run(['--once'])
  expect(stdout).toContain('11 of 11 steps came out as told')
  expect(code).toBe(0)
  expect(stdout).toContain('gets    SUBACK 0x87 not authorized, then 0x01 granted qos 1')
  expect(stdout).toContain('gets    CONNACK 0x85 client identifier not valid')
  expect(stdout).toMatch(/audit {3}\S+ deny {2}operator for u1 publish \S+create_social_post\/call .*user: -/)
  expect(stdout).toMatch(
    /✓ one byte of record (\d+) changed in a copy: line \1, seq \1: The record was changed/,
  )
  expect(stdout).toMatch(/\+1 {2}postern_wills_total\{decision="deny",reason="no_rule"\}/)
  expect(stdout).not.toContain('✗')
  const shown = (await readFile('README.md', 'utf8')).split('```text\n')[1]!.split('```')[0]!
  const timeless = (text: string): string[] => text.replace(/\d\d:\d\d:\d\d\.\d{3}Z/g, 'time').split('\n')
  expect(timeless(stdout)).toEqual(expect.arrayContaining(timeless(shown)))
  expect(stdout).not.toContain('\u001b')
  expect(stdout).not.toMatch(/eyJ/)
})

test('a policy under which the story is not true makes the demo end with 1', {
  timeout: LIMIT_MS,
}, async () => {
  const policy = await readFile('deploy/examples/policy-tools.yaml', 'utf8')
  const generous = policy.replace(/(id: may-post[\s\S]*?users:) \[u2\]/, '$1 [u1, u2]')
  expect(generous).not.toBe(policy)
  let text = ''
  const screen = new Screen((some) => (text += some), { colours: false, rewrites: false })
  const code = await runDemo({ policy: generous, once: true, screen, interrupted: new Promise(() => {}) })
  expect(text).toContain('✗ told was PUBACK 0x87 not authorized')
  expect(text).toContain('✗ 10 of 11 steps came out as told')
  expect(code).toBe(1)
})

test('a policy that cannot be used ends the demo with 1 and a sentence', { timeout: LIMIT_MS }, async () => {
  let text = ''
  const screen = new Screen((some) => (text += some), { colours: false, rewrites: false })
  const code = await runDemo({ policy: 'version: 7', once: true, screen, interrupted: new Promise(() => {}) })
  expect(text).toMatch(/✗ .*policy\.yaml is not a usable policy/)
  expect(code).toBe(1)
})

test('an interrupted demo clears everything away and ends with 1', { timeout: LIMIT_MS }, async () => {
  let text = ''
  const enough = Promise.withResolvers<void>()
  const screen = new Screen(
    (some) => {
      text += some
      if (some.includes('It publishes the card')) enough.resolve()
    },
    { colours: false, rewrites: false },
  )
  const policy = await readFile('deploy/examples/policy-tools.yaml', 'utf8')
  expect(await runDemo({ policy, once: false, screen, interrupted: enough.promise })).toBe(1)
  expect(text).toContain('Interrupted.')
  const ports = [...text.matchAll(/127\.0\.0\.1:(\d+)/g)].slice(0, 2).map(([, port]) => Number(port))
  expect(await Promise.all(ports.map(refuses))).toEqual([true, true])
})

test.each([
  ['--help', 0],
  ['--twice', 64],
])('demo %s ends with %d', async (argument, code) => {
  expect((await run([argument])).code).toBe(code)
})

test('progress rewrites its line on a terminal, and only there', () => {
  let text = ''
  const screen = new Screen((some) => (text += some), { colours: true, rewrites: true })
  screen.progress('time', '1')
  screen.progress('time', '2')
  screen.good('done')
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what a terminal is told
  expect(text.replace(/\u001b\[\d\dm|\u001b\[\dm|\u001b\[22m/g, '')).toBe(
    '\r\u001b[2K  time    1\r\u001b[2K  time    2\n  ✓ done\n',
  )
})
