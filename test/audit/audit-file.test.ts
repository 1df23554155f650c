import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  appendFileSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { AuditLog } from '../../src/audit/audit-log.ts'
import { type ChainHead, MAX_RECORD_BYTES } from '../../src/audit/record.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { chainOf, ENDLESS, file, PUBLISH, preparedChain, verify } from './chain.ts'
import { CountingObserver } from './fake-file.ts'

let directory: string
let path: string
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'postern-audit-'))
  path = join(directory, 'audit.jsonl')
})
afterEach(() => rmSync(directory, { recursive: true, force: true }))

function openLog(): Promise<AuditLog> {
  return AuditLog.open(path, {
    clock: new FakeClock(),
    instance: 'postern-1',
    policy: 'a1b2',
    durability: 'async',
    segments: ENDLESS,
    onFailure: 'deny',
    flushInterval: 50,
    maxPending: 1e6,
    observer: new CountingObserver(),
  })
}

async function appendAndClose(records: number): Promise<ChainHead> {
  const log = await openLog()
  for (let i = 0; i < records; i++) log.append(PUBLISH)
  await log.close()
  return log.head
}

const report = (known?: ChainHead) => verify(readFileSync(path), { known })

describe('the file', () => {
  it('is made readable for its owner only', async () => {
    await appendAndClose(1)
    expect(statSync(path).mode & 0o777).toBe(0o600)
  })

  it('holds one chain over restarts', async () => {
    await appendAndClose(2)
    await appendAndClose(0)
    const head = await appendAndClose(3)
    expect(report()).toMatchObject({ ok: true, records: 5, head, torn: 0 })
  })

  it.each([
    ['another kind of file', 'root:x:0:0:root:/root:/bin/bash\n'],
    ['another kind of file without a newline', 'hello'],
    ['other JSON lines', '{"level":30,"msg":"hello"}\n'],
    [
      'a record and more garbage than one record can leave',
      `${file(chainOf(1))}${'x'.repeat(MAX_RECORD_BYTES + 1)}`,
    ],
    ['longer than what is read, without a record', '{"action":"'.repeat(MAX_RECORD_BYTES / 4)],
    ['a last record that was changed', file(chainOf(3)).replace(/scout(?=[^\n]*\n$)/, 'other')],
  ])('is refused and left alone when it is %s', async (_, content) => {
    writeFileSync(path, content)
    await expect(openLog()).rejects.toMatchObject({ code: 'ERR_AUDIT_TAIL' })
    expect(readFileSync(path, 'utf8') === content).toBe(true)
    expect(() => statSync(`${path}.lock`)).toThrow()
  })

  it('says why it cannot be opened', async () => {
    path = join(directory, 'missing', 'audit.jsonl')
    await expect(openLog()).rejects.toMatchObject({
      code: 'ERR_AUDIT_OPEN',
      message: expect.stringContaining('ENOENT'),
    })
  })
})

