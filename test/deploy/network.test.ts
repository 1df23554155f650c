// The network of the chart's agent-sidecar, played with namespaces: a pod with an agent and Postern, a broker, an
// attacker. The NetworkPolicies and the capture are those that the chart renders. Agents are stock clients.
import { once } from 'node:events'
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { parse, stringify } from 'yaml'
import { systemClock } from '../../src/clock.ts'
import { findExecutable } from '../../src/dev/debian-package.ts'
import { kubernetesTools } from '../support/kubernetes-tools.ts'
import { type Manifest, readManifests } from '../support/manifest.ts'
import { type Host, type Network, openNetwork } from '../support/net-hosts.ts'
import { asNftables } from '../support/network-policy.ts'
import { TEST_AUDIENCE, TEST_ISSUER, TestIssuer } from '../support/tokens.ts'

const POSTERN = 65532
const AGENT = 10001
const POLICY = `version: 1
agents: [{ id: own, allow: publish+subscribe, topic: "agents/{agent_id}/#" }]
users: [{ id: any, allow: publish+subscribe, topic: "agents/#" }]
`
const isPossible =
  process.getuid?.() === 0 &&
  (await Promise.all(['ip', 'nft', 'setpriv', 'perl', 'mosquitto_pub'].map(findExecutable))).every(
    (path) => path !== undefined,
  )
if (!isPossible)
  console.log(
    'network.test.ts is skipped: it needs root, iproute2, nftables, util-linux, perl and mosquitto-clients.',
  )

async function rendered(directory: string): Promise<Manifest[]> {
  const values = {
    shape: 'agent-sidecar',
    agent: { image: 'agent:1', runAsUser: AGENT },
    capture: { enabled: true, image: 'nft:1' },
    broker: { address: 'broker:1883', credentialSecret: 'secret' },
    keys: { existingConfigMap: 'keys' },
    policy: { text: POLICY },
    config: {
      audience: TEST_AUDIENCE,
      issuers: [{ issuer: TEST_ISSUER, jwks: { file: '/etc/postern/keys/jwks.json' } }],
    },
    networkPolicy: { broker: { matchLabels: { app: 'broker' } } },
  }
  await writeFile(join(directory, 'values.yaml'), stringify(values))
  const { helm } = await kubernetesTools()
  return readManifests(
    await helm('template', 'rel', 'deploy/helm/postern', '-f', join(directory, 'values.yaml')),
  )
}

