// /readyz from outside: why agents cannot be served, and that they can again.
import { once } from 'node:events'
import { type AddressInfo, createServer, type Server } from 'node:net'
import { afterEach, expect, it } from 'vitest'
import { startPostern, type TestPostern } from '../support/postern.ts'
import { JwksServer, TestIssuer } from '../support/tokens.ts'
import { TravelClock } from '../support/travel-clock.ts'

/** The broker is tried this often. */
const PROBE_MS = 5_000

let broker: Server
let postern: TestPostern
afterEach(async () => {
  await postern?.stop()
  broker.close()
})

async function listen(port = 0): Promise<{ host: string; port: number }> {
  broker = createServer((socket) => socket.resume()).listen(port, '127.0.0.1')
  await once(broker, 'listening')
  return { host: '127.0.0.1', port: (broker.address() as AddressInfo).port }
}

interface Readiness {
  ready: boolean
  checks: { name: string; ok: boolean; message?: string }[]
}

/** Asks until the check has this result; the answer. */
async function until(name: string, ok: boolean): Promise<{ status: number; message: string | undefined }> {
  for (;;) {
    const response = await fetch(`${postern.app.adminUrl}/readyz`)
    const { checks } = (await response.json()) as Readiness
    const check = checks.find((candidate) => candidate.name === name)
    if (check?.ok === ok) return { status: response.status, message: check.message }
  }
}

it('while the broker cannot be reached', async () => {
  const address = await listen()
  postern = await startPostern({ broker: address, policy: '' })
  expect(await until('upstream', true)).toMatchObject({ status: 200 })
  broker.close()
  postern.clock.advance(PROBE_MS)
  expect(await until('upstream', false)).toEqual({
    status: 503,
    message: `The broker cannot be reached: connect ECONNREFUSED 127.0.0.1:${address.port}.`,
  })
  expect(await postern.metric('postern_ready')).toBe(0)
  await listen(address.port)
  postern.clock.advance(PROBE_MS)
  expect(await until('upstream', true)).toMatchObject({ status: 200 })
  expect(await postern.metric('postern_ready')).toBe(1)
  expect(postern.log.map(({ message }) => message).filter((text) => text.includes('broker'))).toEqual([
    'the broker can be reached',
    `The broker cannot be reached: connect ECONNREFUSED 127.0.0.1:${address.port}.`,
    'the broker can be reached',
  ])
})

it('while an issuer has no keys', async () => {
  const clock = new TravelClock()
  const idp = await TestIssuer.create(clock)
  const keys = await new JwksServer([idp.publicKey]).listen()
  keys.behaviour = 'error'
  postern = await startPostern({
    broker: await listen(),
    policy: '',
    idp,
    clock,
    issuer: { jwks: { url: keys.url } },
  })
  expect(await until('keys', false)).toEqual({ status: 503, message: 'No usable keys for https://idp.test.' })
  keys.behaviour = 'ok'
  clock.advance(60_000)
  await until('keys', true)
  expect(await until('upstream', true)).toMatchObject({ status: 200 })
  await keys.close()
})

it('while it drains', async () => {
  postern = await startPostern({ broker: await listen(), policy: '' })
  await until('upstream', true)
  const stopped = postern.app.stop()
  expect(postern.app.ready).toBe(false)
  await stopped
})
