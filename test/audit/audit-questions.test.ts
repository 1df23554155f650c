// The commands that answer questions, as they are typed.
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { gzipSync, zstdCompressSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import type { AuditRecord } from '../../src/audit/record.ts'
import { parseSigner } from '../../src/audit/signed-note.ts'
import { storyLines } from '../evidence/records.ts'
import { batchOf, file, PUBLISH } from './chain.ts'
import { newDirectory, newLogPath, noteOf, openLog, SIGNER, SMALL, write } from './log-kit.ts'

// Without the rest of the command, which would have to be loaded each time.
const COMMAND = new URL('../../cmd/audit.ts', import.meta.url).href
const MAIN = `import { auditCommand } from ${JSON.stringify(COMMAND)}; await auditCommand().parseAsync(process.argv.slice(1), { from: 'user' })`
const NODE_ARGS = ['--input-type=module', '-e', MAIN, '--']

function run(...args: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [...NODE_ARGS, ...args], {
    encoding: 'utf8',
  })
  return { status, stdout, stderr }
}

function storyFile(): string {
  const path = newLogPath()
  writeFileSync(path, file(storyLines()))
  return path
}

/** A log of several segments, its newest checkpoint in a file, and the key as text. */
async function signedLog() {
  const path = newLogPath()
  const log = await openLog(path, { signer: SIGNER.text, segments: SMALL })
  await write(log, 12)
  await log.close()
  const note = join(dirname(path), 'newest.note')
  writeFileSync(note, noteOf(log))
  return { path, note, size: log.head.seq }
}

describe('verify and prove against a checkpoint', () => {
  it('AUD-05 confirm a whole log, over its segments, and name what was cut off', async () => {
    const { path, note, size } = await signedLog()
    const good = run('verify', '--checkpoint', note, '--key', SIGNER.text, path)
    expect(good).toMatchObject({ status: 0, stderr: '' })
    expect(good.stdout).toMatch(/^OK .*00000001\.gz: .*\n(OK .*\n)+OK {2}1 checkpoint\(s\) confirmed\n$/)
    const lines = readFileSync(path, 'utf8').split('\n')
    writeFileSync(path, `${lines.slice(0, -2).join('\n')}\n`)
    const cut = run('verify', '--checkpoint', note, '--key', SIGNER.text, path)
    expect(cut).toMatchObject({
      status: 1,
      stdout: expect.stringContaining(`a checkpoint of ${size} records was made`),
    })
    expect(run('verify', path).status).toBe(0)
  })

  it('AUD-07 prove one record; the proof is checked without the log', async () => {
    const { path, note, size } = await signedLog()
    const proof = run('prove', '--seq', '3', '--checkpoint', note, '--key', SIGNER.text, path)
    expect(proof.status).toBe(0)
    const proofFile = join(newDirectory(), 'proof.json')
    writeFileSync(proofFile, proof.stdout)
    expect(run('check-proof', '--key', SIGNER.text, proofFile)).toEqual({
      status: 0,
      stdout: expect.stringMatching(
        new RegExp(
          `^OK {2}record 3 is in the log of ${size} records:\\n {4}2026-.* publish .* forwarded\\n$`,
        ),
      ),
      stderr: '',
    })
    writeFileSync(proofFile, proof.stdout.replace('scout', 'other'))
    expect(run('check-proof', '--key', SIGNER.text, proofFile)).toMatchObject({
      status: 1,
      stdout: expect.stringContaining('BAD'),
    })
    expect(run('prove', '--seq', '99', '--checkpoint', note, '--key', SIGNER.text, path)).toMatchObject({
      status: 1,
      stdout: '',
    })
  })

  it('take a checkpoint as it stands in the output of a container', async () => {
    const { path, note } = await signedLog()
    writeFileSync(note, `{"action":"x"}\n${JSON.stringify({ checkpoint: readFileSync(note, 'utf8') })}\n`)
    expect(run('verify', '--checkpoint', note, '--key', SIGNER.text, path).stdout).toContain(
      '1 checkpoint(s) confirmed',
    )
  })

  it('trust no key by themselves', async () => {
    const { path, note } = await signedLog()
    expect(run('verify', '--checkpoint', note, path)).toMatchObject({
      status: 64,
      stderr: expect.stringContaining('--key'),
    })
    expect(run('verify', '--checkpoint', note, '--key', 'x', path)).toMatchObject({ status: 64, stdout: '' })
    expect(
      run('verify', '--checkpoint', join(dirname(path), 'none'), '--key', SIGNER.text, path).status,
    ).toBe(2)
  })
})

