// What is shipped: the npm package and the image. The image's tree starts as uid 65532 on a read-only file system.
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { mkdir, mkdtemp, readFile, realpath, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'
import mqtt from 'mqtt'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { type Broker, startMosquitto } from '../../src/dev/mosquitto.ts'
import { Workspace } from '../cmd/workspace.ts'
import { connect, publish } from '../support/frames.ts'
import { nodeVersion } from '../support/node-versions.ts'
import { imageTree, installTree, type Packed, packPostern } from '../support/package-tree.ts'
import { RawClient } from '../support/raw-client.ts'
import { TEST_AUDIENCE, TEST_ISSUER, TestIssuer } from '../support/tokens.ts'

const run = promisify(execFile)
const UID = 65532
/** chroot and mounts; in a container without these rights the test says so. */
const isRoot = process.getuid?.() === 0

let directory: string
let packed: Packed
let installed: string
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'postern-package-'))
  packed = await packPostern(join(directory, 'first'))
  installed = join(directory, 'installed')
  await installTree(packed, installed)
})
afterAll(() => rm(directory, { recursive: true, force: true }))

describe('the npm package', () => {
  test('is the same bytes when it is built again', async () => {
    expect((await packPostern(join(directory, 'second'))).integrity).toBe(packed.integrity)
  })

  test('holds the built command and its documents, and nothing of tests or tools', () => {
    expect(packed.files).toEqual(
      expect.arrayContaining([
        'dist/cmd/bin.js',
        'dist/cmd/postern.js',
        'package.json',
        'LICENSE',
        'README.md',
      ]),
    )
    const strange = packed.files.filter(
      (path) => !/^(dist\/(cmd|src)\/|docs\/)|^(package\.json|LICENSE|README\.md)$/.test(path),
    )
    expect(strange).toEqual([])
    expect(packed.files.filter((path) => /mosquitto|fixture|\.test\./.test(path))).toEqual([])
  })

  test('runs with its run-time packages alone', async () => {
    const { stdout } = await run(process.execPath, [join(installed, 'dist/cmd/postern.js'), '--version'])
    expect(stdout.trim()).toBe(JSON.parse(await readFile('package.json', 'utf8')).version)
    const check = run(process.execPath, [
      join(installed, 'dist/cmd/postern.js'),
      'run',
      '--config',
      'none.yaml',
    ])
    await expect(check).rejects.toMatchObject({
      code: 64,
      stderr: expect.stringContaining('cannot read the configuration'),
    })
  })

  test('has a bill of materials: every run-time package with its version and licence', async () => {
    const { stdout } = await run('npm', ['run', '--silent', 'sbom'], { maxBuffer: 2 ** 26 })
    const sbom = JSON.parse(stdout) as {
      bomFormat: string
      components: { name: string; version: string; purl: string }[]
    }
    expect(sbom.bomFormat).toBe('CycloneDX')
    const { dependencies } = JSON.parse(await readFile('package.json', 'utf8')) as { dependencies: object }
    const names = sbom.components.map(({ name }) => name)
    expect(Object.keys(dependencies).filter((name) => !names.includes(name))).toEqual([])
    expect(names).not.toContain('vitest')
  })
})

/** Who installs the package may have another Node.js than we. */
describe('the package on Node.js', () => {
  const { engines, version } = JSON.parse(readFileSync('package.json', 'utf8'))
  const installable = (engines.node as string).replace('>=', '')
  const oldest = /OLDEST = '(.+)'/.exec(readFileSync('cmd/bin.ts', 'utf8'))![1]!
  let command: string
  let broker: Broker
  let workspace: Workspace
  let child: ChildProcess | undefined
  beforeAll(async () => {
    command = join(installed, 'dist/cmd/bin.js')
    broker = await startMosquitto()
    workspace = await Workspace.create({ upstream: { address: `${broker.host}:${broker.port}` } })
  })
  afterAll(async () => {
    child?.kill('SIGKILL')
    await broker?.stop()
    workspace?.remove()
  })

  /** Waits for the line of the log that says where agents connect. */
  async function listening(process: ChildProcess): Promise<number> {
    for await (const line of createInterface({ input: process.stderr! })) {
      const port = /"address":"127\.0\.0\.1:(\d+)","msg":"listening"/.exec(line)?.[1]
      if (port !== undefined) return Number(port)
    }
    throw new Error('ended')
  }

  test.each([oldest])(
    'on Node.js %s it takes an agent, decides, and drains',
    async (name) => {
      const node = await nodeVersion(name)
      if (node === undefined) return
      expect((await run(node, [command, '--version'])).stdout).toBe(`${version}\n`)
      await run(node, [command, 'check', '--quiet', '--config', workspace.config])
      child = spawn(node, [command, 'run', '--config', workspace.config], {
        stdio: ['ignore', 'ignore', 'pipe'],
      })
      const agent = await RawClient.open({ port: await listening(child) })
      agent.send(connect({ clientId: 'scout', password: await workspace.token('scout') }))
      expect(await agent.next('connack')).toMatchObject({ reasonCode: 0 })
      agent.send(publish({ topic: 'agents/scout/card', qos: 1, packetId: 1, retain: true }))
      expect((await agent.next('puback')).reasonCode ?? 0).toBeLessThan(0x80)
      agent.send(publish({ topic: 'agents/other/card', qos: 1, packetId: 2 }))
      expect(await agent.next('puback')).toMatchObject({ reasonCode: 0x87 })
      child.kill('SIGTERM')
      expect(await agent.next('disconnect')).toMatchObject({ reasonCode: 0x8b })
      expect(await once(child, 'exit')).toEqual([0, null])
      await run(node, [command, 'audit', 'verify', workspace.path('audit.jsonl')])
    },
    60_000,
  )

  test.each([installable, '18.20.8'])(
    '%s, which is too old, says so in one line',
    async (name) => {
      const node = await nodeVersion(name)
      if (node === undefined) return
      await expect(run(node, [command, 'run', '--config', 'postern.yaml'])).rejects.toMatchObject({
        code: 64,
        stderr: `postern: needs Node.js ${oldest} or newer; this is ${name} (${await realpath(node)}).\n`,
      })
    },
    60_000,
  )
})

