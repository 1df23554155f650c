import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { PassThrough } from 'node:stream'
import { afterEach, describe, expect, it } from 'vitest'
import { AuditLog } from '../../src/audit/audit-log.ts'
import { payloadDigest, pseudonym } from '../../src/audit/digest.ts'
import { Models } from '../../src/audit/models.ts'
import { otlpCopy, otlpLogs } from '../../src/audit/otlp.ts'
import type { AuditRecord } from '../../src/audit/record.ts'
import { type CopyPlace, RecordCopy } from '../../src/audit/record-copies.ts'
import { standardOutputLog } from '../../src/audit/standard-output.ts'
import { systemClock } from '../../src/clock.ts'
import { BrokerPublisher } from '../../src/net/broker-publisher.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { ack } from '../support/frames.ts'
import { ScriptedBroker } from '../support/scripted-broker.ts'
import { batchOf, chainOf, ENDLESS, file, forged, PUBLISH, verify } from './chain.ts'
import { CountingObserver } from './fake-file.ts'

const settle = () => new Promise((resolve) => setImmediate(resolve))

class MemoryPlace implements CopyPlace {
  readonly name = 'otlp'
  readonly taken: string[] = []
  fails = false
  closed = false

  async send(lines: Buffer): Promise<void> {
    if (this.fails) throw new Error('away')
    this.taken.push(lines.toString())
  }

  async close(): Promise<void> {
    this.closed = true
  }
}

function setUp() {
  const clock = new FakeClock()
  const place = new MemoryPlace()
  const counts = { sent: 0, lost: 0, failed: 0 }
  const copy = new RecordCopy(place, {
    ...{ clock, maxWaiting: 10 },
    sent: (_, records) => {
      counts.sent += records
    },
    lost: (_, records) => {
      counts.lost += records
    },
    failed: () => {
      counts.failed += 1
    },
  })
  const push = (...groups: string[]) => {
    // The memory is used again, as the log does.
    for (const group of groups) {
      const lines = Buffer.from(group)
      copy.push(1, lines)
      lines.fill('x')
    }
  }
  return { clock, place, counts, copy, push }
}

describe('copies of records', () => {
  it('arrive in order, also after the place was away', async () => {
    const { clock, place, counts, push } = setUp()
    place.fails = true
    push('a\n', 'b\n')
    await settle()
    place.fails = false
    push('c\n')
    await settle()
    clock.advance(1000)
    await settle()
    expect(place.taken.join('')).toBe('a\nb\nc\n')
    expect(counts).toMatchObject({ sent: 3, lost: 0 })
    expect(counts.failed).toBeGreaterThan(0)
  })

  it('beyond the limit the oldest are given up and counted', async () => {
    const { clock, place, counts, push } = setUp()
    place.fails = true
    push('aaaa\n', 'bbbb\n', 'cccc\n')
    await settle()
    push('dddd\n')
    place.fails = false
    clock.advance(1000)
    await settle()
    expect(place.taken.join('')).toContain('dddd\n')
    expect(counts.sent + counts.lost).toBe(4)
    expect(counts.lost).toBe(2)
  })

  it('the end waits for what is left, but not for ever', async () => {
    const { place, counts, copy, push } = setUp()
    push('a\n')
    await copy.close()
    expect(place).toMatchObject({ taken: ['a\n'], closed: true })
    expect(counts).toMatchObject({ sent: 1, lost: 0 })

    const other = setUp()
    other.place.send = () => new Promise(() => {})
    other.push('a\n')
    const closed = other.copy.close()
    other.clock.advance(3000)
    await closed
    expect(other.counts.lost).toBe(1)
  })
})