describe('keygen', () => {
  it('makes keys that are read back, for their owner only, and overwrites nothing', () => {
    const path = join(newDirectory(), 'checkpoint.key')
    const made = run('keygen', '--name', 'edge-1.example/postern', '--out', path)
    expect(made.status).toBe(0)
    const signer = parseSigner(readFileSync(path, 'utf8').trim())!
    expect(made.stdout).toBe(`${signer.text}\n`)
    expect(readFileSync(`${path}.pub`, 'utf8')).toBe(made.stdout)
    expect(statSync(path).mode & 0o777).toBe(0o600)
    expect(run('keygen', '--name', 'a', '--out', path)).toMatchObject({
      status: 2,
      stderr: expect.stringContaining('EEXIST'),
    })
    expect(run('keygen', '--digest', '--out', `${path}.digest`).status).toBe(0)
    expect(readFileSync(`${path}.digest`).length).toBeGreaterThan(32)
    expect(run('keygen', '--name', 'a b', '--out', `${path}2`).status).toBe(64)
    expect(run('keygen', '--out', `${path}2`).status).toBe(64)
    expect(existsSync(`${path}2`)).toBe(false)
  })
})

describe('query, export, report', () => {
  const path = () => storyFile()

  it('AUD-14 --human finds all actions of all agents for that human', () => {
    const { status, stdout, stderr } = run('query', '--human', 'alice', path())
    expect({ status, stderr }).toEqual({ status: 0, stderr: '6 record(s)\n' })
    expect(stdout.split('\n')[0]).toMatch(/^TIME/)
    expect(stdout).toContain('scout')
    expect(stdout).toContain('analyst')
    expect(stdout).not.toContain('bob')
  })

  it('prints lines as they are, or CSV', () => {
    const log = path()
    expect(run('query', '--decision', 'deny', '--topic', 'plant/#', '--format', 'jsonl', log).stdout).toBe(
      `${storyLines()[3]}\n`,
    )
    const csv = run('query', '--since', '2026-11-22T12:00:09Z', '--format', 'csv', log)
      .stdout.trim()
      .split('\n')
    expect(csv).toHaveLength(4)
    expect(csv[0]).toMatch(/^time,decision,human/)
  })

  it('exports', () => {
    const log = path()
    const events = run('export', '--format', 'ocsf', log).stdout.trim().split('\n')
    expect(events.map((line) => (JSON.parse(line) as { class_uid: number }).class_uid)).toEqual(
      Array(11).fill(6003),
    )
    expect(
      run('export', '--format', 'agent-audit-trail', '--human', 'bob', log).stdout.trim().split('\n'),
    ).toHaveLength(2)
  })

  it('reports, and says by its exit code whether the log is whole', () => {
    const log = path()
    const out = join(dirname(log), 'report.html')
    expect(run('report', '--out', out, log)).toEqual({ status: 0, stdout: '', stderr: '' })
    expect(readFileSync(out, 'utf8')).toContain('✓ The log is whole')
    writeFileSync(log, readFileSync(log, 'utf8').replace('plant/a', 'plant/x'))
    expect(run('report', '--out', out, log).status).toBe(1)
    expect(readFileSync(out, 'utf8')).toContain(`${basename(log)}, line 3`)
  })

  it.each([
    [['query', '--topic', 'a/#/b'], 64],
    [['query', '--decision', 'maybe'], 64],
    [['query', '--since', 'yesterday'], 64],
    [['query', '--since', '1h', '--until', '1d'], 64],
    [['export', '--format', 'ecs', '--since', '2026-03-01', '--until', '2026-03-01'], 64],
    [['report', '--out', 'none.html', '--since', '1h', '--until', '1d'], 64],
    [['query', '--human', 'a', '--digest-key', 'k'], 64],
    [['export'], 64],
    [['query', '/nowhere/audit.jsonl'], 2],
  ])('%j exits with %i', (args, status) => {
    const given = args.at(-1)!.startsWith('/') ? args : [...args, path()]
    expect(run(...given)).toMatchObject({ status, stdout: '' })
  })
})

