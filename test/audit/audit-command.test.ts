import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { formatRecord } from '../../src/audit/format.ts'
import type { AuditRecord } from '../../src/audit/record.ts'
import { chainOf, encoder, file, headOf, PUBLISH } from './chain.ts'

const directory = mkdtempSync(join(tmpdir(), 'postern-command-'))
afterAll(() => rmSync(directory, { recursive: true, force: true }))

function save(name: string, content: string): string {
  const path = join(directory, name)
  writeFileSync(path, content)
  return path
}

const COMMAND = new URL('../../cmd/audit.ts', import.meta.url).href
const MAIN = `import { auditCommand } from ${JSON.stringify(COMMAND)}; await auditCommand().parseAsync(process.argv.slice(1), { from: 'user' })`

function run(...args: string[]) {
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    ['--input-type=module', '-e', MAIN, '--', ...args],
    { encoding: 'utf8' },
  )
  return { status, stdout, stderr }
}

const lines = chainOf(5)
const head = headOf(lines[4]!)
const good = save('good.jsonl', file(lines))
const next = save('next.jsonl', file(chainOf(2, head)))
const bad = save('bad.jsonl', file(lines.with(2, lines[2]!.replace('scout', 'other'))))

describe('audit verify', () => {
  it('says what was proven and exits 0', () => {
    expect(run('verify', good)).toEqual({
      status: 0,
      stdout: `OK  ${good}: 5 records, seq 1..5, head ${head.hash}, sealed gaps 0\n`,
      stderr: '',
    })
  })

  it('A1 names the first bad record and exits 1', () => {
    const { status, stdout } = run('verify', good, bad)
    expect(status).toBe(1)
    expect(stdout).toContain(`OK  ${good}`)
    expect(stdout).toContain(`BAD ${bad}:3 seq 3: The record was changed`)
  })

  it('says when a file continues the one before, and when its start is missing', () => {
    expect(run('verify', good, next)).toMatchObject({
      status: 0,
      stdout: expect.stringContaining('continues the file'),
    })
    expect(run('verify', next)).toMatchObject({
      status: 1,
      stdout: expect.stringContaining('begins with seq 6'),
    })
    expect(run('verify', '--partial', next)).toMatchObject({
      status: 0,
      stdout: expect.stringContaining('not proven'),
    })
  })

  it('finds a cut tail against a known record', () => {
    const cut = save('cut.jsonl', file(lines.slice(0, 4)))
    expect(run('verify', '--known', `5:${head.hash}`, good).status).toBe(0)
    expect(run('verify', '--known', `5:${head.hash}`, cut)).toMatchObject({
      status: 1,
      stdout: expect.stringContaining('ends at seq 4'),
    })
  })

  it('exits 2 for a file that cannot be read, and looks at the others', () => {
    const { status, stdout, stderr } = run('verify', join(directory, 'missing'), good)
    expect(status).toBe(2)
    expect(stdout).toContain('OK')
    expect(stderr).toContain('cannot be read: ENOENT')
  })

  it.each([
    [[]],
    [['verify']],
    [['verify', '--known', '5:x', good]],
    [['show', good, '--last', '0']],
    [['prove', good]],
  ])('exits 64 for wrong usage: %j', (args) => {
    expect(run(...args)).toMatchObject({ status: 64, stdout: '' })
  })

  it('explains its exit codes', () => {
    expect(run('verify', '--help')).toMatchObject({
      status: 0,
      stdout: expect.stringContaining('a chain is bad'),
    })
  })
})

describe('audit show', () => {
  it('prints one line for each record, or for the last ones', () => {
    expect(run('show', good).stdout.trim().split('\n')).toHaveLength(5)
    const damaged = save('damaged.jsonl', `${file(lines)}{"act`)
    expect(run('show', damaged, '--last', '2').stdout).toBe(
      `${formatRecord(JSON.parse(lines[4]!) as AuditRecord)}\n(5 bytes that are no intact record)\n`,
    )
  })
})

describe('a record for people', () => {
  const show = (event: object) =>
    formatRecord(JSON.parse(encoder().encode({ ...PUBLISH, ...event })) as AuditRecord)

  it('tells who acted for whom, on what, by which rules, with which effect', () => {
    expect(show({})).toBe(
      '12:00:00.000Z allow scout for u1 publish a2a/v1/tasks/analyst/inbox qos 1 response a2a/v1/tasks/scout/inbox [agent: inboxes, user: may-post] forwarded',
    )
  })

  it('gives the reason of a denial', () => {
    const resource = { filter: '#', qos: 0 }
    expect(
      show({
        action: 'subscribe',
        decision: 'deny',
        reason: 'no_rule',
        resource,
        rules: undefined,
        effect: 'suback 0x87',
      }),
    ).toBe('12:00:00.000Z deny  scout for u1 subscribe # qos 0 (no_rule) suback 0x87')
  })

  it('gives the reason why a session ended, which no decision tells', () => {
    const ended = { action: 'disconnect', resource: undefined, rules: undefined }
    expect(show({ ...ended, reason: 'expired', effect: 'disconnect 0x87' })).toBe(
      '12:00:00.000Z allow scout for u1 disconnect (expired) disconnect 0x87',
    )
  })

  it('names the owner of a self-acting agent, the client before it is known, and gaps', () => {
    const human = { iss: 'i', sub: 's', id: 'u2', via: 'owner' }
    expect(show({ identity: { agent: { iss: 'i', sub: 's', id: 'scout' }, human } })).toContain(
      'scout (owner u2)',
    )
    expect(show({ identity: undefined, connection: { id: 'c1', peer: '127.0.0.1:1' } })).toContain(
      ' 127.0.0.1:1 publish',
    )
    expect(show({ action: 'gap', gap: { lost: 3 } })).toContain('3 record(s) lost')
    expect(show({ action: 'gap', gap: { torn_bytes: 9 } })).toContain('9 torn bytes')
  })

  it('cannot send control characters to a terminal', () => {
    const text = show({ resource: { topic: 'a\u001b[2Jb\u0085c\u202ed\ne\u200f' } })
    expect(text).toContain('a\\u{1b}[2Jb\\u{85}c\\u{202e}d\\u{a}e\\u{200f}')
  })
})
