// For those without Kubernetes, and what the chart shares with them: compose file, systemd unit, the broker's own
// configuration, and tokens of a cluster.

import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { parse, stringify } from 'yaml'
import { loadConfig } from '../../src/config/load.ts'
import { findExecutable } from '../../src/dev/debian-package.ts'
import { startMosquitto } from '../../src/dev/mosquitto.ts'
import { connect as connectPacket } from '../support/frames.ts'
import { policyOf } from '../support/permission.ts'
import { startPostern } from '../support/postern.ts'
import { RawClient } from '../support/raw-client.ts'

describe('the compose file', () => {
  const file = 'deploy/compose/compose.yaml'
  const { services, volumes, networks } = parse(readFileSync(file, 'utf8')) as {
    services: Record<
      string,
      {
        volumes?: string[]
        networks?: string[]
        ports?: string[]
        network_mode?: string
        [key: string]: unknown
      }
    >
    volumes: object
    networks: Record<string, { internal?: boolean }>
  }

  test('names only files, volumes and networks that there are', () => {
    for (const [name, service] of Object.entries(services)) {
      for (const mount of service.volumes ?? []) {
        const source = mount.split(':')[0]!
        // The secrets are the operator's.
        if (source.startsWith('./secrets/')) continue
        const known = source.startsWith('.') ? existsSync(join(dirname(file), source)) : source in volumes
        expect(known, `${name}: ${mount}`).toBe(true)
      }
      for (const network of service.networks ?? []) expect(networks).toHaveProperty(network)
    }
  })

  test('leaves no way to the broker but the socket, and nothing open beyond this host', () => {
    expect(services['mosquitto']).toMatchObject({ network_mode: 'none', read_only: true, cap_drop: ['ALL'] })
    expect(services['mosquitto']!.ports).toBeUndefined()
    expect(services['postern']).toMatchObject({ user: '65532:65532', read_only: true, cap_drop: ['ALL'] })
    expect(networks['monitoring']!.internal).toBe(true)
    const ports = Object.values(services).flatMap((service) => service.ports ?? [])
    expect(ports.filter((port) => !port.startsWith('127.0.0.1:'))).toEqual([])
  })

  test('has a configuration that lacks nothing but issuer and audience', () => {
    const text = readFileSync('deploy/compose/postern.yaml', 'utf8')
    const loaded = loadConfig(text, '/etc/postern/postern.yaml', {}, () => 'x')
    expect('problems' in loaded && loaded.problems.map(({ path }) => path)).toEqual(['issuers'])
    policyOf(readFileSync('deploy/compose/policy.yaml', 'utf8'))
  })
})

describe('the compose file for TLS', () => {
  const tags = [{ tag: '!override', collection: 'seq' as const }]
  const { services } = parse(readFileSync('deploy/compose/compose.tls.yaml', 'utf8'), {
    customTags: tags,
  }) as {
    services: { postern: { environment: Record<string, string>; ports: string[]; volumes: string[] } }
  }
  const { environment, ports, volumes } = services.postern

  test('makes a configuration of what compose.yaml has: TLS in place of the plain port, and revocation', () => {
    const base = parse(readFileSync('deploy/compose/postern.yaml', 'utf8')) as object
    const issuers = [{ issuer: 'https://id.test', audience: 'a', jwks: { url: 'https://id.test/jwks' } }]
    const text = stringify({ ...base, issuers })
    const loaded = loadConfig(text, '/etc/postern/postern.yaml', environment, () => 'x')
    if ('problems' in loaded) throw new Error(JSON.stringify(loaded.problems))
    const { listeners, revocation } = loaded.config
    expect(listeners).toHaveLength(1)
    expect(listeners[0]).toMatchObject({ address: { port: 8883 }, tls: { clientCertificates: 'none' } })
    const targets = volumes.map((mount) => mount.split(':')[1])
    const { certFile, keyFile } = listeners[0]!.tls!
    for (const file of [certFile, keyFile, revocation!.secretFile]) expect(targets).toContain(file)
    expect(revocation!.file.startsWith('/var/lib/postern/')).toBe(true)
    expect(ports).toEqual(['0.0.0.0:8883:8883'])
  })
})

