import { execFileSync, spawnSync } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createServer as createTlsServer } from 'node:tls'
import { afterEach, describe, expect, it } from 'vitest'
import { syslogMessages } from '../../src/audit/syslog-message.ts'
import { syslogSender } from '../../src/net/syslog-sender.ts'
import { chainOf, encoder, file, PUBLISH } from '../audit/chain.ts'

const opened: { close(): unknown }[] = []
afterEach(() => {
  for (const one of opened.splice(0)) one.close()
})

const [line] = chainOf(1) as [string]
const instance = 'postern-1'
const messages = (count: number) => syslogMessages(Buffer.from(file(chainOf(count))), instance)
const texts = (count: number) => messages(count).map(String)

const textOf = (one: string, name = instance) => String(syslogMessages(Buffer.from(`${one}\n`), name)[0])

describe('a syslog message', () => {
  it('has the header of RFC 5424 and the line', () => {
    expect(textOf(line)).toBe(
      `<110>1 ${(JSON.parse(line) as { time: string }).time} postern-1 postern - publish - ${line}`,
    )
  })

  it('of a denial is a warning', () => {
    const denied = encoder().encode({ ...PUBLISH, decision: 'deny' })
    expect(textOf(denied)).toMatch(/^<108>1 /)
  })

  it.each([
    ['räume und mehr', 'rumeundmehr'],
    ['ö', '-'],
  ])('has no name that would not do in a header: %s', (name, shown) => {
    expect(textOf(line, name).split(' ')[2]).toBe(shown)
  })
})

it('UDP: a datagram for each record', async () => {
  const server = createSocket('udp4').bind(0, '127.0.0.1')
  opened.push(server)
  await once(server, 'listening')
  const got: string[] = []
  const all = Promise.withResolvers<void>()
  server.on('message', (message) => {
    if (got.push(message.toString()) === 3) all.resolve()
  })
  const copy = syslogSender(`udp://127.0.0.1:${server.address().port}`)
  opened.push(copy)
  await copy.send(messages(3))
  await all.promise
  expect(got).toEqual(texts(3))
})

/** Takes frames of RFC 6587 apart. */
class Collector {
  readonly got: string[] = []
  readonly sockets: Socket[] = []
  readonly #waiting: { count: number; resolve(): void }[] = []

  readonly take = (socket: Socket): void => {
    this.sockets.push(socket)
    let rest = Buffer.alloc(0)
    socket.on('error', () => {})
    socket.on('data', (chunk) => {
      rest = Buffer.concat([rest, chunk])
      for (;;) {
        const space = rest.indexOf(' ')
        const length = Number(rest.toString('latin1', 0, Math.max(0, space)))
        if (space < 1 || rest.length < space + 1 + length) return
        this.got.push(rest.toString('utf8', space + 1, space + 1 + length))
        rest = rest.subarray(space + 1 + length)
        for (const { count, resolve } of this.#waiting) if (this.got.length >= count) resolve()
      }
    })
  }

  async has(count: number): Promise<void> {
    if (this.got.length >= count) return
    await new Promise<void>((resolve) => this.#waiting.push({ count, resolve }))
  }
}

async function listen(server: Server, port = 0): Promise<number> {
  server.listen(port, '127.0.0.1')
  opened.push(server)
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

describe('TCP', () => {
  it('each record with its length before it, in one connection', async () => {
    const collector = new Collector()
    const port = await listen(createServer(collector.take))
    const copy = syslogSender(`tcp://127.0.0.1:${port}`)
    opened.push(copy)
    await copy.send(messages(2))
    await copy.send(messages(2))
    await collector.has(4)
    expect(collector.got).toEqual([...texts(2), ...texts(2)])
    expect(collector.sockets).toHaveLength(1)
  })

  it('a collector that is away is an error, and connected to again when it is back', async () => {
    const collector = new Collector()
    const server = createServer(collector.take)
    const port = await listen(server)
    const copy = syslogSender(`tcp://127.0.0.1:${port}`)
    opened.push(copy)
    await copy.send(messages(1))
    await collector.has(1)
    server.close()
    const [first] = collector.sockets
    first!.destroy()
    await once(server, 'close')
    await expect(copy.send(messages(1)).then(() => copy.send(messages(1)))).rejects.toThrow()
    await listen(createServer(collector.take), port)
    await copy.send(messages(1))
    await collector.has(2)
  })
})

describe.runIf(spawnSync('openssl', ['version']).status === 0)('TLS', () => {
  it('goes only to a collector whose certificate is good', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'postern-syslog-'))
    opened.push({ close: () => rmSync(directory, { recursive: true }) })
    const [cert, key] = ['cert', 'key'].map((name) => join(directory, name)) as [string, string]
    const options =
      '-x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=x -addext subjectAltName=IP:127.0.0.1'
    execFileSync('openssl', ['req', ...options.split(' '), '-keyout', key, '-out', cert], { stdio: 'ignore' })
    const certificate = readFileSync(cert, 'utf8')
    const collector = new Collector()
    const port = await listen(createTlsServer({ cert: certificate, key: readFileSync(key) }, collector.take))
    const trusting = syslogSender(`tls://127.0.0.1:${port}`, certificate)
    opened.push(trusting)
    await trusting.send(messages(1))
    await collector.has(1)
    expect(collector.got).toEqual(texts(1))
    await expect(syslogSender(`tls://127.0.0.1:${port}`).send(messages(1))).rejects.toThrow(/self-signed/)
  })
})