describe('AUD-08 after a crash', () => {
  it.each([
    ['record', chainOf(3)],
    ['batch', preparedChain(3)],
  ])('the chain goes on, wherever the last %s was cut off', async (_name, lines) => {
    const whole = Buffer.from(file(lines))
    const before = Buffer.byteLength(file(lines.slice(0, 2)))
    // Every place near the ends of the record, and some in between.
    const lengths = Array.from({ length: whole.length - before + 1 }, (_, i) => before + i)
    const near = (length: number) => length - before < 20 || whole.length - length < 20 || length % 13 === 0
    for (const length of lengths.filter(near)) {
      writeFileSync(path, whole.subarray(0, length))
      const head = await appendAndClose(1)
      const torn = length > before && length < whole.length - 1
      const records = length >= whole.length - 1 ? 4 : torn ? 4 : 3
      expect(report(), `${length - before} bytes left`).toMatchObject({
        ok: true,
        records,
        torn: torn ? 1 : 0,
        head,
      })
    }
  })

  it('a record that lacks only its newline gets it', async () => {
    writeFileSync(path, file(chainOf(2)).slice(0, -1))
    await appendAndClose(0)
    expect(readFileSync(path, 'utf8')).toBe(file(chainOf(2)))
  })

  it('the first record of all may be torn too', async () => {
    const first = Buffer.from(file(chainOf(1)))
    for (const length of [1, 11, 12, 500]) {
      writeFileSync(path, first.subarray(0, length))
      await appendAndClose(1)
      expect(report(), `${length} bytes left`).toMatchObject({ ok: true, records: 2, torn: 1 })
    }
  })

  it('the sealing itself may be torn, again and again', async () => {
    const whole = Buffer.from(file(chainOf(2)))
    writeFileSync(path, whole.subarray(0, -700))
    const tornSize = statSync(path).size
    for (const cut of [1, 5, 100]) {
      await appendAndClose(0)
      truncateSync(path, tornSize + cut)
    }
    const head = await appendAndClose(2)
    expect(report()).toMatchObject({ ok: true, records: 4, torn: 1, head })
  })

  it('a tear after the tear was sealed is a second one', async () => {
    await appendAndClose(2)
    appendFileSync(path, '{"action":"publish","conn')
    await appendAndClose(1)
    appendFileSync(path, '{"action":"publish","connec')
    await appendAndClose(1)
    expect(report()).toMatchObject({ ok: true, records: 6, torn: 2 })
  })

  it('SIGKILL in a loop leaves a chain that verifies and holds everything that was flushed', async () => {
    for (let round = 0; round < 4; round++) {
      const { child, line } = await startWriter()
      child.kill('SIGKILL')
      await once(child, 'exit')
      const head = await appendAndClose(1)
      expect(report(JSON.parse(line) as ChainHead)).toMatchObject({ ok: true, head })
    }
  })
})

describe('AUD-10 one writer', () => {
  it('a second log in this process is refused until the first is closed', async () => {
    const first = await openLog()
    await expect(openLog()).rejects.toMatchObject({ code: 'ERR_AUDIT_LOCKED' })
    await first.close()
    await appendAndClose(1)
  })

  it('a log that another process writes is refused, and the process is named', async () => {
    const { child } = await startWriter()
    try {
      await expect(openLog()).rejects.toMatchObject({
        code: 'ERR_AUDIT_LOCKED',
        message: expect.stringContaining(`process ${child.pid} on host ${hostname()}`),
      })
    } finally {
      child.kill('SIGKILL')
      await once(child, 'exit')
    }
  })

  const own = { host: hostname(), pid: process.pid, started: '' }
  it.each([
    ['of a process that is gone', { ...own, pid: 2 ** 22 + 1 }],
    ['of an earlier process with our pid', own],
    [
      'of an earlier process with the pid of one that lives',
      { ...own, pid: process.ppid, started: 'boot/1' },
    ],
  ])('a lock %s is taken over', async (_, holder) => {
    writeFileSync(`${path}.lock`, JSON.stringify(holder))
    await appendAndClose(1)
    expect(report()).toMatchObject({ ok: true, records: 1 })
  })

  it.each([
    ['of another host', JSON.stringify({ ...own, host: 'elsewhere', pid: 2 ** 22 + 1 })],
    ['of a living process', JSON.stringify({ ...own, pid: process.ppid })],
    ['that cannot be read', 'x'],
  ])('a lock %s holds', async (_, content) => {
    writeFileSync(`${path}.lock`, content)
    await expect(openLog()).rejects.toMatchObject({ code: 'ERR_AUDIT_LOCKED' })
    expect(readFileSync(`${path}.lock`, 'utf8')).toBe(content)
  })
})

/** A process that writes without end; its first line of output is a head that is on disk. */
async function startWriter(): Promise<{ child: ChildProcess; line: string }> {
  const child = spawn(process.execPath, [join(import.meta.dirname, 'write-forever.ts'), path], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const [line] = (await once(child.stdout!, 'data')) as [Buffer]
  return { child, line: line.toString() }
}