test('the systemd unit is one, where systemd can say so', async (context) => {
  const analyze = await findExecutable('systemd-analyze')
  const unit = readFileSync('deploy/systemd/postern.service', 'utf8')
  expect(unit).toMatch(/^ExecStart=\/usr\/bin\/env postern run --config /m)
  expect(Number(/^TimeoutStopSec=(\d+)$/m.exec(unit)![1])).toBeGreaterThan(10)
  if (analyze === undefined) context.skip('systemd-analyze is not here')
  const { stderr } = await promisify(execFile)(analyze!, ['verify', 'deploy/systemd/postern.service']).catch(
    (error) => error,
  )
  expect(stderr.split('\n').filter((line: string) => line.includes('postern.service:'))).toEqual([])
})

describe('Mosquitto with the configuration of the chart and the compose file', () => {
  let directory: string
  let child: ReturnType<typeof spawn>
  const log: string[] = []
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'postern-broker-'))
    await chmod(directory, 0o755)
    await writeFile(join(directory, 'passwd'), 'postern:secret\n', { mode: 0o600 })
    await promisify(execFile)((await findExecutable('mosquitto_passwd'))!, ['-U', join(directory, 'passwd')])
    const conf = (await readFile('deploy/helm/postern/files/mosquitto.conf', 'utf8'))
      .replace('/run/mosquitto/', `${directory}/`)
      .replace('/etc/postern-passwords/', `${directory}/`)
      .replace('/mosquitto/data/', `${directory}/`)
    await writeFile(
      join(directory, 'mosquitto.conf'),
      `${process.getuid?.() === 0 ? 'user root\n' : ''}${conf}`,
    )
    child = spawn((await findExecutable('mosquitto'))!, ['-c', join(directory, 'mosquitto.conf')], {
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    await new Promise<void>((resolve, reject) => {
      createInterface({ input: child.stderr! }).on('line', (line) => {
        log.push(line)
        if (line.includes('running')) resolve()
      })
      child.once('exit', () => reject(new Error(log.join('\n'))))
    })
  })
  afterAll(async () => {
    const ended = once(child, 'exit')
    child.kill('SIGTERM')
    await ended
    await rm(directory, { recursive: true, force: true })
  })

  test('listens on its Unix socket and nowhere else', () => {
    const opened = log.filter((line) => /Opening .* listen socket/.test(line))
    expect(opened).toHaveLength(1)
    expect(opened[0]).toContain('Opening unix listen socket')
  })

  test.each([
    ['without a password', {}, 0x87],
    ['with a wrong one', { userName: 'postern', password: 'guess' }, 0x87],
    ['with Postern’s', { userName: 'postern', password: 'secret' }, 0x00],
  ])('answers a client %s', async (_, credential, code) => {
    const socket = connect({ path: join(directory, 'postern.sock') })
    socket.write(connectPacket({ clientId: 'x', ...credential }))
    const [answer] = (await once(socket, 'data')) as [Buffer]
    socket.destroy()
    expect([answer[0], answer[3]]).toEqual([0x20, code])
  })
})

test('a service account token of Kubernetes is an agent, with the issuer of docs/operations.md', async () => {
  const manual = readFileSync('docs/operations.md', 'utf8')
  const [, example] = /```yaml\nissuers:\n([\s\S]*?)```/.exec(manual)!
  const [issuer] = parse(`issuers:\n${example}`).issuers
  expect(issuer).toMatchObject({ mapping: 'kubernetes', owners: { scout: 'alice@example.com' } })
  const broker = await startMosquitto()
  const postern = await startPostern({
    broker,
    policy: 'version: 1\nagents: [{ id: a, allow: publish+subscribe, topic: "agents/{agent_id}/#" }]\n',
    issuer: { ...issuer, issuer: 'https://idp.test', jwks: { file: 'jwks.json' }, algorithms: ['ES256'] },
  })
  const claims = { act: undefined, client_id: undefined, agent_id: undefined }
  const bound = (name: string) => ({
    namespace: 'mqtt',
    pod: { name: `${name}-0`, uid: 'p' },
    serviceaccount: { name, uid: 'u' },
  })
  const token = (name: string) =>
    postern.issuer.mint(
      { ...claims, sub: `system:serviceaccount:mqtt:${name}`, 'kubernetes.io': bound(name) },
      { lifetimeMs: 600_000, header: { typ: undefined } },
    )
  for (const [name, code] of [
    ['scout', 0],
    ['stranger', 0x87],
  ] as const) {
    const client = await RawClient.open({ port: postern.port, name })
    client.send(connectPacket({ clientId: name, password: await token(name) }))
    expect((await client.next('connack')).reasonCode).toBe(code)
    client.destroy()
  }
  await postern.stop()
  await broker.stop()
})