describe.skipIf(!isPossible)('agent, pod and attacker', () => {
  let directory: string
  let network: Network
  let pod: Host
  let broker: Host
  let attacker: Host
  let idp: TestIssuer
  let policies: string
  const received: string[] = []
  const brokerLog: string[] = []

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'postern-network-'))
    await chmod(directory, 0o755)
    const manifests = await rendered(directory)
    network = await openNetwork(['pod', 'broker', 'attacker'])
    const host = (name: string): Host => network.hosts.get(name)!
    ;[pod, broker, attacker] = [host('pod'), host('broker'), host('attacker')]
    policies = asNftables(
      manifests.filter(({ kind }) => kind === 'NetworkPolicy'),
      [
        {
          address: pod.address,
          labels: manifests.find(({ kind }) => kind === 'Deployment')!['spec'].template.metadata.labels,
        },
        { address: broker.address, labels: { app: 'broker' } },
        { address: attacker.address, labels: { app: 'somebody' } },
      ],
    )
    await network.nft(policies)
    const { data } = manifests.find(({ data }) => data?.['postern.yaml'] !== undefined)!
    await network.nft(data['capture.nft'], 'pod')
    await startBroker()
    await startPosternIn(data['postern.yaml'])
  })
  afterAll(async () => {
    await network?.close()
    await rm(directory, { recursive: true, force: true })
  })

  /** Mosquitto with the one password, a second port that a policy must close, and a subscriber that sees everything. */
  async function startBroker(): Promise<void> {
    const passwords = join(directory, 'passwd')
    await writeFile(passwords, 'postern:secret\n')
    await broker.exec({}, 'mosquitto_passwd', '-U', passwords)
    const conf = [
      'user root',
      'log_dest stderr',
      `listener 1883 ${broker.address}`,
      `listener 9001 ${broker.address}`,
    ]
    await writeFile(
      join(directory, 'mosquitto.conf'),
      [...conf, 'allow_anonymous false', `password_file ${passwords}`, ''].join('\n'),
    )
    const mosquitto = broker.start({}, 'mosquitto', '-c', join(directory, 'mosquitto.conf'))
    await lineOf(mosquitto.stderr!, /running/, brokerLog)
    const target = ['-V', '5', '-h', broker.address, '-u', 'postern', '-P', 'secret']
    // A retained message tells that the subscription is there.
    await broker.exec({}, 'mosquitto_pub', ...target, '-r', '-t', 'agents/scout/retained', '-m', 'here')
    const observer = broker.start({}, 'stdbuf', '-oL', 'mosquitto_sub', ...target, '-t', '#', '-v')
    createInterface({ input: observer.stdout! }).on('line', (line) => received.push(line))
    await arrived('agents/scout/retained here')
  }

  async function startPosternIn(text: string): Promise<void> {
    idp = await TestIssuer.create(systemClock)
    const own = await mkdtemp(join(directory, 'postern-'))
    await chmod(own, 0o777)
    const config = parse(text)
    config.issuers[0].jwks.file = join(own, 'jwks.json')
    config.upstream.address = `${broker.address}:1883`
    config.upstream.passwordFile = join(own, 'password')
    config.policy.file = join(own, 'policy.yaml')
    config.audit.file = join(own, 'audit.jsonl')
    for (const [name, content] of [
      ['jwks.json', JSON.stringify(idp.dev.publicJwks())],
      ['password', 'secret\n'],
      ['policy.yaml', POLICY],
      ['postern.yaml', stringify(config)],
    ] as const)
      await writeFile(join(own, name), content)
    // The checkout may be readable for us alone, so Postern here may read everything; it may do nothing else.
    const postern = pod.start(
      { uid: POSTERN, capabilities: 'dac_read_search', env: { PATH: process.env['PATH'] } },
      ...[
        process.execPath,
        resolve('cmd/postern.ts'),
        'run',
        '--wait',
        '--config',
        join(own, 'postern.yaml'),
      ],
    )
    await lineOf(postern.stderr!, /"listening"/, [])
  }

  /** A stock client, configured for the broker, as before there was a Postern. */
  async function agentPublishes(
    topic: string,
    message: string,
    password: string,
  ): Promise<{ code: number; output: string }> {
    const target = [
      '-V',
      '5',
      '-h',
      broker.address,
      '-p',
      '1883',
      '-i',
      'scout',
      '-u',
      'scout',
      '-P',
      password,
    ]
    return pod.exec({ uid: AGENT }, 'mosquitto_pub', ...target, '-q', '1', '-t', topic, '-m', message)
  }

  async function arrived(text: string): Promise<void> {
    while (!received.some((line) => line.includes(text))) await new Promise((again) => setTimeout(again, 20))
  }

  test('without the policies the attacker would reach the broker: the test can fail', async () => {
    await network.nft('flush ruleset')
    expect(await attacker.reaches(broker.address, 1883)).toBe(true)
    expect(await attacker.reaches(broker.address, 9001)).toBe(true)
    await network.nft(policies)
    expect(await attacker.reaches(broker.address, 1883)).toBe(false)
  })

  test('the captured agent works, its configuration unchanged, and only within its rules', async () => {
    const token = await idp.mint()
    expect(await agentPublishes('agents/scout/status', 'hello', token)).toMatchObject({ code: 0 })
    await arrived('agents/scout/status hello')
    const denied = await agentPublishes('agents/other/status', 'forged', token)
    expect(denied.output).toContain('Not authorized')
    expect((await agentPublishes('agents/scout/status', 'last', token)).code).toBe(0)
    await arrived('agents/scout/status last')
    expect(received.join('\n')).not.toContain('forged')
    // The broker has seen Postern's user only.
    expect(
      brokerLog
        .filter((line) => /New client connected.*scout/.test(line))
        .every((line) => line.includes("u'postern'")),
    ).toBe(true)
  })

  test('an agent without a token, or with the broker’s own kind of password, gets nowhere', async () => {
    for (const password of ['', 'guess', 'secret']) {
      expect((await agentPublishes('agents/scout/status', 'bare', password)).code).not.toBe(0)
    }
    expect(received.join('\n')).not.toContain('bare')
  })

  test('the agent cannot leave the capture: not by its user, not by its rules, not by another port', async () => {
    const become = await pod.exec({ uid: AGENT }, 'setpriv', `--reuid=${POSTERN}`, '--clear-groups', 'true')
    expect(become.code).not.toBe(0)
    const flush = await pod.exec({ uid: AGENT }, 'nft', 'flush', 'ruleset')
    expect(flush.output).toContain('Operation not permitted')
    const enter = await pod.exec({ uid: AGENT }, 'ip', 'link', 'add', 'x', 'type', 'dummy')
    expect(enter.output).toContain('Operation not permitted')
    // What is not captured is closed by policy.
    expect(await pod.reaches(broker.address, 9001, { uid: AGENT })).toBe(false)
    expect(await pod.reaches(attacker.address, 4444, { uid: AGENT })).toBe(false)
    // Captured: this answers, and it is Postern.
    expect(await pod.reaches(broker.address, 1883, { uid: AGENT })).toBe(true)
    expect((await agentPublishes('agents/scout/status', 'x', 'secret')).output).toMatch(
      /not authori[sz]ed|refused|Bad/i,
    )
  })

  test.each<[string, (h: { pod: string; broker: string }) => Promise<boolean>]>([
    ['the broker', ({ broker }) => attacker.reaches(broker, 1883)],
    ['another port of the broker', ({ broker }) => attacker.reaches(broker, 9001)],
    ['Postern’s listener, which is on loopback', ({ pod }) => attacker.reaches(pod, 11883)],
    ['the port that is captured', ({ pod }) => attacker.reaches(pod, 1883)],
    ['the metrics', ({ pod }) => attacker.reaches(pod, 9464)],
  ])('the attacker does not reach %s', async (_, reaches) => {
    expect(await reaches({ pod: pod.address, broker: broker.address })).toBe(false)
  })

  test('the attacker does not get there under the pod’s address, nor through the pod', async () => {
    await attacker.exec({}, 'ip', 'addr', 'add', `${pod.address}/32`, 'dev', 'eth0')
    expect(await attacker.reaches(broker.address, 1883, { from: pod.address })).toBe(false)
    await attacker.exec({}, 'ip', 'addr', 'del', `${pod.address}/32`, 'dev', 'eth0')
    await attacker.exec(
      {},
      'ip',
      'route',
      'add',
      `${broker.address}/32`,
      'via',
      pod.address,
      'onlink',
      'dev',
      'eth0',
    )
    expect(await attacker.reaches(broker.address, 1883)).toBe(false)
    await attacker.exec({}, 'ip', 'route', 'del', `${broker.address}/32`)
    await attacker.exec({}, 'ip', 'route', 'add', '127.0.0.0/8', 'via', pod.address, 'onlink', 'dev', 'eth0')
    expect(await attacker.reaches('127.0.0.1', 11883)).toBe(false)
  })

  test('at the end the broker has had no connection but Postern’s and the observer’s', () => {
    const from = brokerLog.flatMap((line) => /New connection from ([\d.]+):/.exec(line)?.[1] ?? [])
    expect(new Set(from)).toEqual(new Set([broker.address, pod.address, attacker.address]))
    // The attacker's are the two of the test without policies: TCP, never MQTT.
    expect(
      brokerLog.filter((line) => line.includes(`New client connected from ${attacker.address}`)),
    ).toEqual([])
    expect(from.filter((address) => address === attacker.address).length).toBeLessThanOrEqual(2)
  })
})

async function lineOf(stream: NodeJS.ReadableStream, pattern: RegExp, kept: string[]): Promise<void> {
  const lines = createInterface({ input: stream })
  await new Promise<void>((resolve, reject) => {
    lines.on('line', (line) => {
      kept.push(line)
      if (pattern.test(line)) resolve()
    })
    void once(lines, 'close').then(() => reject(new Error(`no ${pattern}: ${kept.slice(-5).join(' | ')}`)))
  })
}
