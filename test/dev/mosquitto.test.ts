import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { connect, type NetConnectOpts } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import mqtt from 'mqtt'
import { describe, expect, it } from 'vitest'
import { startMosquitto } from '../../src/dev/mosquitto.ts'

describe('the development broker', () => {
  it('accepts connections once started and leaves nothing behind', async () => {
    const broker = await startMosquitto({ unixSocket: true })
    for (const target of [{ host: broker.host, port: broker.port }, { path: broker.path! }]) {
      const socket = connect(target as NetConnectOpts)
      await once(socket, 'connect')
      socket.destroy()
    }
    await Promise.all([broker.stop(), broker.stop()])
    expect(await broker.exited).toBe(0)
    expect(existsSync(join(broker.path!, '..'))).toBe(false)
  })

  it('ends even when it has just begun', async () => {
    for (let i = 0; i < 8; i++) {
      const broker = await startMosquitto()
      await broker.stop()
      expect(await broker.exited).toBe(0)
    }
  })

  it('asks for a user name and password when it has users', async () => {
    const broker = await startMosquitto({ users: { postern: 'secret one' } })
    const url = `mqtt://${broker.host}:${broker.port}`
    const options = { protocolVersion: 5, reconnectPeriod: 0 } as const
    await expect(mqtt.connectAsync(url, options)).rejects.toMatchObject({ code: 135 })
    const client = await mqtt.connectAsync(url, { ...options, username: 'postern', password: 'secret one' })
    await client.endAsync()
    await broker.stop()
  })

  it('keeps retained messages over a restart on the same port', async () => {
    const persistence = await mkdtemp(join(tmpdir(), 'postern-test-'))
    const first = await startMosquitto({ persistence })
    const url = `mqtt://${first.host}:${first.port}`
    const writer = await mqtt.connectAsync(url, { protocolVersion: 5 })
    await writer.publishAsync('kept', 'value', { retain: true, qos: 1 })
    await writer.endAsync()
    await first.stop()
    const second = await startMosquitto({ persistence, port: first.port })
    const reader = await mqtt.connectAsync(url, { protocolVersion: 5 })
    const message = new Promise((resolve) =>
      reader.once('message', (_topic, payload) => resolve(String(payload))),
    )
    await reader.subscribeAsync('kept')
    expect(await message).toBe('value')
    await reader.endAsync()
    await second.stop()
    await rm(persistence, { recursive: true })
  })

  it('says with the words of the broker why it did not start', async () => {
    await expect(startMosquitto({ conf: ['no_such_key 1'] })).rejects.toMatchObject({
      code: 'ERR_BROKER_START',
      message: expect.stringContaining('no_such_key'),
    })
  })

  it('can be waited on by its log', async () => {
    const broker = await startMosquitto()
    const line = broker.logged(/New connection from/)
    const never = broker.logged(/no such line/)
    const socket = connect(broker.port, broker.host)
    expect(await line).toContain('New connection')
    socket.destroy()
    const refused = expect(never).rejects.toThrow('ended before')
    await broker.stop()
    await refused
  })
})