describe.skipIf(!isRoot)('the tree of the image (needs root: chroot and mounts)', () => {
  let tree: string
  let conf: string
  let broker: Broker
  let idp: TestIssuer
  let postern: ChildProcess
  let startMs: number
  const lines: Record<string, unknown>[] = []

  beforeAll(async () => {
    tree = join(directory, 'root')
    conf = join(directory, 'conf')
    await imageTree(installed, tree)
    await mkdir(conf, { mode: 0o755 })
    await run('chmod', ['755', directory, tree, conf])
    broker = await startMosquitto({ users: { postern: 'pw' } })
    idp = await TestIssuer.create(systemClock)
    // Below the ports that Linux gives to outgoing connections; two for each process.
    const port = 20_000 + 2 * (process.pid % 6_000)
    await writeFile(join(conf, 'jwks.json'), JSON.stringify(idp.dev.publicJwks()))
    await writeFile(
      join(conf, 'policy.yaml'),
      'version: 1\nagents: [{ id: a, allow: publish+subscribe, topic: a/# }]\nusers: [{ id: u, allow: publish+subscribe, topic: a/# }]\n',
    )
    await writeFile(
      join(conf, 'postern.yaml'),
      JSON.stringify({
        listeners: [{ address: `127.0.0.1:${port}` }],
        upstream: {
          address: `${broker.host}:${broker.port}`,
          username: 'postern',
          passwordFile: 'broker-password',
        },
        issuers: [{ issuer: TEST_ISSUER, audience: TEST_AUDIENCE, jwks: { file: 'jwks.json' } }],
        policy: { file: 'policy.yaml' },
        audit: { file: '/var/lib/postern/audit.jsonl' },
        admin: { address: `127.0.0.1:${port + 1}` },
      }),
    )
  })
  afterAll(async () => {
    postern?.kill('SIGTERM')
    await broker?.stop()
  })

  /** Node.js of the tree: read-only root, one tmpfs to write to, the configuration read-only, no capability. */
  function inTree(...args: string[]): ChildProcess {
    const script = `
      mount --bind "$1" "$1" && mount -o remount,bind,ro,nosuid,nodev "$1"
      mount -t tmpfs -o size=16m,uid=${UID},gid=${UID},mode=0700,nosuid,nodev tmpfs "$1/var/lib/postern"
      mount --bind "$2" "$1/etc/postern" && mount -o remount,bind,ro "$1/etc/postern"
      tree=$1; shift 2
      exec setpriv --no-new-privs chroot --userspec=${UID}:${UID} --groups= "$tree" /nodejs/bin/node "$@"`
    return spawn(
      'unshare',
      ['--mount', '--propagation', 'private', 'sh', '-ec', script, 'sh', tree, conf, ...args],
      {
        env: {
          PATH: '/usr/sbin:/usr/bin:/sbin:/bin',
          NODE_ENV: 'production',
          NODE_OPTIONS: '--max-semi-space-size=16',
          POSTERN_CONFIG: '/etc/postern/postern.yaml',
        },
        stdio: ['ignore', 'pipe', 'pipe'],
      },
    )
  }

  async function outcome(child: ChildProcess): Promise<{ code: number; output: string }> {
    let output = ''
    child.stdout!.on('data', (part) => (output += part))
    child.stderr!.on('data', (part) => (output += part))
    const [code] = await once(child, 'close')
    return { code: code as number, output }
  }

  const postern_ = (...args: string[]) => outcome(inTree('/app/dist/cmd/postern.js', ...args))

  function said(text: string): Promise<void> {
    return new Promise((resolve, reject) => {
      const look = (): void => {
        if (lines.some((line) => String(line['msg'] ?? line['message']).includes(text))) resolve()
        else postern.once('line', look)
      }
      postern.once('exit', () => reject(new Error(`ended: ${JSON.stringify(lines)}`)))
      look()
    })
  }

  test('without its Secret it waits, says for what, and is not ready; no restart is needed', async () => {
    postern = inTree('/app/dist/cmd/postern.js', 'run', '--wait')
    for (const stream of [postern.stdout!, postern.stderr!]) {
      createInterface({ input: stream }).on('line', (line) => {
        lines.push(line.startsWith('{') ? (JSON.parse(line) as Record<string, unknown>) : { msg: line })
        postern.emit('line')
      })
    }
    await said('Waiting for /etc/postern/broker-password')
    expect(await postern_('health')).toEqual({ code: 0, output: '' })
    const ready = await postern_('health', '--ready')
    expect(ready.code).toBe(1)
    expect(ready.output).toContain('Waiting for /etc/postern/broker-password: not there or not readable')
    await writeFile(join(conf, 'broker-password'), 'pw\n')
    await said('listening')
  })

  test('runs as 65532 without a capability, from a file system that it cannot write', async () => {
    const status = await readFile(`/proc/${postern.pid}/status`, 'utf8')
    expect(status).toMatch(new RegExp(`^Uid:\\s+${UID}\\s+${UID}\\s+${UID}\\s+${UID}$`, 'm'))
    expect(status).toMatch(new RegExp(`^Gid:\\s+${UID}\\s+${UID}\\s+${UID}\\s+${UID}$`, 'm'))
    expect(status).toMatch(/^CapEff:\s+0+$/m)
    expect(status).toMatch(/^CapPrm:\s+0+$/m)
    expect(status).toMatch(/^NoNewPrivs:\s+1$/m)
    for (const path of ['/app/x', '/x', '/etc/postern/x', '/nodejs/bin/x']) {
      const { output } = await outcome(inTree('-e', `fs.writeFileSync(${JSON.stringify(path)}, '')`))
      expect(output).toMatch(/EROFS|EACCES/)
    }
    expect((await outcome(inTree('-e', "fs.writeFileSync('/var/lib/postern/x', '')"))).code).toBe(0)
  })

  test('has no shell and no package manager', async () => {
    for (const name of ['sh', 'bash', 'npm', 'npx', 'apt-get', 'corepack']) {
      const { stdout } = await run('find', [tree, '-name', name, '-not', '-type', 'd'])
      expect(stdout).toBe('')
    }
  })

  test('serves agents, and ends in order', async () => {
    const { listeners } = JSON.parse(await readFile(join(conf, 'postern.yaml'), 'utf8')) as {
      listeners: [{ address: string }]
    }
    const [host, port] = listeners[0].address.split(':')
    const agent = await mqtt.connectAsync({
      host: host!,
      port: Number(port),
      protocolVersion: 5,
      clientId: 'scout',
      password: await idp.mint(),
      username: 'x',
      reconnectPeriod: 0,
    })
    await agent.publishAsync('a/b', 'x', { qos: 1 })
    await expect(agent.publishAsync('b', 'x', { qos: 1 })).rejects.toMatchObject({ code: 0x87 })
    await agent.endAsync()
    const ended = once(postern, 'exit')
    postern.kill('SIGTERM')
    expect((await ended)[0]).toBe(0)
  })

  test('is small; how soon it listens is told', async () => {
    const started = process.hrtime.bigint()
    const child = inTree('/app/dist/cmd/postern.js', 'run')
    const listening = new Promise<void>((resolve) => {
      createInterface({ input: child.stderr! }).on(
        'line',
        (line) => line.includes('"listening"') && resolve(),
      )
    })
    await listening
    startMs = Number((process.hrtime.bigint() - started) / 1_000_000n)
    const rss = /VmRSS:\s+(\d+)/.exec(await readFile(`/proc/${child.pid}/status`, 'utf8'))![1]
    const ended = once(child, 'exit')
    child.kill('SIGTERM')
    await ended
    const size = async (path: string) =>
      Number((await run('du', ['-sk', join(tree, path)])).stdout.split('\t')[0])
    const [app, all] = [await size('app'), await size('.')]
    console.log(
      `image tree: app ${(app / 1024).toFixed(1)} MiB, with Node.js ${(all / 1024).toFixed(1)} MiB; listening after ${startMs} ms; RSS ${(Number(rss) / 1024).toFixed(1)} MiB`,
    )
    expect(app).toBeLessThan(32 * 1024)
  })
})
