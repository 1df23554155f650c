// The way to the broker and the way in through a load balancer: TLS with a client certificate, PROXY protocol. Debian's
// Mosquitto is 2.0 and reads no PROXY header, so what Postern sends is parsed by a stub.
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import mqtt from 'mqtt'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { freePort } from '../../src/dev/free-port.ts'
import { type Broker, startMosquitto } from '../../src/dev/mosquitto.ts'
import { proxyHeader, readProxyHeader } from '../../src/net/proxy-protocol.ts'
import { connect } from '../support/frames.ts'
import { startPostern, type TestPostern } from '../support/postern.ts'
import { RawClient } from '../support/raw-client.ts'

const run = promisify(execFile)
const POLICY =
  'version: 1\nagents: [{ id: a, allow: publish+subscribe, topic: a/# }]\nusers: [{ id: u, allow: publish+subscribe, topic: a/# }]\n'

async function agentOf(postern: TestPostern): Promise<mqtt.MqttClient> {
  return mqtt.connectAsync({
    host: postern.host,
    port: postern.port,
    protocolVersion: 5,
    clientId: 'scout',
    username: 'x',
    password: await postern.issuer.mint(),
    reconnectPeriod: 0,
  })
}

describe('TLS to the broker', () => {
  let directory: string
  let broker: Broker
  let tlsPort: number
  const file = (name: string): string => join(directory, name)

  /** A certificate of `ca` for `name`, in `name.crt` and `name.key`. */
  async function issue(name: string, ca: string, usage: string): Promise<void> {
    const request = [
      'req',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:P-256',
      '-nodes',
      '-subj',
      `/CN=${name}`,
    ]
    await run('openssl', [...request, '-keyout', file(`${name}.key`), '-out', file(`${name}.csr`)])
    await writeFile(file(`${name}.ext`), `subjectAltName=DNS:${name}\nextendedKeyUsage=${usage}\n`)
    const sign = [
      'x509',
      '-req',
      '-in',
      file(`${name}.csr`),
      '-CA',
      file(`${ca}.crt`),
      '-CAkey',
      file(`${ca}.key`),
    ]
    await run('openssl', [
      ...sign,
      '-CAcreateserial',
      '-days',
      '2',
      '-extfile',
      file(`${name}.ext`),
      '-out',
      file(`${name}.crt`),
    ])
  }

  async function authority(name: string): Promise<void> {
    const self = [
      'req',
      '-x509',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:P-256',
      '-nodes',
      '-days',
      '2',
      '-subj',
      `/CN=${name}`,
    ]
    await run('openssl', [...self, '-keyout', file(`${name}.key`), '-out', file(`${name}.crt`)])
  }

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'postern-tls-'))
    await Promise.all([authority('ca'), authority('other-ca')])
    await issue('broker.test', 'ca', 'serverAuth')
    await issue('postern', 'ca', 'clientAuth')
    await issue('intruder', 'other-ca', 'clientAuth')
    tlsPort = await freePort()
    broker = await startMosquitto({
      conf: [
        `listener ${tlsPort} 127.0.0.1`,
        ...[
          `cafile ${file('ca.crt')}`,
          `certfile ${file('broker.test.crt')}`,
          `keyfile ${file('broker.test.key')}`,
        ],
        ...['require_certificate true', 'use_identity_as_username true'],
      ],
    })
  })
  afterAll(async () => {
    await broker?.stop()
    await rm(directory, { recursive: true, force: true })
  })

  async function behind(tls: Record<string, string>): Promise<TestPostern> {
    const address = `127.0.0.1:${tlsPort}`
    return startPostern({
      broker,
      policy: POLICY,
      config: { upstream: { address, tls, connectTimeout: '2s' } },
    })
  }
  const good = () => ({
    caFile: file('ca.crt'),
    certFile: file('postern.crt'),
    keyFile: file('postern.key'),
    serverName: 'broker.test',
  })

  test('an agent works through it, and the broker knows Postern by its certificate', async () => {
    const postern = await behind(good())
    const agent = await agentOf(postern)
    await agent.publishAsync('a/b', 'x', { qos: 1 })
    await agent.endAsync()
    expect(await broker.logged(/New client connected .* as scout .*u'postern'/)).toBeTruthy()
    await postern.stop()
  })

  test.each<[string, () => Record<string, string>]>([
    ['without a client certificate', () => ({ caFile: file('ca.crt'), serverName: 'broker.test' })],
    [
      'with one of a foreign authority',
      () => ({ ...good(), certFile: file('intruder.crt'), keyFile: file('intruder.key') }),
    ],
    ['to a broker of a foreign authority', () => ({ ...good(), caFile: file('other-ca.crt') })],
    ['to a broker of another name', () => ({ ...good(), serverName: 'elsewhere.test' })],
    [
      'to a broker whose name is not the address',
      () => ({ caFile: file('ca.crt'), certFile: file('postern.crt'), keyFile: file('postern.key') }),
    ],
  ])('%s nobody gets through', async (_, tls) => {
    const postern = await behind(tls())
    await expect(agentOf(postern)).rejects.toMatchObject({ code: 0x88 })
    await postern.stop()
  })

  test('a renewed certificate is taken up, a broken one is not', async () => {
    for (const name of ['postern', 'intruder']) {
      for (const kind of ['crt', 'key'])
        await writeFile(file(`live-${name}.${kind}`), await readFile(file(`${name}.${kind}`)))
    }
    const live = { ...good(), certFile: file('live-intruder.crt'), keyFile: file('live-intruder.key') }
    const postern = await behind(live)
    await expect(agentOf(postern)).rejects.toMatchObject({ code: 0x88 })
    await writeFile(live.certFile, await readFile(file('postern.crt')))
    await writeFile(live.keyFile, await readFile(file('postern.key')))
    await postern.app.reload()
    await (await agentOf(postern)).endAsync()
    await writeFile(live.keyFile, 'no key')
    await postern.app.reload()
    await (await agentOf(postern)).endAsync()
    expect(await postern.metric('postern_reloads_total{what="tls",result="failed"}')).toBeGreaterThan(0)
    await postern.stop()
  })

  test('a certificate without its key is named before anything starts', async () => {
    await expect(behind({ caFile: file('ca.crt'), certFile: file('postern.crt') })).rejects.toThrow(
      'upstream.tls.keyFile: Missing. A client certificate needs both `certFile` and `keyFile`.',
    )
    await expect(behind({ ...good(), caFile: file('none.crt') })).rejects.toThrow(
      'none.crt cannot be read: ENOENT',
    )
  })
})

