// The audit trail of a whole Postern: every way out of it, searched for what must never be there; and what must.

import { copyFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Writable } from 'node:stream'
import { zstdDecompressSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { digestKeyId, pseudonym } from '../../src/audit/digest.ts'
import type { AuditRecord } from '../../src/audit/record.ts'
import { makeSigner, type OpenedCheckpoint, openCheckpoint } from '../../src/audit/signed-note.ts'
import { AgentAuditTrail } from '../../src/evidence/agent-audit-trail.ts'
import { csvRow, table } from '../../src/evidence/listing.ts'
import { withSegments } from '../../src/evidence/log-files.ts'
import { ocsfEvent } from '../../src/evidence/ocsf.ts'
import { ReportPage } from '../../src/evidence/report-page.ts'
import { verifyLog } from '../../src/evidence/verify-log.ts'
import { disconnect, prop, publish, subscribe } from '../support/frames.ts'
import type { Seen } from '../support/observer.ts'
import type { TestPostern } from '../support/postern.ts'
import { openStage, type Stage } from '../support/stage.ts'
import { TEST_ISSUER } from '../support/tokens.ts'

const SECRET = 'q7Zk-planted-marker-Xw9'
const BROKER_PASSWORD = `${SECRET}-broker`
const TRACE = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
const INBOX = 'a2a/v1/tasks/analyst/inbox'
const directory = mkdtempSync(join(tmpdir(), 'postern-trail-'))
const signer = makeSigner('postern.example/test')
const digestKey = Buffer.alloc(32, 5)
const tokens: string[] = []
const output: Buffer[] = []
const hooked: string[] = []
const collected: string[] = []
let server: Server
let url: string
let stage: Stage
let postern: TestPostern
/** What the broker was told. */
let published: Seen[]

beforeAll(async () => {
  writeFileSync(join(directory, 'signer.key'), signer.privateText)
  writeFileSync(join(directory, 'digest.key'), digestKey)
  server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk) => chunks.push(chunk))
    request.on('end', () => {
      ;(request.url === '/hook' ? hooked : collected).push(Buffer.concat(chunks).toString())
      response.end()
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const stdout = new Writable({
    write(chunk, _, done) {
      output.push(chunk)
      done()
    },
  })
  stage = await openStage()
  postern = await stage.anotherPostern({
    output: stdout,
    config: {
      upstream: {
        address: `${stage.relay.host}:${stage.relay.port}`,
        username: '{agent_id}',
        password: BROKER_PASSWORD,
      },
      audit: {
        file: 'audit.jsonl',
        flushInterval: '1ms',
        payloadDigest: 'hmac',
        subjects: 'hmac',
        digestKeyFile: join(directory, 'digest.key'),
        segments: { maxBytes: '64KiB' },
        repeats: { rate: 50 },
        checkpoints: {
          keyFile: join(directory, 'signer.key'),
          records: 20,
          stdout: true,
          url: `${url}/hook`,
          topic: 'trail/checkpoints',
        },
        copies: { stdout: true, otlp: `${url}/v1/logs`, topic: 'trail/records' },
      },
    },
  })
  const { issuer } = postern
  const mint = issuer.mint.bind(issuer)
  issuer.mint = async (...claims) => {
    const token = await mint(...claims)
    tokens.push(token)
    return token
  }
  await act()
  // The files go with the directory: what is searched is kept.
  await postern.app.stop({ withinMs: 0 })
  published = await stage.observer.seen()
  for (const name of readdirSync(postern.directory))
    copyFileSync(join(postern.directory, name), join(directory, name))
})
afterAll(async () => {
  await stage.stop()
  server.close()
  server.closeAllConnections()
  rmSync(directory, { recursive: true, force: true })
})

/** Agents do all sorts of things, with the marker wherever a secret may be. */
async function act(): Promise<void> {
  const payload = `${SECRET}-payload`
  const properties = [
    prop.correlationData(`${SECRET}-correlation`),
    prop.userProperty('traceparent', TRACE),
    prop.userProperty('note', `${SECRET}-property`),
    prop.responseTopic('a2a/v1/mcp/clients/scout/responses'),
  ]
  for (const user of ['u1', 'u2']) {
    const client = await stage.agent('scout', { user, claims: { txn: 'txn-1' } }, postern)
    for (let i = 0; i < 30; i++) {
      const topic = i % 3 === 0 ? 'not/allowed' : INBOX
      client.send(
        publish({
          topic,
          qos: i % 2 === 0 ? 1 : 0,
          packetId: i + 1,
          payload: `${payload}${i}`,
          properties: i % 4 === 0 ? properties.slice(0, 3) : [],
        }),
      )
    }
    client.send(publish({ topic: INBOX, qos: 0, payload: Buffer.alloc(100_000, SECRET) }))
    client.send(...Array.from({ length: 200 }, () => publish({ topic: INBOX, payload })))
    client.send(
      subscribe({
        filters: [
          ['#', 1],
          ['a2a/v1/agents/scout/+', 1],
        ],
        packetId: 1000,
      }),
    )
    client.send(disconnect())
    await client.closed()
  }
  const will = {
    topic: 'a2a/v1/agents/scout/status',
    payload: `${SECRET}-will`,
    qos: 1,
    retain: true,
  } as const
  for (const password of [
    await postern.issuer.mint({ aud: 'elsewhere' }),
    `${SECRET}.bad.token`,
    `e30.${SECRET}`,
  ]) {
    tokens.push(password)
    await stage.tryConnect('scout', { password, will } as never, postern)
  }
  const withWill = await stage.tryConnect('scout', { will }, postern)
  withWill.client.reset()
}

const file = () => join(directory, 'audit.jsonl')
const unpacked = (name: string): Buffer => {
  const bytes = readFileSync(join(directory, name))
  return name.endsWith('.zst') ? zstdDecompressSync(bytes) : bytes
}
const logNames = () => readdirSync(directory).filter((name) => /^audit\.jsonl(\.\d+\.zst)?$/.test(name))
const logLines = () =>
  withSegments([file()]).flatMap((path) =>
    unpacked(path.slice(directory.length + 1))
      .toString()
      .trim()
      .split('\n'),
  )
const records = () => logLines().map((line) => JSON.parse(line) as AuditRecord)

describe('AUD-03 no token, password or payload byte in any output', () => {
  it('of all the ways out', async () => {
    const all = records()
    const page = new ReportPage()
    const trail = new AgentAuditTrail()
    for (const record of all) page.add(record)
    const facts = { files: [], sinceMs: undefined, untilMs: undefined, madeMs: 0, chain: [] }
    const outputs = new Map<string, string>([
      ...readdirSync(directory)
        .filter((name) => name.startsWith('audit.jsonl'))
        .map((name): [string, string] => [name, unpacked(name).toString('latin1')]),
      ['standard output', Buffer.concat(output).toString('latin1')],
      ['hook', hooked.join('\n')],
      ['collector', collected.join('\n')],
      ['topics', JSON.stringify(published.filter(({ topic }) => topic.startsWith('trail/')))],
      ['log', JSON.stringify(postern.log)],
      ['report', page.html(facts)],
      ['table', table(all).join('\n')],
      ['csv', all.map(csvRow).join('\n')],
      ['ocsf', JSON.stringify(all.map(ocsfEvent))],
      ['agent-audit-trail', all.map((record) => trail.line(record)).join('\n')],
    ])
    const forms = [
      SECRET,
      Buffer.from(SECRET).toString('base64').slice(0, 28),
      Buffer.from(SECRET).toString('hex'),
      ...tokens.map((token) => token.slice(-20)),
    ]
    const signatures = tokens.map((token) => token.split('.')[2]!).filter((part) => part?.length > 20)
    for (const [name, text] of outputs) {
      expect(text.length, name).toBeGreaterThan(0)
      for (const form of [...forms, ...signatures, 'eyJhbGci'])
        expect(text.includes(form), `${form} in ${name}`).toBe(false)
    }
    expect(outputs.size).toBeGreaterThan(12)
  })

  it('humans are named by keyed digests, so that the same one is found again', () => {
    const names = new Set(records().flatMap((record) => record.identity?.human?.id ?? []))
    expect(names).toEqual(new Set(['u1', 'u2'].map((user) => pseudonym(digestKey, TEST_ISSUER, user))))
  })

  it('payloads have a keyed digest and no plain one', () => {
    const payloads = records().flatMap(({ payload }) => payload ?? [])
    expect(payloads.filter((payload) => payload.hmac_sha256 !== undefined).length).toBeGreaterThan(50)
    expect(payloads.filter((payload) => payload.sha256 !== undefined)).toEqual([])
  })
})

describe('AUD-13 correlation', () => {
  it('traceparent, txn and a digest of Correlation Data are in the record of the PUBLISH', () => {
    const traced = records().filter(({ traceparent }) => traceparent !== undefined)
    expect(traced.length).toBeGreaterThan(10)
    for (const record of traced) {
      expect(record).toMatchObject({
        action: 'publish',
        traceparent: TRACE,
        identity: { txn: 'txn-1' },
        resource: { correlation_hmac_sha256: expect.stringMatching(/^[0-9a-f]{64}$/) },
      })
    }
  })
})

describe('AUD-01 AUD-14 the whole trail', () => {
  it('accounts for each message that was sent', () => {
    const counted = records().filter(
      ({ action, reason }) => action === 'publish' && reason !== 'token_expired',
    )
    const total = counted.reduce((sum, { repeated }) => sum + (repeated?.count ?? 1), 0)
    expect(total).toBe(2 * (30 + 1 + 200))
    expect(counted.some(({ repeated }) => repeated !== undefined)).toBe(true)
  })

  it('is one chain over its segments, and confirms the checkpoints that left the host, by every way', async () => {
    const there = published.filter(({ topic }) => topic === 'trail/checkpoints')
    const printed = Buffer.concat(output)
      .toString()
      .split('\n')
      .filter((line) => line.startsWith('{"checkpoint"'))
    const ways = [
      hooked,
      there.map(({ payload }) => payload),
      printed.map((line) => (JSON.parse(line) as { checkpoint: string }).checkpoint),
    ]
    const newest = records().length
    for (const notes of ways) {
      const checkpoints = notes.map((note) => openCheckpoint(note, [signer]) as OpenedCheckpoint)
      expect(checkpoints.map(({ size }) => size)).toContain(newest)
      expect(await verifyLog(withSegments([file()]), { partial: false, checkpoints })).toMatchObject({
        ok: true,
        confirmed: checkpoints.length,
      })
    }
    expect(logNames().length).toBeGreaterThan(1)
  })

  it('the copies are the lines of the file, in order', async () => {
    const lines = logLines()
    const printed = Buffer.concat(output)
      .toString()
      .split('\n')
      .filter((line) => line.startsWith('{"action"'))
    expect(printed).toEqual(lines)
    const there = published.filter(({ topic }) => topic === 'trail/records')
    expect(there.map(({ payload }) => payload)).toEqual(lines)
    type Request = { resourceLogs: { scopeLogs: { logRecords: { body: { stringValue: string } }[] }[] }[] }
    const exported = collected.flatMap((body) =>
      (JSON.parse(body) as Request).resourceLogs[0]!.scopeLogs[0]!.logRecords.map(
        (record) => record.body.stringValue,
      ),
    )
    expect(exported).toEqual(lines)
  })
})

describe('AUD-11 keys that are replaced while Postern runs', () => {
  it('are in force from a record on, and each checkpoint is signed by the one of its place', async () => {
    const at = (name: string) => join(directory, `rotating-${name}`)
    const [first, second] = [makeSigner('postern.example/first'), makeSigner('postern.example/second')]
    writeFileSync(at('signer'), first.privateText)
    writeFileSync(at('digest'), Buffer.alloc(32, 1))
    const notes = hooked.length
    const rotating = await stage.anotherPostern({
      config: {
        audit: {
          file: 'audit.jsonl',
          payloadDigest: 'hmac',
          subjects: 'hmac',
          digestKeyFile: at('digest'),
          checkpoints: { keyFile: at('signer'), url: `${url}/hook` },
        },
      },
    })
    const client = await stage.agent('scout', { user: 'u1' }, rotating)
    const send = async (packetId: number): Promise<string | undefined> => {
      client.send(publish({ topic: INBOX, qos: 1, packetId, payload: 'same' }))
      await client.next('puback')
      return (await rotating.records()).findLast(({ action }) => action === 'publish')?.payload?.hmac_sha256
    }
    const digests = [await send(1)]
    writeFileSync(at('digest'), 'too short')
    await rotating.app.reload()
    digests.push(await send(2))
    writeFileSync(at('signer'), second.privateText)
    writeFileSync(at('digest'), Buffer.alloc(32, 2))
    await rotating.app.reload()
    digests.push(await send(3))
    const all = await rotating.records()
    const log = join(rotating.directory, 'audit.jsonl')
    await rotating.app.stop({ withinMs: 0 })

    expect(digests[1]).toBe(digests[0])
    expect(digests[2]).toMatch(/^[0-9a-f]{64}$/)
    expect(digests[2]).not.toBe(digests[0])
    const told = all.flatMap(({ action, reason, decision, detail, signer: key }) =>
      action === 'signer' || action === 'digest_key' || action === 'keys'
        ? [[action, decision, reason, key ?? detail]]
        : [],
    )
    expect(told.filter(([, , , what]) => what !== undefined && !what.includes('jwks'))).toEqual([
      ['signer', 'allow', 'first_key', first.text],
      ['digest_key', 'allow', 'ok', `key ${digestKeyId(Buffer.alloc(32, 1))}`],
      ['keys', 'deny', 'reload_failed', at('signer')],
      ['digest_key', 'allow', 'key_changed', `key ${digestKeyId(Buffer.alloc(32, 2))}`],
      ['signer', 'allow', 'key_changed', second.text],
      ['keys', 'allow', 'ok', at('signer')],
    ])
    const checkpoints = hooked.slice(notes).map((note) => openCheckpoint(note, [first, second]))
    expect(new Set(checkpoints.map((one) => (one as OpenedCheckpoint).signedBy[0]!.text))).toEqual(
      new Set([first.text, second.text]),
    )
    expect(
      await verifyLog([log], { partial: false, checkpoints: checkpoints as OpenedCheckpoint[] }),
    ).toMatchObject({ ok: true, confirmed: checkpoints.length })
  })
})
