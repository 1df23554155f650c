import { once } from 'node:events'
import { linkSync, mkdtempSync, rmSync, statSync } from 'node:fs'
import { request } from 'node:http'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { AdminServer, isReady, type ReadyCheck } from '../../src/telemetry/admin.ts'

const servers: AdminServer[] = []
afterEach(async () => {
  for (const server of servers.splice(0)) await server.close()
})

const LOOPBACK = { kind: 'tcp', host: '127.0.0.1', port: 0, path: '' } as const
const metrics = { contentType: 'text/plain; version=0.0.4', render: async () => 'postern_ready 1\n' }

async function serve(
  options: Partial<ConstructorParameters<typeof AdminServer>[0]> = {},
): Promise<AdminServer> {
  const server = new AdminServer({ address: LOOPBACK, metrics, checks: [], ...options })
  await server.listen()
  servers.push(server)
  return server
}

async function get(server: AdminServer, path: string, init: RequestInit = {}) {
  const response = await fetch(`http://127.0.0.1:${server.port}${path}`, init)
  return { status: response.status, headers: response.headers, body: await response.text() }
}

describe('OPS-03 the admin listener', () => {
  it('serves the metrics', async () => {
    const answer = await get(await serve(), '/metrics')
    expect(answer).toMatchObject({ status: 200, body: 'postern_ready 1\n' })
    expect(answer.headers.get('content-type')).toBe('text/plain; version=0.0.4')
  })

  it('answers /livez with 200 even when nothing is ready', async () => {
    const server = await serve({ checks: [{ name: 'policy', ok: () => 'No policy is loaded.' }] })
    expect(await get(server, '/livez')).toMatchObject({ status: 200, body: 'ok\n' })
  })

  it.runIf(process.platform === 'linux')('is bound to the given address only', async () => {
    const server = await serve()
    const outside = connect({ host: '127.0.0.2', port: server.port })
    const error = await new Promise<NodeJS.ErrnoException>((resolve) => outside.once('error', resolve))
    expect(error.code).toBe('ECONNREFUSED')
  })

  it('says what it has, and that it has nothing else', async () => {
    const server = await serve()
    expect((await get(server, '/')).body).toContain('/readyz')
    expect(await get(server, '/metrics?x=1')).toMatchObject({ status: 200 })
    for (const path of ['/quit', '/metrics/', '/__proto__', '/..%2f']) {
      expect(await get(server, path)).toMatchObject({ status: 404 })
    }
  })

  it.each([
    ['say nothing', ''],
    ['send half a request', 'GET /livez HTTP/1.1\r\nHost: x\r\n'],
    ['send half a body', 'POST /orders HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{'],
  ])('connections that %s keep neither probes nor orders out', async (_, bytes) => {
    const routes = new Map([['/orders', { maxBytes: 2000, answer: async () => ({ status: 204 }) }]])
    const server = await serve({ routes })
    const idle = Array.from({ length: 100 }, () => connect({ host: '127.0.0.1', port: server.port }))
    for (const socket of idle) socket.on('error', () => {})
    const cut = Promise.all(idle.slice(0, 36).map((socket) => once(socket, 'close')))
    await Promise.all(idle.map((socket) => once(socket, 'connect')))
    for (const socket of idle) socket.write(bytes)
    expect(await get(server, '/livez')).toMatchObject({ status: 200 })
    expect(await get(server, '/orders', { method: 'POST', body: '{}' })).toMatchObject({ status: 204 })
    await cut
    for (const socket of idle) socket.destroy()
  })

  it('whose request is being answered is not one of those', async () => {
    let finish = (): void => {}
    const finished = new Promise<void>((resolve) => (finish = resolve))
    let begun = (): void => {}
    const isBegun = new Promise<void>((resolve) => (begun = resolve))
    const answer = async () => {
      begun()
      await finished
      return { status: 204 }
    }
    const server = await serve({ routes: new Map([['/orders', { maxBytes: 9, answer }]]) })
    const order = get(server, '/orders', { method: 'POST', body: '{}' })
    await isBegun
    const idle = Array.from({ length: 100 }, () => connect({ host: '127.0.0.1', port: server.port }))
    for (const socket of idle) socket.on('error', () => {})
    await Promise.all(idle.map((socket) => once(socket, 'connect')))
    expect(await get(server, '/livez')).toMatchObject({ status: 200 })
    finish()
    expect(await order).toMatchObject({ status: 204 })
    for (const socket of idle) socket.destroy()
  })

  it.each(['POST', 'PUT', 'DELETE', 'OPTIONS'])('refuses %s', async (method) => {
    const answer = await get(await serve(), '/metrics', { method })
    expect(answer.status).toBe(405)
    expect(answer.headers.get('allow')).toBe('GET, HEAD')
  })

  it('answers HEAD without a body', async () => {
    const answer = await get(await serve(), '/livez', { method: 'HEAD' })
    expect(answer).toMatchObject({ status: 200, body: '' })
    expect(answer.headers.get('content-length')).toBe('3')
  })

  it('refuses large headers', async () => {
    const answer = await get(await serve(), '/livez', { headers: { 'x-large': 'x'.repeat(10_000) } })
    expect(answer.status).toBe(431)
  })

  it('answers 500 without details when the metrics cannot be collected', async () => {
    const broken = { ...metrics, render: () => Promise.reject(new Error('marker')) }
    const answer = await get(await serve({ metrics: broken }), '/metrics')
    expect(answer.status).toBe(500)
    expect(answer.body).not.toContain('marker')
  })

  it('says when its address is taken', async () => {
    const taken = (await serve()).port
    const second = new AdminServer({ address: { ...LOOPBACK, port: taken }, metrics, checks: [] })
    await expect(second.listen()).rejects.toMatchObject({
      code: 'ERR_ADMIN_LISTEN',
      message: `The admin listener cannot use 127.0.0.1:${taken}: EADDRINUSE.`,
    })
  })
})

