// What a listener makes of TLS by itself: certificates that change, and connections that are resumed.
import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { connect as connectTcp } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect } from 'node:tls'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import type { ListenerConfig } from '../../src/config/config.ts'
import { Listener } from '../../src/net/listener.ts'
import type { SessionRegistry } from '../../src/session/registry.ts'
import { FakeClock } from '../support/fake-clock.ts'

const directory = mkdtempSync(join(tmpdir(), 'postern-listener-'))
const path = (name: string): string => join(directory, name)
let listener: Listener
/** Connections that the listener has let in. */
let admitted = 0
/** Places that TLS handshakes hold. */
let held = 0

beforeAll(() => {
  for (const name of ['server', 'agent', 'other']) {
    const what = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-subj', `/CN=${name}`]
    const out = ['-keyout', path(`${name}.key`), '-out', path(`${name}.crt`)]
    execFileSync('openssl', ['req', '-x509', ...what, ...out], { stdio: 'ignore' })
  }
})
afterEach(() => listener.close())
afterAll(() => rmSync(directory, { recursive: true }))

async function listening(ticketKeys: Buffer | undefined): Promise<void> {
  const config: Partial<ListenerConfig> = {
    name: 'agents',
    address: { kind: 'tcp', host: '127.0.0.1', port: 0, path: '' },
    proxyProtocolFrom: [],
    tls: {
      certFile: path('server.crt'),
      keyFile: path('server.key'),
      clientCaFile: path('ca.crt'),
      clientCertificates: 'verify',
      minVersion: 'TLSv1.2',
    },
  }
  const registry = {
    reserve: () => {
      held += 1
      return () => {
        held -= 1
      }
    },
    open: (peer: { write(bytes: Buffer): void }) => {
      admitted += 1
      peer.write(Buffer.from('in'))
    },
  }
  listener = new Listener(config as ListenerConfig, registry as unknown as SessionRegistry, {
    clock: new FakeClock(),
    headerTimeoutMs: 1000,
    readFile: (file) => readFile(file),
    onError: () => {},
    ticketKeys,
  })
  await listener.open()
  await listener.listen()
}

const trust = (name: string): void => {
  execFileSync('cp', [path(`${name}.crt`), path('ca.crt')])
}

/** Connects as `agent`; whether it got in, and what it may resume with. */
async function enters(
  maxVersion: 'TLSv1.2' | 'TLSv1.3',
  session?: Buffer,
): Promise<{ isIn: boolean; isResumed: boolean; session: Buffer | undefined }> {
  const port = Number(listener.address.split(':').at(-1))
  const [cert, key] = [readFileSync(path('agent.crt')), readFileSync(path('agent.key'))]
  const socket = connect({
    host: '127.0.0.1',
    port,
    cert,
    key,
    maxVersion,
    rejectUnauthorized: false,
    ...(session && { session }),
  })
  let latest: Buffer | undefined
  socket.on('session', (fresh) => (latest = fresh))
  const isIn = await new Promise<boolean>((resolve) => {
    socket.once('data', () => resolve(true))
    socket.once('error', () => resolve(false))
    socket.once('close', () => resolve(false))
  })
  if (isIn && session === undefined && latest === undefined) await once(socket, 'session')
  const isResumed = isIn && socket.isSessionReused()
  socket.destroy()
  return { isIn, isResumed, session: latest }
}

test.each([
  ['TLSv1.3', 'keys of its own', undefined],
  ['TLSv1.3', 'keys that processes share', randomBytes(48)],
  ['TLSv1.2', 'keys of its own', undefined],
  ['TLSv1.2', 'keys that processes share', randomBytes(48)],
] as const)(
  '%s, tickets with %s: whom a former authority verified does not come back by resuming',
  async (version, _, keys) => {
    trust('agent')
    await listening(keys)
    const first = await enters(version)
    expect(first).toMatchObject({ isIn: true, isResumed: false })
    const again = await enters(version, first.session)
    expect(again).toMatchObject({ isIn: true, isResumed: true })
    trust('other')
    await listener.reloadTls()
    admitted = 0
    expect((await enters(version, first.session)).isIn).toBe(false)
    expect(admitted).toBe(0)
    trust('agent')
    await listener.reloadTls()
    // The same files: with shared keys the ticket is good again, whichever process gave it.
    expect(await enters(version, first.session)).toMatchObject({ isIn: true, isResumed: keys !== undefined })
  },
)

test.each(['says nothing', 'has said that it will say nothing'])(
  'who %s instead of a TLS handshake is closed after a time, and its place is free',
  async (how) => {
    trust('agent')
    await listening(undefined)
    held = 0
    const port = Number(listener.address.split(':').at(-1))
    const socket = connectTcp({ port, host: '127.0.0.1', allowHalfOpen: true })
    await once(socket, 'connect')
    if (how !== 'says nothing') socket.end()
    await expect.poll(() => held).toBe(1)
    socket.resume()
    await once(socket, 'end')
    await expect.poll(() => held).toBe(0)
    socket.destroy()
  },
)