describe('a file that cannot be used', () => {
  it.each(['zst', 'gz'])('is the one that is named: a cut .%s', (suffix) => {
    const log = storyFile()
    const closed = `${log}.00000001.${suffix}`
    const packed = suffix === 'gz' ? gzipSync(file(storyLines())) : zstdCompressSync(file(storyLines()))
    writeFileSync(closed, packed.subarray(0, packed.length - 20))
    for (const args of [['query'], ['export', '--format', 'ecs'], ['report', '--out', `${log}.html`]]) {
      const { status, stderr } = run(...args, log)
      expect(stderr.split(' ')[0]).toBe(closed)
      expect({ status, stderr }).toEqual({
        status: 2,
        stderr: expect.stringMatching(/^[^:\n]+ cannot be read: \w+\n$/),
      })
    }
  })

  it('is the one that is named: a directory, a key, a page that cannot be written', () => {
    const log = storyFile()
    const directory = dirname(log)
    const named = (stderr: string) => ({ status: 2, stderr })
    expect(run('tail', directory)).toMatchObject(named(`${directory} cannot be read: EISDIR\n`))
    expect(run('query', directory)).toMatchObject(named(`${directory} cannot be read: EISDIR\n`))
    const report = ['report', '--out', join(directory, 'none', 'x.html')]
    expect(run(...report, log)).toMatchObject(named(`${report[2]} cannot be written: ENOENT\n`))
    const withKey = run(...report, '--checkpoint', log, '--key', directory, log)
    expect(withKey).toMatchObject(named(`${directory} cannot be read: EISDIR\n`))
    const digest = run('query', '--human', 'a', '--issuer', 'i', '--digest-key', '/nowhere/key', log)
    expect(digest).toMatchObject(named('The key /nowhere/key cannot be read: ENOENT.\n'))
  })
})

describe('batches', () => {
  it('AUD-14 every entry is a record of its own wherever people look', () => {
    const [path, cut] = [newLogPath(), newLogPath()]
    const [model, batch] = batchOf(3)
    writeFileSync(path, file([model, batch]))
    writeFileSync(cut, file([batch]))
    const shown = run('show', path).stdout
    expect(shown.match(/ allow scout for u1 publish .* forwarded$/gm)).toHaveLength(4)
    expect(run('show', '--last', '2', path).stdout.split('\n')).toHaveLength(3)
    expect(run('show', cut).stdout).toBe('(record 2: 3 more, like records that are not here)\n')
    const { stdout } = run('query', '--human', 'u1', '--format', 'jsonl', path)
    const found = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as AuditRecord)
    expect(found.map(({ seq, entry, packet_id: id }) => [seq, entry, id])).toEqual([
      ...[[1, undefined, 1]],
      ...[1, 2, 3].map((entry) => [2, entry, entry + 1]),
    ])
    expect(run('query', path)).toMatchObject({ stderr: '4 record(s)\n' })
    const note = '3 more left out, like records that are not here\n'
    expect(run('query', cut)).toEqual({ status: 0, stdout: '', stderr: `0 record(s)\n${note}` })
    expect(run('query', '--since', '2999-01-01', cut).stderr).toBe('0 record(s)\n')
    expect(run('export', '--format', 'ecs', cut)).toEqual({ status: 0, stdout: '', stderr: note })
    expect(run('report', '--out', `${cut}.html`, cut)).toMatchObject({ status: 1, stderr: note })
    expect(run('verify', path).stdout).toContain('2 records, seq 1..2')
  })
})

describe('tail', () => {
  it('says how many entries are like records that are not there', async () => {
    const cut = newLogPath()
    writeFileSync(cut, file([batchOf(3)[1]]))
    const child = spawn(process.execPath, [...NODE_ARGS, 'tail', cut], {
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    const ended = once(child, 'exit')
    const [said] = (await once(child.stderr, 'data')) as [Buffer]
    child.kill('SIGKILL')
    await ended
    expect(String(said)).toBe('3 more left out, like records that are not here\n')
  })

  it('prints the last records, then new ones, through rotation, and ends with 0', async () => {
    const log = newLogPath()
    const writer = await openLog(log, { segments: SMALL })
    await write(writer, 3)
    const child = spawn(process.execPath, [...NODE_ARGS, 'tail', '--last', '2', log], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    let text = ''
    // One listener for good: what comes while nobody listens would be lost.
    child.stdout.on('data', (data) => {
      text += String(data)
    })
    const shown = async (lines: number): Promise<void> => {
      while (text.split('\n').length - 1 < lines) await once(child.stdout, 'data')
    }
    await shown(2)
    for (let i = 0; i < 5; i++) writer.append({ ...PUBLISH, effect: `new ${i}` })
    await writer.flush()
    await shown(8)
    child.kill('SIGTERM')
    expect(await once(child, 'exit')).toEqual([0, null])
    await writer.close()
    expect(text).toContain('segment 2')
    for (let i = 0; i < 5; i++) expect(text).toContain(`new ${i}`)
  })
})
