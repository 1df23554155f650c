// AUD-03: random and mutated packets and tokens with planted markers against a whole Postern; then every way out of it is
// searched for the markers. POSTERN_FUZZ_SESSIONS makes it longer, POSTERN_FUZZ_SEED repeats a run.

import { randomInt } from 'node:crypto'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { type AddressInfo, connect as connectSocket, createServer as createTcpServer } from 'node:net'
import { join } from 'node:path'
import { Writable } from 'node:stream'
import { zstdDecompressSync } from 'node:zlib'
import { afterAll, expect, it } from 'vitest'
import type { AuditRecord } from '../../src/audit/record.ts'
import { AgentAuditTrail } from '../../src/evidence/agent-audit-trail.ts'
import { ecsDocument } from '../../src/evidence/ecs.ts'
import { csvRow, jsonLine, table } from '../../src/evidence/listing.ts'
import { withSegments } from '../../src/evidence/log-files.ts'
import { ocsfEvent } from '../../src/evidence/ocsf.ts'
import { ReportPage } from '../../src/evidence/report-page.ts'
import { select } from '../../src/evidence/selection.ts'
import { verifyLog } from '../../src/evidence/verify-log.ts'
import {
  ack,
  auth,
  connect,
  disconnect,
  PINGREQ,
  prop,
  publish,
  subscribe,
  unsubscribe,
} from '../support/frames.ts'
import type { TestPostern } from '../support/postern.ts'
import { Random } from '../support/random.ts'
import { openStage, type Stage } from '../support/stage.ts'
import { TEST_ISSUER } from '../support/tokens.ts'

const SESSIONS = Number(process.env['POSTERN_FUZZ_SESSIONS'] ?? 120)
const random = new Random(Number(process.env['POSTERN_FUZZ_SEED'] ?? randomInt(2 ** 31)))
const INBOX = 'a2a/v1/tasks/analyst/inbox'

/** Eight characters that nothing else holds. */
const MARK = random.bytes(4).toString('hex')
/** Where bytes are free: no topic can take a piece of it in, because 0xFF is in no UTF-8. */
const BYTES = Buffer.concat(
  Array.from({ length: 8 }, () => Buffer.concat([Buffer.of(0xff), Buffer.from(MARK)])),
)
const TEXT = `planted-${MARK}`
const BROKER_PASSWORD = `${TEXT}-broker`

/** What came out, by where. */
const outputs = new Map<string, Buffer[]>()
const out = (name: string, chunk: Buffer | string): void => {
  const chunks = outputs.get(name) ?? []
  outputs.set(name, chunks)
  chunks.push(Buffer.from(chunk))
}

const closing: (() => unknown)[] = []
afterAll(async () => {
  for (const close of closing.reverse()) await close()
})

const web = createServer((request, response) => {
  request.on('data', (chunk) => out(request.url === '/hook' ? 'hook' : 'collector', chunk))
  request.on('end', () => response.end())
})
const syslog = createTcpServer((socket) => {
  socket.on('data', (chunk) => out('syslog', chunk))
  socket.on('error', () => {})
})

