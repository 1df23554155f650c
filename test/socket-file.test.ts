import { once } from 'node:events'
import { existsSync, linkSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, it } from 'vitest'
import { startMosquitto } from '../src/dev/mosquitto.ts'
import { removeAbandonedSocket } from '../src/socket-file.ts'
import { startPostern } from './support/postern.ts'

const directory = mkdtempSync(join(tmpdir(), 'postern-sockets-'))
afterAll(() => rmSync(directory, { recursive: true }))

/** A socket as a killed process leaves it: closing removes the name that was bound, not a link to it. */
async function abandoned(path: string): Promise<void> {
  const server = createServer().listen(`${path}.bound`)
  await once(server, 'listening')
  linkSync(`${path}.bound`, path)
  server.close()
  await once(server, 'close')
}

it('a socket that nobody listens on is removed', async () => {
  const path = join(directory, 'abandoned')
  await abandoned(path)
  await removeAbandonedSocket(path)
  expect(existsSync(path)).toBe(false)
})

it('a socket in use stays', async () => {
  const path = join(directory, 'used')
  const server = createServer().listen(path)
  await once(server, 'listening')
  await removeAbandonedSocket(path)
  expect(existsSync(path)).toBe(true)
  server.close()
})

it('what is no socket stays', async () => {
  const path = join(directory, 'file')
  writeFileSync(path, 'precious')
  symlinkSync(path, `${path}.link`)
  await removeAbandonedSocket(path)
  await removeAbandonedSocket(`${path}.link`)
  expect([existsSync(path), existsSync(`${path}.link`)]).toEqual([true, true])
})

it('nothing at all is fine', () => removeAbandonedSocket(join(directory, 'nothing')))

it('agents’ listener takes the place of one that was killed', async () => {
  const path = join(directory, 'agents')
  await abandoned(path)
  const broker = await startMosquitto()
  const config = { listeners: [{ name: 'agents', address: `unix:${path}` }] }
  const postern = await startPostern({ broker, policy: 'version: 1\nagents: []\n', config })
  expect(postern.app.listeners[0]!.address).toBe(`unix:${path}`)
  await postern.stop()
  await broker.stop()
})