describe('/readyz', () => {
  it('is 200 when every check is good', async () => {
    const server = await serve({ checks: [{ name: 'policy', ok: () => true }] })
    const answer = await get(server, '/readyz')
    expect(answer.status).toBe(200)
    expect(JSON.parse(answer.body)).toEqual({ ready: true, checks: [{ name: 'policy', ok: true }] })
  })

  it('is 503 with a sentence for each check that fails', async () => {
    const checks: ReadyCheck[] = [
      { name: 'policy', ok: () => true },
      { name: 'audit', ok: () => 'The audit log cannot be written: ENOSPC.' },
      {
        name: 'keys',
        ok: () => {
          throw new Error('marker')
        },
      },
    ]
    const answer = await get(await serve({ checks }), '/readyz')
    expect(answer.status).toBe(503)
    expect(answer.headers.get('content-type')).toBe('application/json')
    expect(JSON.parse(answer.body)).toEqual({
      ready: false,
      checks: [
        { name: 'policy', ok: true },
        { name: 'audit', ok: false, message: 'The audit log cannot be written: ENOSPC.' },
        { name: 'keys', ok: false, message: 'The check itself failed.' },
      ],
    })
    expect(isReady(checks)).toBe(false)
    expect(isReady(checks.slice(0, 1))).toBe(true)
  })

  it('asks again each time', async () => {
    let draining = false
    const server = await serve({ checks: [{ name: 'drain', ok: () => (draining ? 'Draining.' : true) }] })
    expect((await get(server, '/readyz')).status).toBe(200)
    draining = true
    expect((await get(server, '/readyz')).status).toBe(503)
  })
})

describe('closing', () => {
  it('waits for no connection that asks nothing, or only half of something', async () => {
    const server = await serve()
    const silent = connect({ host: '127.0.0.1', port: server.port })
    const slow = connect({ host: '127.0.0.1', port: server.port })
    await Promise.all([once(silent, 'connect'), once(slow, 'connect')])
    slow.write('GET /metrics HTTP/1.1\r\n')
    await get(server, '/livez')
    const ended = Promise.all([once(silent, 'close'), once(slow, 'close')])
    await server.close()
    await ended
  })

  it('waits for the answer under way', async () => {
    let finish = (_: string): void => {}
    const text = new Promise<string>((resolve) => {
      finish = resolve
    })
    let asked = (): void => {}
    const reached = new Promise<void>((resolve) => {
      asked = resolve
    })
    const render = () => {
      asked()
      return text
    }
    const server = await serve({ metrics: { ...metrics, render } })
    const answer = get(server, '/metrics')
    await reached
    const closed = server.close()
    finish('late 1\n')
    expect(await answer).toMatchObject({ status: 200, body: 'late 1\n' })
    await closed
  })

  it('waits for no answer that its asker did not wait for', async () => {
    const server = await serve({
      metrics: {
        ...metrics,
        render: async () => {
          asker.resetAndDestroy()
          await once(asker, 'close')
          return 'late 1\n'
        },
      },
    })
    const asker = connect({ host: '127.0.0.1', port: server.port })
    asker.write('GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n')
    await once(asker, 'close')
    await server.close()
  })
})

describe('a Unix socket', () => {
  const directory = mkdtempSync(join(tmpdir(), 'postern-admin-'))
  const path = join(directory, 'admin.sock')
  const address = { kind: 'unix', host: '', port: 0, path } as const
  afterEach(() => rmSync(path, { force: true }))

  const status = () =>
    new Promise<number | undefined>((resolve, reject) => {
      request({ socketPath: path, path: '/livez', agent: false }, (response) => {
        response.resume()
        resolve(response.statusCode)
      })
        .on('error', reject)
        .end()
    })

  it('serves, and is gone after close', async () => {
    const server = await serve({ address })
    expect(await status()).toBe(200)
    await server.close()
    expect(() => statSync(path)).toThrow()
  })

  it('left by a killed process is used again', async () => {
    // A server whose file was linked elsewhere leaves the link behind when it closes.
    const first = createServer()
    await new Promise<void>((resolve) => first.listen(`${path}.first`, resolve))
    linkSync(`${path}.first`, path)
    await new Promise((resolve) => first.close(resolve))
    await serve({ address })
    expect(await status()).toBe(200)
  })

  it('of a living process is not taken away', async () => {
    await serve({ address })
    const second = new AdminServer({ address, metrics, checks: [] })
    await expect(second.listen()).rejects.toMatchObject({ code: 'ERR_ADMIN_LISTEN' })
    expect(await status()).toBe(200)
  })
})
