import { spawnSync } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { createLogger } from '../../src/telemetry/logger.ts'
import { FakeClock } from '../support/fake-clock.ts'

function setUp(level: 'debug' | 'info' | 'warn' | 'error' | 'silent' = 'info') {
  const lines: string[] = []
  const clock = new FakeClock(Date.UTC(2026, 2, 1))
  const log = createLogger({ level, clock, write: (line) => lines.push(line) })
  return { log, lines }
}

describe('the logger', () => {
  it('writes one JSON line per event, with the time of the clock', () => {
    const { log, lines } = setUp()
    log.child({ connection: 'c1' }).warn({ reason: 'expired' }, 'refused\nin two lines')
    expect(lines).toHaveLength(1)
    expect(lines[0]!.indexOf('\n')).toBe(lines[0]!.length - 1)
    expect(JSON.parse(lines[0]!)).toEqual({
      level: 'warn',
      time: '2026-03-01T00:00:00.000Z',
      connection: 'c1',
      reason: 'expired',
      msg: 'refused\nin two lines',
    })
  })

  it.each([
    ['debug', 4],
    ['info', 3],
    ['warn', 2],
    ['error', 1],
    ['silent', 0],
  ] as const)('at level %s writes %i of four levels', (level, count) => {
    const { log, lines } = setUp(level)
    log.debug({}, 'd')
    log.info({}, 'i')
    log.warn({}, 'w')
    log.error({}, 'e')
    expect(lines).toHaveLength(count)
  })

  it('AUD-03 A3 never writes a token or a password, wherever it was put', () => {
    const part = (value: object | string) =>
      Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url')
    const token = `${part({ alg: 'ES256', typ: 'at+jwt' })}.${part({ sub: 'marker-subject' })}.${part('marker-signature')}`
    const { log, lines } = setUp()
    log.error(
      { err: new Error(`bad ${token}`, { cause: new Error(token) }), deep: { er: [{ x: token }] } },
      `saw ${token}`,
    )
    log
      .child({ bearer: token })
      .info({ password: 'marker-password', connect: { password: 'marker-password' } }, 'x')
    log.info({ unsigned: token.slice(0, token.lastIndexOf('.') + 1) }, 'x')
    const all = lines.join('')
    expect(lines).toHaveLength(3)
    expect(all).toContain('[redacted]')
    for (const secret of [...token.split('.'), 'marker-password']) expect(all).not.toContain(secret)
  })
})

describe('standard error', () => {
  const module = (path: string): string => JSON.stringify(new URL(`../../src/${path}`, import.meta.url).href)
  const program = `
    const { createLogger } = await import(${module('telemetry/logger.ts')})
    const { systemClock } = await import(${module('clock.ts')})
    const log = createLogger({ level: 'info', clock: systemClock })
    log.info({ n: 1 }, 'one')
    log.error({ n: 2 }, 'two')
    console.log('alive')
  `

  function run(stderr: 'pipe' | number) {
    const args = ['--input-type=module', '-e', program]
    const stdio: ['ignore', 'pipe', 'pipe' | number] = ['ignore', 'pipe', stderr]
    return spawnSync(process.execPath, args, { encoding: 'utf8', timeout: 10_000, stdio })
  }

  it('gets the lines', () => {
    const { status, stderr } = run('pipe')
    const lines = stderr.trimEnd().split('\n')
    expect(status).toBe(0)
    expect(lines.map((line) => JSON.parse(line).msg)).toEqual(['one', 'two'])
  })

  it.runIf(process.platform === 'linux')(
    'on a full disk loses lines, and neither ends nor holds up the process',
    () => {
      const full = openSync('/dev/full', 'w')
      expect(run(full)).toMatchObject({ status: 0, stdout: 'alive\n' })
      closeSync(full)
    },
  )
})