describe('standard output as the log', () => {
  it('is a chain from the start on', async () => {
    const stream = new PassThrough()
    const { file, tail } = standardOutputLog(stream)
    const log = new AuditLog(file, tail, {
      ...{
        clock: new FakeClock(),
        instance: 'postern-1',
        policy: 'a1b2',
        durability: 'async',
        onFailure: 'deny',
      },
      ...{ flushInterval: 50, maxPending: 1e6, segments: ENDLESS, observer: new CountingObserver() },
    })
    for (let i = 0; i < 5; i++) {
      log.append(PUBLISH)
      await log.flush()
    }
    await log.close()
    expect(verify(stream.read() as Buffer)).toMatchObject({ ok: true, records: 5 })
  })

  it('that is closed is a failed write, and no crash', async () => {
    const stream = new PassThrough()
    const { file } = standardOutputLog(stream)
    stream.destroy()
    await expect(file.write(Buffer.from('x'))).rejects.toThrow()
  })
})

describe('OTLP', () => {
  it('a record is a log record: time, severity, the line as body, who and what as attributes', () => {
    const [line] = chainOf(1)
    expect(otlpLogs(Buffer.from(`${line}\n`), 'postern-1')).toEqual({
      resourceLogs: [
        {
          resource: {
            attributes: [
              { key: 'service.name', value: { stringValue: 'postern' } },
              { key: 'service.instance.id', value: { stringValue: 'postern-1' } },
            ],
          },
          scopeLogs: [
            {
              scope: { name: 'postern.audit' },
              logRecords: [
                {
                  timeUnixNano: '1795348800000000000',
                  severityNumber: 9,
                  severityText: 'INFO',
                  eventName: 'postern.audit',
                  body: { stringValue: line },
                  attributes: [
                    { key: 'postern.seq', value: { intValue: '1' } },
                    { key: 'postern.action', value: { stringValue: 'publish' } },
                    { key: 'postern.decision', value: { stringValue: 'allow' } },
                    { key: 'postern.reason', value: { stringValue: 'allow' } },
                    { key: 'postern.agent', value: { stringValue: 'scout' } },
                    { key: 'postern.human', value: { stringValue: 'u1' } },
                  ],
                },
              ],
            },
          ],
        },
      ],
    })
  })

  it('of a batch says what its models say, and of one whose models were lost no more than it knows', () => {
    const models = new Models()
    const attributesOf = (line: string, known = models) => {
      const { resourceLogs } = otlpLogs(Buffer.from(`${line}\n`), 'postern-1', known) as {
        resourceLogs: { scopeLogs: { logRecords: { attributes: { key: string }[] }[] }[] }[]
      }
      return resourceLogs[0]!.scopeLogs[0]!.logRecords[0]!.attributes
    }
    const [model, batch] = batchOf(3)
    const entries = { key: 'postern.entries', value: { intValue: '3' } }
    const [, ...common] = attributesOf(model)
    expect(attributesOf(batch).slice(1)).toEqual([entries, ...common])
    expect(attributesOf(batch, new Models()).map(({ key }) => key)).not.toContain('postern.human')
  })

  it('of a batch for several humans names them all', () => {
    const [first, second] = chainOf(2).map((line, i) => {
      const record = JSON.parse(line) as AuditRecord
      const human = { ...record.identity!.human!, id: `u${i}` }
      return JSON.stringify({ ...record, model: true, identity: { ...record.identity, human } })
    })
    const [, batch] = batchOf(2)
    const lines = [first, second, forged(batch, { batch: [1, 2, 1].map((as) => ({ as, length: 1 })) })]
    const { resourceLogs } = otlpLogs(Buffer.from(file(lines as string[])), 'postern-1') as {
      resourceLogs: { scopeLogs: { logRecords: { attributes: object[] }[] }[] }[]
    }
    expect(resourceLogs[0]!.scopeLogs[0]!.logRecords[2]!.attributes).toContainEqual({
      key: 'postern.human',
      value: { arrayValue: { values: [{ stringValue: 'u0' }, { stringValue: 'u1' }] } },
    })
  })

  it('another answer than 2xx is a failure', async () => {
    const server = createServer((_, response) => response.writeHead(503).end())
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const copy = otlpCopy(`http://127.0.0.1:${(server.address() as AddressInfo).port}/v1/logs`, 'postern-1')
    await expect(copy.send(Buffer.from(`${chainOf(1)[0]}\n`))).rejects.toMatchObject({
      code: 'ERR_AUDIT_EXPORT',
    })
    server.close()
    server.closeAllConnections()
  })
})