async function portOf(server: typeof web | typeof syslog): Promise<number> {
  server.listen(0, '127.0.0.1')
  closing.push(() => server.close())
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

const stdout = new Writable({
  write(chunk, _, done) {
    out('standard output', chunk)
    done()
  },
})

async function start(): Promise<{ stage: Stage; postern: TestPostern }> {
  const url = `http://127.0.0.1:${await portOf(web)}`
  const collector = `tcp://127.0.0.1:${await portOf(syslog)}`
  const stage = await openStage()
  closing.push(() => stage.stop())
  const postern = await stage.anotherPostern({
    output: stdout,
    files: { secret: `${TEXT}-admin-secret-of-enough-characters` },
    config: {
      upstream: {
        ...{
          address: `${stage.relay.host}:${stage.relay.port}`,
          username: '{agent_id}',
          password: BROKER_PASSWORD,
        },
      },
      audit: {
        ...{
          file: 'audit.jsonl',
          flushInterval: '1ms',
          segments: { maxBytes: '64KiB' },
          repeats: { rate: 20 },
        },
        copies: { stdout: true, otlp: `${url}/v1/logs`, syslog: collector, topic: 'trail/records' },
      },
      clientId: { binding: 'prefix', separator: '~' },
      revocation: { file: 'revocations.jsonl', secretFile: 'secret' },
      limits: { failedTries: 1_000_000 },
      log: { level: 'debug' },
    },
  })
  return { stage, postern }
}

const tokens: string[] = []
async function aToken(postern: TestPostern): Promise<string> {
  const claims = {
    ...{ sub: 'u1', agent_id: 'scout', org_id: 'org_a', act: { iss: TEST_ISSUER, sub: 'scout', note: TEXT } },
    secret: TEXT,
    nested: { list: [TEXT, { [TEXT]: TEXT }] },
    ...random.of([
      {},
      {},
      {},
      {},
      { aud: TEXT },
      { exp: 1 },
      { iss: `https://${TEXT}.test` },
      { sub: undefined },
    ]),
  }
  const token = await postern.issuer.mint(claims)
  tokens.push(token)
  return random.under(5) === 0 ? random.mutate(Buffer.from(token)).toString('latin1') : token
}

function aConnect(password: string, number: number): Buffer {
  const method = [prop.authenticationMethod('POSTERN-JWT'), prop.authenticationData(BYTES)]
  return connect({
    clientId: `scout~${number}`,
    userName: `${TEXT}-user`,
    password: random.of([
      password,
      password,
      password,
      password,
      password,
      password,
      `${TEXT}.${TEXT}.${TEXT}`,
    ]),
    ...random.of([
      {},
      {},
      { will: { topic: 'a2a/v1/agents/scout/status', payload: BYTES, qos: 1 as const, retain: true } },
    ]),
    ...random.of([
      ...[{}, {}, {}, {}, {}, {}],
      { properties: [prop.userProperty('note', TEXT)] },
      { properties: method },
    ]),
  })
}

function aPacket(): Buffer {
  const packetId = 1 + random.under(20)
  const properties = [
    prop.correlationData(BYTES),
    prop.userProperty('note', TEXT),
    ...random.of([[], [prop.responseTopic('a2a/v1/mcp/clients/scout/responses')]]),
  ]
  const topic = random.of([INBOX, INBOX, 'a2a/v1/notes/scout/a', 'not/allowed', 'a2a/v1/agents/scout/card'])
  const payload = random.of([BYTES, BYTES, Buffer.alloc(0), Buffer.alloc(20_000, BYTES)])
  return random.of([
    () => publish({ topic, payload }),
    () => publish({ topic, payload, properties }),
    () => publish({ topic, payload, qos: 1, packetId, properties }),
    () => publish({ topic, payload, qos: 2, packetId, retain: random.under(2) === 0 }),
    () => Buffer.concat(Array.from({ length: 40 }, () => publish({ topic: INBOX, payload: BYTES }))),
    // Nobody publishes to those that are allowed: what comes back is answers only.
    () =>
      subscribe({ filters: [[random.of([INBOX, 'not/allowed', 'a2a/v1/tasks/scout/inbox']), 1]], packetId }),
    () => unsubscribe([topic], packetId),
    () => ack('pubrel', packetId),
    () => auth(0x18, [prop.authenticationMethod('POSTERN-JWT'), prop.authenticationData(BYTES)]),
    () => disconnect(0x04, [prop.reasonString(TEXT), prop.userProperty('note', TEXT)]),
    () => PINGREQ,
    () => random.bytes(random.under(40)),
  ])()
}

/** One connection; what comes back is kept, but for deliveries. */
async function session(postern: TestPostern, number: number): Promise<void> {
  const socket = connectSocket(postern.port, '127.0.0.1')
  socket.on('error', () => {})
  const first = aConnect(await aToken(postern), number)
  socket.write(random.under(4) === 0 ? random.mutate(first) : first)
  // To CONNACK, DISCONNECT and so on: what is subscribed to brings no payload.
  socket.on('data', (chunk: Buffer) => out('answers', chunk))
  const closed = once(socket, 'close')
  // A mutated CONNECT may wait for bytes that never come.
  await Promise.race([once(socket, 'data'), closed, once(AbortSignal.timeout(200), 'abort')])
  for (let packets = random.under(8); packets > 0; packets--) {
    const packet = aPacket()
    socket.write(random.under(3) === 0 ? random.mutate(packet) : packet)
  }
  socket.end()
  await closed
}

async function ask(postern: TestPostern): Promise<void> {
  const post = (authorization: string, body: string) =>
    fetch(`${postern.app.adminUrl}/revocations`, { method: 'POST', headers: { authorization }, body })
  for (const answer of [
    await post(`Bearer ${TEXT}`, TEXT),
    await post(`Bearer ${TEXT}-admin-secret-of-enough-characters`, `{"sub_id":{"${TEXT}":1}}`),
    await post(`Bearer ${TEXT}-admin-secret-of-enough-characters`, `${TEXT}{`),
  ]) {
    expect(answer.status).toBeGreaterThan(399)
    out('admin', await answer.text())
  }
  const metrics = await fetch(`${postern.app.adminUrl}/metrics`)
  out('metrics', await metrics.text())
}

async function show(directory: string): Promise<AuditRecord[]> {
  const files = withSegments([join(directory, 'audit.jsonl')])
  expect(await verifyLog(files, { partial: false })).toMatchObject({ ok: true })
  const page = new ReportPage()
  const trail = new AgentAuditTrail()
  const all: AuditRecord[] = []
  for await (const record of select([{ worker: '', files: files }], {})) {
    all.push(record)
    page.add(record)
    out('jsonl', jsonLine(record))
    out('csv', csvRow(record))
    out('ocsf', JSON.stringify(ocsfEvent(record)))
    out('ecs', JSON.stringify(ecsDocument(record)))
    out('agent-audit-trail', trail.line(record) ?? '')
  }
  out('table', table(all).join('\n'))
  out('report', page.html({ files: [], sinceMs: undefined, untilMs: undefined, madeMs: 0, chain: [] }))
  for (const name of readdirSync(directory)) {
    const bytes = readFileSync(join(directory, name))
    if (name !== 'secret') out(name, name.endsWith('.zst') ? zstdDecompressSync(bytes) : bytes)
  }
  return all
}

it('AUD-03 no marker of a random run is in any output', { timeout: 600_000 }, async () => {
  const { stage, postern } = await start()
  for (let done = 0; done < SESSIONS; done += 10) {
    await Promise.all(Array.from({ length: 10 }, (_, i) => session(postern, done + i)))
  }
  await ask(postern)
  await postern.app.stop({ withinMs: 0 })
  const said = await stage.observer.seen()
  for (const { topic, payload } of said) if (topic.startsWith('trail/')) out('topic', payload)
  out('log', JSON.stringify(postern.log))
  const records = await show(postern.directory)

  const forms = [
    ...[MARK, Buffer.from(MARK).toString('hex')],
    // Wherever it begins within three bytes.
    ...[0, 1, 2].map((at) => Buffer.from(MARK).subarray(at).toString('base64').replace(/=/g, '').slice(0, 7)),
    ...tokens.flatMap((token) => token.split('.')).map((part) => part.slice(-24)),
  ]
  const found = [...outputs].flatMap(([name, chunks]) => {
    const all = Buffer.concat(chunks)
    return forms.filter((form) => form.length > 6 && all.includes(form)).map((form) => `${form} in ${name}`)
  })
  expect(found, `POSTERN_FUZZ_SEED=${random.seed}`).toEqual([])

  // The run was one worth searching.
  expect(outputs.size).toBeGreaterThan(18)
  for (const name of [
    'standard output',
    'collector',
    'syslog',
    'topic',
    'log',
    'metrics',
    'answers',
    'report',
  ]) {
    expect(Buffer.concat(outputs.get(name) ?? []).length, name).toBeGreaterThan(100)
  }
  const kinds = new Set(records.map(({ action, decision }) => `${action} ${decision}`))
  for (const kind of ['connect allow', 'connect deny', 'publish allow', 'publish deny']) {
    expect(kinds, `POSTERN_FUZZ_SEED=${random.seed}`).toContain(kind)
  }
  expect(said.some(({ topic, payload }) => topic === INBOX && payload.includes(MARK))).toBe(true)
})