describe('PROXY protocol', () => {
  test('tells the broker the address of the agent, before anything else', async () => {
    const seen: Buffer[] = []
    const stub = createServer((socket) => {
      socket.on('data', (chunk) => {
        seen.push(chunk)
        if (Buffer.concat(seen).length > 40) stub.emit('header')
      })
    }).listen(0, '127.0.0.1')
    await once(stub, 'listening')
    const { port } = stub.address() as { port: number }
    const broker = { host: '127.0.0.1', port }
    const postern = await startPostern({
      broker,
      policy: POLICY,
      config: { upstream: { address: `127.0.0.1:${port}`, proxyProtocol: 'v2' } },
    })
    const header = once(stub, 'header')
    const client = await RawClient.open({ port: postern.port, name: 'scout' })
    client.send(connect({ clientId: 'scout', password: await postern.issuer.mint() }))
    await header
    const sent = Buffer.concat(seen)
    const read = readProxyHeader(sent)
    const { connection } = (await postern.records()).findLast(({ action }) => action === 'connect')!
    if (typeof read === 'string') throw new Error(read)
    expect(`${read.source?.host}:${read.source?.port}`).toBe(connection?.peer)
    expect(sent[read.length]).toBe(0x10)
    client.destroy()
    await postern.stop()
    stub.close()
  })

  describe('from a load balancer', () => {
    let broker: Broker
    let postern: TestPostern
    beforeAll(async () => {
      broker = await startMosquitto()
      postern = await behind(['127.0.0.0/8'])
    })
    afterAll(async () => {
      await postern?.stop()
      await broker?.stop()
    })
    const behind = (networks: string[]): Promise<TestPostern> =>
      startPostern({
        broker,
        policy: POLICY,
        config: {
          listeners: [{ name: 'agents', address: '127.0.0.1:0', proxyProtocolFrom: networks }],
          limits: { connectTimeout: '1s' },
        },
      })
    const header = proxyHeader('192.0.2.1:53131', { host: '198.51.100.2', port: 1883 })

    test('the agent is known by its own address, however the bytes are cut', async () => {
      const packet = connect({ clientId: 'scout', password: await postern.issuer.mint() })
      for (const parts of [
        [Buffer.concat([header, packet])],
        [header, packet],
        [header.subarray(0, 5), Buffer.concat([header.subarray(5), packet])],
      ]) {
        const client = await RawClient.open({ port: postern.port, name: 'scout' })
        for (const part of parts) {
          client.send(part)
          await new Promise((resolve) => setImmediate(resolve))
        }
        expect((await client.next('connack')).reasonCode).toBe(0)
        client.destroy()
      }
      const record = (await postern.records()).findLast(({ action }) => action === 'connect')
      expect(record?.connection?.peer).toBe('192.0.2.1:53131')
    })

    test.each([
      ['without the header', () => connect({ clientId: 'scout', password: 'a.b.c' })],
      ['with a header of version 1', () => Buffer.from('PROXY TCP4 192.0.2.1 198.51.100.2 1 2\r\n')],
    ])('%s the connection is closed without an answer', async (_, bytes) => {
      const client = await RawClient.open({ port: postern.port, name: 'x' })
      client.send(bytes())
      expect(await client.closed()).toEqual([])
    })

    test('anybody else is closed, header or not', async () => {
      const other = await behind(['192.0.2.0/24'])
      const client = await RawClient.open({ port: other.port, name: 'x' })
      expect(await client.closed()).toEqual([])
      await other.stop()
    })

    test('one that says nothing is closed after limits.connectTimeout', async () => {
      const client = await RawClient.open({ port: postern.port, name: 'x' })
      client.send(header.subarray(0, 10))
      // They are accepted in order: when a later one has been turned away, this one waits for its time.
      const later = await RawClient.open({ port: postern.port, name: 'y' })
      later.send(Buffer.from('no header'))
      await later.closed()
      postern.clock.advance(1_001)
      expect(await client.closed()).toEqual([])
    })
  })
})
