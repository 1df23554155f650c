// `postern revoke` as an operator meets it. Ids: identity-standards.md 13.7 (REV).
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Broker, startMosquitto } from '../../src/dev/mosquitto.ts'
import { connect } from '../support/frames.ts'
import { RawClient } from '../support/raw-client.ts'
import { postern, RunningPostern } from './child.ts'
import { Workspace } from './workspace.ts'

let broker: Broker
let workspace: Workspace
let running: RunningPostern
let port: number
let url: string

beforeAll(async () => {
  broker = await startMosquitto()
  workspace = await Workspace.create({
    upstream: { address: `${broker.host}:${broker.port}` },
    revocation: { file: 'revocations.jsonl', secretFile: 'secret' },
  })
  workspace.write('secret', 'a-secret-of-the-operator\n')
  running = new RunningPostern(['--config', workspace.config])
  url = (await running.next({ msg: 'admin endpoints' }))['address'] as string
  port = Number(
    String((await running.next({ msg: 'listening' }))['address'])
      .split(':')
      .at(-1),
  )
})
afterAll(async () => {
  await running?.kill()
  await broker?.stop()
  workspace?.remove()
})

const revoke = (...args: string[]) => postern(['revoke', '-c', workspace.config, '--url', url, ...args])

describe('postern revoke', () => {
  it('REV-01 has cut whom it names when it returns', async () => {
    const token = await workspace.token('scout', 'alice')
    const client = await RawClient.open({ port })
    client.send(connect({ password: token }))
    expect(await client.next('connack')).toMatchObject({ reasonCode: 0 })
    expect(await revoke('human', workspace.issuer.issuer, 'alice')).toEqual({
      status: 0,
      stdout: 'revoked\n',
      stderr: '',
    })
    expect(await client.next('disconnect')).toMatchObject({ reasonCode: 0x98 })
  })

  it.each([
    [['pair', 'ISS', 'alice', 'https://agents.test', 'scout'], 'revoked'],
    [['token', 'ISS', 'j1'], 'revoked'],
    [['client', 'ISS', 'c1'], 'revoked'],
    [['key', 'ISS', 'k1'], 'revoked'],
    [['thumbprint', 'x'], 'revoked'],
    [['--disable', 'tenant', 'org'], 'disabled'],
    [['--enable', 'tenant', 'org'], 'enabled'],
    [['agent', 'https://agents.test', 'scout'], 'revoked'],
  ])('REV-02 %j', async (args, said) => {
    const ended = await revoke(...args.map((arg) => (arg === 'ISS' ? workspace.issuer.issuer : arg)))
    expect(ended).toMatchObject({ status: 0, stdout: `${said}\n` })
  })

  it.each(['ftp://x', '127.0.0.1:9464', 'file:///etc'])('--url %s is wrong usage', async (wrong) => {
    const ended = await postern(['revoke', '-c', workspace.config, '--url', wrong, 'tenant', 'x'])
    expect(ended).toMatchObject({ status: 64, stderr: expect.stringContaining('--url: write where') })
  })

  it.each(['http://operator:s3cret@127.0.0.1:9464', 'http://s3cret@127.0.0.1:9464', 'ftp://u:s3cret@h'])(
    'REV-02 --url %s is wrong usage, and is not printed',
    async (wrong) => {
      const ended = await postern(['revoke', '-c', workspace.config, '--url', wrong, 'tenant', 'x'])
      expect(ended).toMatchObject({
        status: 64,
        stderr: expect.stringContaining('--url: write no user name'),
      })
      expect(ended.stdout + ended.stderr).not.toContain('s3cret')
    },
  )

  it('says what is wrong', async () => {
    expect(await revoke('token', 'https://other.test', 'j')).toMatchObject({
      status: 1,
      stderr: 'postern: HTTP 404: The issuer is not configured.\n',
    })
    expect((await revoke('--disable', '--enable', 'tenant', 'x')).status).toBe(64)
    const nobody = await postern([
      'revoke',
      '-c',
      workspace.config,
      '--url',
      'http://127.0.0.1:1',
      'tenant',
      'x',
    ])
    expect(nobody).toMatchObject({ status: 1 })
    expect(nobody.stderr).toContain('cannot be reached')
  })
})