describe('publishing to the broker', () => {
  let broker: ScriptedBroker
  afterEach(() => broker.stop())

  async function publisher(username?: string) {
    broker = await ScriptedBroker.start()
    const address = { kind: 'tcp', host: broker.host, port: broker.port, path: '' } as const
    const upstream = {
      ...{ address, connectTimeout: 2000, username, password: username && 'secret' },
      ...{ tls: undefined, proxyProtocol: 'off' as const },
    }
    return new BrokerPublisher({ upstream, clientId: 'postern-audit-test', clock: systemClock })
  }

  it('connects with a name of its own, keeps to the window of the broker, and resolves at the PUBACK', async () => {
    const it = await publisher('{agent_id}')
    const sent = [1, 2, 3].map((i) => it.publish('t', Buffer.from(String(i)), i === 3))
    const side = await broker.connection()
    const packet = await side.accept({ properties: [Buffer.of(0x21, 0, 2)] })
    expect(packet).toMatchObject({
      clientId: 'postern-audit-test',
      username: 'postern',
      password: Buffer.from('secret'),
    })
    const [first, second] = [await side.next('publish'), await side.next('publish')]
    expect(first).toMatchObject({ topic: 't', qos: 1, retain: false, payload: Buffer.from('1') })
    side.send(ack('puback', first.messageId!), ack('puback', second.messageId!))
    const third = await side.next('publish')
    expect(third.retain).toBe(true)
    side.send(ack('puback', third.messageId!))
    await Promise.all(sent)
    it.close()
    expect(await side.next('disconnect')).toMatchObject({ reasonCode: 0 })
  })

  it('rejects what was refused, and what was under way when the connection went; the next one connects again', async () => {
    const it = await publisher()
    const refused = it.publish('t', Buffer.from('1'))
    const lost = it.publish('t', Buffer.from('2'))
    const side = await broker.connection()
    await side.accept()
    const { messageId } = await side.next('publish')
    side.send(ack('puback', messageId!, 0x87))
    await expect(refused).rejects.toMatchObject({
      code: 'ERR_AUDIT_EXPORT',
      message: expect.stringContaining('135'),
    })
    side.socket.destroy()
    await expect(lost).rejects.toMatchObject({ code: 'ERR_AUDIT_EXPORT' })
    const again = it.publish('t', Buffer.from('3'))
    const next = await broker.connection()
    await next.accept()
    next.send(ack('puback', (await next.next('publish')).messageId!))
    await again
    it.close()
  })

  it('rejects when the broker refuses the connection', async () => {
    const it = await publisher()
    const sent = it.publish('t', Buffer.from('1'))
    await (await broker.connection()).accept({ reasonCode: 0x87 })
    await expect(sent).rejects.toThrow('135')
  })
})

describe('AUD-03 digests', () => {
  it.each([undefined, Buffer.alloc(32, 1)])('in pieces are the same as at once', (key) => {
    const digest = payloadDigest(key && (() => key))
    const running = digest.begin()
    running.update(Buffer.from('ab'))
    running.update(Buffer.from('c'))
    expect(running.digest('hex')).toBe(digest.of(Buffer.from('abc')))
  })

  it('plain ones are SHA-256, keyed ones HMAC-SHA-256 (RFC 4231 case 1)', () => {
    expect(payloadDigest(undefined).of(Buffer.from('abc'))).toBe(
      'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad',
    )
    expect(payloadDigest(() => Buffer.alloc(20, 0x0b)).of(Buffer.from('Hi There'))).toBe(
      'b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7',
    )
  })

  it('of humans depend on key, issuer and name', () => {
    const key = Buffer.alloc(32, 1)
    const all = [
      pseudonym(key, 'i', 'n'),
      pseudonym(Buffer.alloc(32, 2), 'i', 'n'),
      pseudonym(key, 'j', 'n'),
      pseudonym(key, 'i', 'm'),
    ]
    expect(new Set(all).size).toBe(4)
    expect(pseudonym(key, 'i', 'n')).toBe(all[0])
  })
})
