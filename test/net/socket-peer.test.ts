import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { Reading, SocketPeer } from '../../src/net/socket-peer.ts'
import type { PeerEvents } from '../../src/session/ports.ts'

let server: Server
let near: Socket
let far: Socket
let reading: Reading

beforeEach(async () => {
  server = createServer({ allowHalfOpen: true }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  reading = new Reading()
  const { port } = server.address() as AddressInfo
  near = connect({ port, allowHalfOpen: true, onread: reading.options })
  const [accepted] = (await once(server, 'connection')) as [Socket]
  far = accepted
})
afterEach(() => {
  near.destroy()
  far.destroy()
  server.close()
})

/** Events that are told to `tell`, by name; those in `broken` throw. */
function events(tell: (name: string) => void, broken: readonly string[] = []): PeerEvents {
  const on = (name: string) => () => {
    tell(name)
    if (broken.includes(name)) throw new Error(`a mistake in ${name}`)
  }
  return {
    onBytes: on('bytes'),
    onDrain: on('drain'),
    onFin: on('fin'),
    onClose: on('close'),
    onPanic: (error) => tell((error as Error).message),
  }
}

/** Resolves with everything told, once `last` was. */
function toldUntil(last: string, broken: readonly string[] = []): Promise<string[]> {
  return new Promise((resolve) => {
    const told: string[] = []
    const peer = new SocketPeer(near, { reading })
    peer.attach(
      events((name) => {
        told.push(name)
        if (name === last) resolve(told)
      }, broken),
    )
  })
}

test('an exception while an event is dealt with is told, and is no exception of the process', async () => {
  const told = toldUntil('a mistake in bytes', ['bytes'])
  far.write('x')
  expect(await told).toEqual(['bytes', 'a mistake in bytes'])
})

test('FIN and close are two events', async () => {
  const told = toldUntil('close')
  far.end()
  await once(near, 'end')
  near.end()
  expect(await told).toEqual(['fin', 'close'])
})

test('a reset is a close', async () => {
  const told = toldUntil('close')
  far.resetAndDestroy()
  expect(await told).toEqual(['close'])
})

test('a reset before anybody is attached is no exception of the process', async () => {
  new SocketPeer(near, { reading })
  near.resume()
  far.resetAndDestroy()
  await new Promise<void>((resolve) => near.once('close', () => resolve()))
  expect(near.destroyed).toBe(true)
})

test('after `end` nothing more is written, what was queued arrives, and what still comes in is thrown away', async () => {
  const peer = new SocketPeer(near, { reading })
  peer.write(Buffer.from('queued'))
  peer.end()
  peer.write(Buffer.from('late'))
  far.write(Buffer.alloc(1_000_000))
  const chunks: Buffer[] = []
  far.on('data', (chunk) => chunks.push(chunk))
  await once(far, 'end')
  expect(Buffer.concat(chunks).toString()).toBe('queued')
  expect(near.readableLength).toBeLessThan(200_000)
})

test('`finish` goes on reading', async () => {
  const told = toldUntil('bytes')
  new SocketPeer(near, { reading }).finish()
  await once(far, 'end').catch(() => {})
  far.write('answer')
  expect(await told).toEqual(['bytes'])
})

test('a socket that was accepted is read and written by the peer that adopts it', async () => {
  const accepting = createServer({ allowHalfOpen: true, pauseOnConnect: true }).listen(0, '127.0.0.1')
  await once(accepting, 'listening')
  const client = connect({ port: (accepting.address() as AddressInfo).port })
  const [accepted] = (await once(accepting, 'connection')) as [Socket]
  const peer = SocketPeer.adopt(accepted)
  const got: Buffer[] = []
  const closed = new Promise<void>((resolve) => {
    const told = events((name) => name === 'close' && resolve())
    peer.attach({ ...told, onBytes: (chunk) => peer.write(chunk), onFin: () => peer.finish() })
  })
  client.on('data', (chunk) => got.push(chunk))
  const sent = Buffer.alloc(1_000_000, 'abc')
  client.end(sent)
  await once(client, 'end')
  expect(Buffer.concat(got).equals(sent)).toBe(true)
  await closed
  accepting.close()
})
