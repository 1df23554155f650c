// Every shape of the chart and of the Kustomize tree, rendered by real helm and kubectl: valid against the schemas of
// Kubernetes and the operators, loadable by Postern, and without a way around it. There is no cluster here.
import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, relative, resolve } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { parse, stringify } from 'yaml'
import { loadConfig } from '../../src/config/load.ts'
import { findExecutable } from '../../src/dev/debian-package.ts'
import { type KubernetesTools, kubernetesTools } from '../support/kubernetes-tools.ts'
import {
  type Container,
  containersOf,
  type Manifest,
  podsOf,
  readManifests,
  validate,
} from '../support/manifest.ts'
import { initializerOf, objectOf } from '../support/object-initializer.ts'
import { policyOf } from '../support/permission.ts'

const CHART = 'deploy/helm/postern'
const NEEDED = {
  config: {
    audience: 'https://mqtt.example.com',
    issuers: [{ issuer: 'https://id.example.com', jwks: { url: 'https://id.example.com/jwks' } }],
  },
  policy: { text: 'version: 1\nagents: [{ id: a, allow: publish, topic: a }]\nusers: []\n' },
  broker: { address: 'broker:1883', credentialSecret: 'broker-credential' },
  networkPolicy: { broker: { matchLabels: { app: 'broker' } } },
}

type Values = Record<string, unknown>
const SHAPES: Record<string, Values> = {
  gateway: {},
  'agent-sidecar': { shape: 'agent-sidecar', agent: { image: 'agent:1' } },
  'broker-sidecar': { shape: 'broker-sidecar', mosquitto: { passwordFileSecret: 'passwords' } },
}
const MONITORING = {
  podMonitor: { enabled: true, labels: { release: 'x' } },
  rules: { enabled: true },
  dashboard: { enabled: true },
}
const TLS = { enabled: true, secretName: 'tls', clientCertificate: true, serverName: 'broker.test' }

const LISTENER = { enabled: true, secretName: 'listener' }
const REVOCATION = {
  enabled: true,
  secretName: 'revocation',
  adminKey: 'admin',
  listConfigMap: 'kept-out',
}

/** Shapes by the chart's toggles; each line once more than the defaults. */
const RENDERINGS: [string, Values, Values][] = [
  ...Object.entries(SHAPES).flatMap(([shape, values]): [string, Values, Values][] => [
    [`${shape}`, values, {}],
    [`${shape}, shadow`, values, { mode: 'shadow' }],
    [`${shape}, monitoring`, values, { monitoring: MONITORING }],
    [`${shape}, no network policy`, values, { networkPolicy: { enabled: false } }],
    [
      `${shape}, policy and keys from elsewhere`,
      values,
      {
        policy: { text: '', existingConfigMap: 'own-policy' },
        keys: { existingConfigMap: 'own-keys' },
        config: {
          issuers: [{ issuer: 'https://id.example.com', jwks: { file: '/etc/postern/keys/id.json' } }],
        },
      },
    ],
    [
      `${shape}, everything of the pod`,
      values,
      {
        audit: { claim: true, storageClass: 'fast', size: '2Gi' },
        image: { digest: `sha256:${'0'.repeat(64)}`, pullSecrets: [{ name: 'pull' }] },
        podLabels: { team: 'a' },
        podAnnotations: { note: 'b' },
        nodeSelector: { disk: 'ssd' },
        tolerations: [{ key: 'k', operator: 'Exists' }],
        affinity: { nodeAffinity: {} },
        serviceAccount: { annotations: { a: 'b' } },
        config: { sessions: { drain: '2m' }, limits: { connections: 2000, packetBytes: '8MiB' } },
      },
    ],
  ]),
  ...['gateway', 'agent-sidecar'].flatMap((shape): [string, Values, Values][] => [
    [`${shape}, TLS`, SHAPES[shape]!, { broker: { tls: { enabled: true, secretName: 'tls' } } }],
    [`${shape}, mTLS without a password`, SHAPES[shape]!, { broker: { credentialSecret: '', tls: TLS } }],
    [
      `${shape}, cert-manager`,
      SHAPES[shape]!,
      { broker: { proxyProtocol: true, tls: { ...TLS, certManager: { enabled: true, issuerName: 'ca' } } } },
    ],
  ]),
  [
    'gateway, fixed size',
    {},
    { gateway: { autoscaling: { enabled: false }, podDisruptionBudget: { enabled: false } } },
  ],
  [
    'gateway, a store',
    {},
    {
      store: { secret: 'store' },
      networkPolicy: {
        store: [
          {
            to: [{ podSelector: { matchLabels: { app: 'valkey' } } }],
            ports: [{ protocol: 'TCP', port: 6379 }],
          },
        ],
      },
      config: {
        revocation: { file: '/var/lib/postern/revocations.jsonl' },
        store: { url: 'rediss://valkey:6379', passwordFile: '/etc/postern/store/password' },
      },
    },
  ],
  [
    'gateway, load balancer',
    {},
    {
      gateway: {
        service: { type: 'LoadBalancer', annotations: { a: 'b' } },
        proxyProtocolFrom: ['10.0.0.0/8'],
      },
    },
  ],
  ['gateway, ServiceMonitor', {}, { monitoring: { serviceMonitor: { enabled: true } } }],
  ...Object.entries(SHAPES).flatMap(([shape, values]): [string, Values, Values][] => [
    [
      `${shape}, revocation`,
      values,
      {
        revocation: REVOCATION,
        networkPolicy: { admin: [{ podSelector: { matchLabels: { app: 'idp' } } }] },
      },
    ],
    [`${shape}, revocation without an endpoint`, values, { revocation: { enabled: true } }],
    [
      `${shape}, revocation by events, other secrets`,
      values,
      {
        revocation: { ...REVOCATION, adminKey: '' },
        secrets: ['audit-keys', 'other.keys'],
        config: {
          audit: { payloadDigest: 'hmac', digestKeyFile: '/etc/postern/secrets/audit-keys/digest' },
          revocation: {
            events: [
              {
                name: 'idp',
                issuer: 'https://id.example.com',
                audience: 'https://mqtt.example.com',
                jwks: { url: 'https://id.example.com/jwks' },
                secretFile: '/etc/postern/revocation/idp',
              },
            ],
          },
        },
      },
    ],
  ]),
  ...['gateway', 'broker-sidecar'].flatMap((shape): [string, Values, Values][] => [
    [`${shape}, TLS for agents`, SHAPES[shape]!, { listener: { tls: LISTENER } }],
    [
      `${shape}, client certificates`,
      SHAPES[shape]!,
      { listener: { tls: { ...LISTENER, clientCertificates: 'verify', minVersion: 'TLSv1.3' } } },
    ],
    [
      `${shape}, both by cert-manager`,
      SHAPES[shape]!,
      {
        listener: {
          tls: {
            ...LISTENER,
            clientCertificates: 'request',
            certManager: {
              enabled: true,
              issuerName: 'ca',
              issuerKind: 'ClusterIssuer',
              dnsNames: ['mqtt.example.com'],
            },
          },
        },
        ...(shape === 'gateway'
          ? { broker: { tls: { ...TLS, certManager: { enabled: true, issuerName: 'ca' } } } }
          : {}),
      },
    ],
  ]),
  ['gateway, TLS on another port', {}, { listener: { tls: LISTENER }, gateway: { service: { port: 443 } } }],
  [
    'agent-sidecar, capture',
    SHAPES['agent-sidecar']!,
    { capture: { enabled: true, image: 'nft:1', ports: [1883, 8883] } },
  ],
  [
    'agent-sidecar, service account token',
    SHAPES['agent-sidecar']!,
    {
      agent: {
        serviceAccountToken: { enabled: true },
        env: [{ name: 'A', value: 'b' }],
        command: ['run'],
        args: ['x'],
      },
    },
  ],
  [
    'agent-sidecar, injection only',
    SHAPES['agent-sidecar']!,
    { agent: { image: '' }, injection: { enabled: true } },
  ],
  [
    'agent-sidecar, injection with capture',
    SHAPES['agent-sidecar']!,
    { injection: { enabled: true }, capture: { enabled: true, image: 'nft:1' } },
  ],
]

const COMPONENTS: [string, string[]][] = [
  ...['gateway', 'agent-sidecar', 'broker-sidecar'].flatMap((shape): [string, string[]][] => [
    [shape, []],
    [shape, ['monitoring', 'shadow']],
    [shape, ['broker-guard', 'mtls', 'monitoring', 'shadow']],
    [shape, ['revocation']],
  ]),
  ['gateway', ['listener-tls']],
  ['gateway', ['listener-tls', 'revocation', 'broker-guard', 'mtls', 'monitoring', 'shadow']],
  ['broker-sidecar', ['listener-tls', 'revocation']],
  ['injection', ['revocation', 'broker-guard', 'mtls', 'monitoring']],
  ['agent-sidecar', ['capture']],
  ['agent-sidecar', ['service-account-token']],
  ['agent-sidecar', ['capture', 'service-account-token', 'broker-guard', 'mtls', 'monitoring', 'shadow']],
]

let tools: KubernetesTools
let directory: string
beforeAll(async () => {
  tools = await kubernetesTools()
  directory = await mkdtemp(join(tmpdir(), 'postern-kubernetes-'))
})
afterAll(() => rm(directory, { recursive: true, force: true }))

function merged(...all: Values[]): Values {
  const isMap = (value: unknown): value is Values =>
    typeof value === 'object' && value !== null && !Array.isArray(value)
  const result: Values = {}
  for (const [key, value] of all.flatMap((values) => Object.entries(values))) {
    const known = result[key]
    result[key] = isMap(value) && isMap(known) ? merged(known, value) : value
  }
  return result
}

async function template(values: Values, ...options: string[]): Promise<Manifest[]> {
  const file = join(directory, `values-${Math.random().toString(36).slice(2)}.yaml`)
  await writeFile(file, stringify(values))
  return readManifests(
    await tools.helm('template', 'rel', CHART, '--namespace', 'mqtt', '-f', file, ...options),
  )
}

/** The ConfigMap that holds this file. */
function fileOf(manifests: readonly Manifest[], name: string): string | undefined {
  return manifests.flatMap(({ kind, data }) =>
    kind === 'ConfigMap' && data?.[name] !== undefined ? [data[name] as string] : [],
  )[0]
}

/** Pod Security `restricted`, and more: a read-only file system. */
function insecurities({ name, securityContext: s }: Container): string[] {
  const { drop, add } = s.capabilities
  return [
    ...(s.runAsNonRoot === true && s.runAsUser > 0 ? [] : ['root']),
    ...(s.readOnlyRootFilesystem === true ? [] : ['writable']),
    ...(s.allowPrivilegeEscalation === false && s.privileged !== true ? [] : ['escalation']),
    ...(drop.includes('ALL') && add === undefined ? [] : ['capabilities']),
    ...(s.seccompProfile.type === 'RuntimeDefault' ? [] : ['seccomp']),
  ].map((what) => `${name}: ${what}`)
}

/** What holds for every rendering. */
async function check(
  manifests: readonly Manifest[],
  environment: Record<string, string> = {},
): Promise<void> {
  for (const manifest of manifests) expect(await validate(manifest)).toEqual([])
  expect(manifests.map(({ kind }) => kind)).not.toContain('Secret')
  const text = fileOf(manifests, 'postern.yaml')!
  const loaded = loadConfig(text, '/etc/postern/postern.yaml', environment, () => 'read')
  if ('problems' in loaded) throw new Error(JSON.stringify(loaded.problems))
  const policy = fileOf(manifests, 'policy.yaml')
  if (policy !== undefined) policyOf(policy)
  for (const pod of podsOf(manifests)) {
    const containers = containersOf(pod)
    const captured = containers.some(({ name }) => name === 'capture')
    expect(containers.flatMap(insecurities)).toEqual(
      captured ? ['capture: root', 'capture: capabilities'] : [],
    )
    expect(pod.automountServiceAccountToken).toBe(false)
    expect(pod.terminationGracePeriodSeconds * 1000).toBeGreaterThan(loaded.config.sessions.drain)
    const volumes = pod.volumes.map(({ name }) => name)
    const claims = manifests.flatMap(
      ({ spec }) => spec?.volumeClaimTemplates?.map((c: Manifest) => c.metadata.name) ?? [],
    )
    for (const { name } of containers.flatMap(
      ({ volumeMounts = [] }) => volumeMounts as { name: string }[],
    )) {
      expect([...volumes, ...claims]).toContain(name)
    }
    const postern = containers.find(({ name }) => name === 'postern')!
    expect(postern['args']).toEqual(['run', '--wait'])
    expect(postern['startupProbe'].httpGet.path).toBe('/livez')
    expect(postern['livenessProbe'].httpGet.path).toBe('/livez')
    expect(postern['readinessProbe'].httpGet.path).toBe('/readyz')
    const mounts = (postern['volumeMounts'] as { mountPath: string }[]).map(({ mountPath }) => mountPath)
    const files = [...JSON.stringify(loaded.config).matchAll(/"(\/(?:etc|var)\/[^"]+)"/g)].map(
      ([, path]) => path!,
    )
    expect(files.filter((path) => !mounts.some((mount) => path.startsWith(`${mount}/`)))).toEqual([])
    const { port } = loaded.config.listeners[0]!.address
    if (fileOf(manifests, 'capture.nft') === undefined || port === 11883) {
      expect([port, 1883]).toContain(postern['ports'][0].containerPort)
    }
  }
}

describe('the chart', () => {
  test.each(RENDERINGS)('%s', async (_, shape, values) => {
    const manifests = await template(merged(NEEDED, shape, values))
    await check(manifests)
    // All in the release's namespace, so that uninstalling leaves nothing behind.
    for (const { kind, metadata } of manifests) {
      if (!kind.startsWith('MutatingAdmission')) expect(metadata.namespace).toBe('mqtt')
    }
  })

  test('is well formed for `helm lint`', async () => {
    const file = join(directory, 'lint.yaml')
    await writeFile(file, stringify(NEEDED))
    expect(await tools.helm('lint', '--strict', CHART, '-f', file)).toContain('0 chart(s) failed')
  })

  test('renders nothing from its defaults, and says all that is missing', async () => {
    const { stderr } = await template({}).then(
      () => ({ stderr: '' }),
      (error: { stderr: string }) => error,
    )
    for (const value of [
      'config.issuers',
      'config.audience',
      'policy.text',
      'broker.address',
      'broker.credentialSecret',
    ]) {
      expect(stderr).toContain(`\n  - ${value}: `)
    }
  })

  test.each<[string, Values, string]>([
    ['no audience', { config: { audience: '' } }, 'config.audience: write what your issuer puts'],
    ['no issuer', { config: { issuers: [] } }, 'config.issuers: name at least one'],
    [
      'an issuer without keys',
      { config: { issuers: [{ issuer: 'https://x' }] } },
      'config.issuers[0].jwks: write `url`',
    ],
    [
      'keys without their ConfigMap',
      { config: { issuers: [{ issuer: 'https://x', jwks: { file: 'a' } }] } },
      'keys.existingConfigMap',
    ],
    [
      'a password in the values',
      { config: { upstream: { password: 'x' } } },
      'config.upstream.password: put it into a Secret',
    ],
    [
      'two policies',
      { policy: { existingConfigMap: 'x' } },
      'policy.existingConfigMap: policy.text is given too',
    ],
    ['TLS without a Secret', { broker: { tls: { enabled: true } } }, 'broker.tls.secretName'],
    [
      'cert-manager without an issuer',
      { broker: { tls: { ...TLS, certManager: { enabled: true } } } },
      'broker.tls.certManager.issuerName',
    ],
    ['an agent without an image', { shape: 'agent-sidecar' }, 'agent.image: name the image'],
    ['an agent as Postern’s user', { agent: { runAsUser: 65532 } }, 'agent.runAsUser: 65532'],
    ['capture in a gateway', { capture: { enabled: true } }, 'only for shape agent-sidecar'],
    ['a broker without passwords', { shape: 'broker-sidecar' }, 'mosquitto.passwordFileSecret'],
    [
      'TLS for an agent on loopback',
      { ...SHAPES['agent-sidecar'], listener: { tls: LISTENER } },
      'listener.tls.enabled: in shape agent-sidecar',
    ],
    [
      'TLS for agents without a Secret',
      { listener: { tls: { enabled: true } } },
      'listener.tls.secretName: name the Secret',
    ],
    [
      'client certificates without TLS',
      { listener: { tls: { clientCertificates: 'verify' } } },
      'listener.tls.enabled: listener.tls has no effect',
    ],
    [
      'a server certificate by nobody',
      { listener: { tls: { ...LISTENER, certManager: { enabled: true } } } },
      'listener.tls.certManager.issuerName: name the cert-manager issuer',
    ],
    [
      'a kind of certificate that there is not',
      { listener: { tls: { ...LISTENER, clientCertificates: 'maybe' } } },
      "at '/listener/tls/clientCertificates'",
    ],
    [
      'revocation that is off',
      { revocation: { secretName: 'a' } },
      'revocation.enabled: revocation has no effect',
    ],
    [
      'an endpoint without a secret',
      { revocation: { enabled: true, adminKey: 'admin' } },
      'revocation.secretName: name the Secret',
    ],
    ['an unknown key', { brokers: {} }, "additional properties 'brokers' not allowed"],
    [
      'an unknown key of the configuration',
      { config: { limit: {} } },
      "at '/config': additional properties 'limit' not allowed",
    ],
    [
      'a wrong kind',
      { config: { limits: { connections: 'many' } } },
      "at '/config/limits/connections': got string",
    ],
    ['a wrong shape', { shape: 'sidecar' }, "at '/shape': value must be one of"],
    ['a wrong address', { broker: { address: 'mqtt://broker' } }, "at '/broker/address'"],
  ])('%s: renders nothing and says which value', async (_, values, sentence) => {
    await expect(template(merged(NEEDED, values))).rejects.toMatchObject({
      stderr: expect.stringContaining(sentence),
    })
  })

  test('knows every key of the configuration', async () => {
    const { properties, ...schema } = JSON.parse(readFileSync(`${CHART}/values.schema.json`, 'utf8'))
    const config = JSON.parse(readFileSync('docs/config.schema.json', 'utf8'), (key, value) =>
      ['required', '$schema', 'description'].includes(key) ? undefined : value,
    )
    // The chart's own defaults are empty, and are refused by name.
    delete config.properties.issuers.minItems
    delete config.properties.audience.minItems
    const formatted = await format({ ...schema, properties: { ...properties, config } })
    await expect(formatted).toMatchFileSnapshot(resolve(`${CHART}/values.schema.json`))
  })

  test('carries the same rules, dashboard and capture as the rest of deploy/', async () => {
    for (const [source, copies] of [
      ['deploy/prometheus/postern.rules.yaml', [`${CHART}/files/postern.rules.yaml`]],
      ['deploy/grafana/postern.json', [`${CHART}/files/postern.json`]],
      [`${CHART}/files/mosquitto.conf`, ['deploy/kustomize/components/broker-sidecar/mosquitto.conf']],
    ] as const) {
      for (const copy of copies) await expect(readFileSync(source, 'utf8')).toMatchFileSnapshot(resolve(copy))
    }
    const manifests = await template(merged(NEEDED, { monitoring: MONITORING }))
    const rules = manifests.find(({ kind }) => kind === 'PrometheusRule')!
    const { spec } = parse(readFileSync('deploy/kustomize/components/monitoring/prometheusrule.yaml', 'utf8'))
    const groups = parse(readFileSync('deploy/prometheus/postern.rules.yaml', 'utf8'))
    expect(rules['spec']).toEqual(groups)
    expect(spec).toEqual(groups)
    expect(JSON.parse(fileOf(manifests, 'postern.json')!)).toEqual(
      JSON.parse(readFileSync('deploy/grafana/postern.json', 'utf8')),
    )
  })

  test('the grace period grows with the drain', async () => {
    const grace = async (drain: string) =>
      podsOf(await template(merged(NEEDED, { config: { sessions: { drain } } })))[0]!
        .terminationGracePeriodSeconds
    expect(await grace('500ms')).toBe(11)
    expect(await grace('45s')).toBe(55)
    expect(await grace('2m')).toBe(130)
    expect(await grace('1h')).toBe(3610)
  })

  test('a sidecar is one for Kubernetes, and only the agent’s pod can reach it', async () => {
    const manifests = await template(merged(NEEDED, SHAPES['agent-sidecar']!))
    const [pod] = podsOf(manifests)
    expect(pod!.initContainers!.find(({ name }) => name === 'postern')!.restartPolicy).toBe('Always')
    expect(parse(fileOf(manifests, 'postern.yaml')!).listeners[0].address).toBe('127.0.0.1:1883')
    expect(manifests.map(({ kind }) => kind)).not.toContain('Service')
    const policy = manifests.find(
      ({ kind, metadata }) => kind === 'NetworkPolicy' && metadata.name === 'rel-postern',
    )!
    expect(
      policy['spec'].ingress.flatMap((rule: { ports: { port: number }[] }) =>
        rule.ports.map(({ port }) => port),
      ),
    ).toEqual([9464])
  })

  test.each(['gateway', 'broker-sidecar'])('TLS for agents in %s closes the plain port', async (shape) => {
    const verify = { listener: { tls: { ...LISTENER, clientCertificates: 'verify' } } }
    const manifests = await template(merged(NEEDED, SHAPES[shape]!, verify))
    expect(parse(fileOf(manifests, 'postern.yaml')!).listeners).toEqual([
      {
        name: 'agents',
        address: '0.0.0.0:8883',
        mode: 'enforce',
        tls: {
          certFile: '/etc/postern/listener/tls.crt',
          keyFile: '/etc/postern/listener/tls.key',
          clientCaFile: '/etc/postern/listener/ca.crt',
          clientCertificates: 'verify',
          minVersion: 'TLSv1.2',
        },
      },
    ])
    const service = manifests.find(({ kind }) => kind === 'Service')!
    expect(service['spec'].ports).toEqual([{ name: 'mqtt', port: 8883, targetPort: 'mqtt', protocol: 'TCP' }])
    const policy = manifests.find(
      ({ kind, metadata }) => kind === 'NetworkPolicy' && metadata.name === 'rel-postern',
    )!
    const open = (policy['spec'].ingress as { ports: { port: number }[] }[]).flatMap(({ ports }) =>
      ports.map(({ port }) => port),
    )
    expect(open).toEqual([8883, 9464])
    expect(manifests.flatMap((manifest) => JSON.stringify(manifest)).join()).not.toContain(
      'containerPort":1883',
    )
  })

  test('a guarded broker takes Postern’s pods and nobody else', async () => {
    for (const shape of ['gateway', 'agent-sidecar']) {
      const manifests = await template(merged(NEEDED, SHAPES[shape]!))
      const guard = manifests.find(({ metadata }) => metadata.name === 'rel-postern-broker')!
      const pod = manifests.find(({ kind }) => kind === 'Deployment')!['spec'].template.metadata.labels
      expect(guard['spec'].podSelector).toEqual({ matchLabels: { app: 'broker' } })
      expect(guard['spec'].ingress).toHaveLength(1)
      const [{ from }] = guard['spec'].ingress
      expect(from).toEqual([{ podSelector: { matchLabels: { 'postern.dev/proxied': 'rel-postern' } } }])
      expect(pod['postern.dev/proxied']).toBe('rel-postern')
    }
  })

  test('Mosquitto beside Postern has one door, a Unix socket with a password', async () => {
    const manifests = await template(merged(NEEDED, SHAPES['broker-sidecar']!))
    const lines = fileOf(manifests, 'mosquitto.conf')!
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith('#'))
    expect(lines.filter((line) => /^(listener|port|bind_address|http_dir)/.test(line))).toEqual([
      'listener 0 /run/mosquitto/postern.sock',
    ])
    expect(lines).toContain('allow_anonymous false')
    const mosquitto = podsOf(manifests)[0]!.containers[0]!
    expect(mosquitto['command']).toEqual([
      '/usr/sbin/mosquitto',
      '-c',
      '/etc/postern-mosquitto/mosquitto.conf',
    ])
    expect(mosquitto['ports']).toBeUndefined()
  })

  test('injection puts in the same container as the Deployment has', async () => {
    const manifests = await template(
      merged(NEEDED, SHAPES['agent-sidecar']!, { injection: { enabled: true } }),
    )
    const expression = manifests.find(({ kind }) => kind === 'MutatingAdmissionPolicy')!['spec'].mutations[0]
      .applyConfiguration.expression as string
    const [pod] = podsOf(manifests)
    const postern = pod!.initContainers!.find(({ name }) => name === 'postern')!
    const { spec, metadata } = objectOf(expression)
    expect(spec.initContainers).toEqual([postern])
    expect(spec.volumes).toEqual(pod!.volumes)
    expect(spec.terminationGracePeriodSeconds).toBe(pod!.terminationGracePeriodSeconds)
    expect(metadata.labels).toEqual({ 'postern.dev/proxied': 'rel-postern' })
    const now = await template(
      merged(NEEDED, { ...SHAPES['agent-sidecar'], injection: { enabled: true } }),
      '--api-versions',
      'admissionregistration.k8s.io/v1/MutatingAdmissionPolicy',
    )
    expect(now.find(({ kind }) => kind === 'MutatingAdmissionPolicy')!.apiVersion).toBe(
      'admissionregistration.k8s.io/v1',
    )
    for (const manifest of now) expect(await validate(manifest)).toEqual([])
  })

  test('the capture loads into nftables', async (context) => {
    const nft = await findExecutable('nft')
    if (nft === undefined || process.getuid?.() !== 0) context.skip('needs nft and root')
    const manifests = await template(
      merged(NEEDED, SHAPES['agent-sidecar']!, {
        capture: { enabled: true, image: 'x', ports: [1883, 8883] },
      }),
    )
    const file = join(directory, 'capture.nft')
    await writeFile(file, fileOf(manifests, 'capture.nft')!)
    await promisify(execFile)('unshare', ['--net', nft!, '--check', '--file', file])
    await promisify(execFile)('unshare', [
      '--net',
      nft!,
      '--check',
      '--file',
      'deploy/kustomize/components/capture/capture.nft',
    ])
  })
})

describe('the Kustomize tree', () => {
  test.each(COMPONENTS)('%s with %j', async (shape, others) => {
    const overlay = await mkdtemp(join(directory, 'overlay-'))
    const tree = relative(overlay, resolve('deploy/kustomize'))
    await writeFile(
      join(overlay, 'kustomization.yaml'),
      stringify({
        resources: [`${tree}/base`],
        components: [shape, ...others].map((name) => `${tree}/components/${name}`),
        configMapGenerator: [{ name: 'postern', behavior: 'replace', files: ['postern.yaml'] }],
      }),
    )
    const base = parse(readFileSync('deploy/kustomize/base/postern.yaml', 'utf8'))
    await writeFile(join(overlay, 'postern.yaml'), stringify({ ...base, ...NEEDED.config }))
    const manifests = readManifests(await tools.kubectl('kustomize', overlay))
    const environment = manifests.find(({ metadata }) => metadata.name.startsWith('postern-env'))![
      'data'
    ] as Record<string, string>
    expect(environment['POSTERN_ADMIN__ADDRESS']).toBe('0.0.0.0:9464')
    const names = manifests.flatMap(({ kind, metadata }) => (kind === 'ConfigMap' ? [metadata.name] : []))
    for (const policy of manifests.filter(({ kind }) => kind === 'MutatingAdmissionPolicy')) {
      const { volumes } = objectOf(policy['spec'].mutations[0].applyConfiguration.expression).spec
      const mounted = (volumes as { configMap?: { name: string } }[]).flatMap(
        ({ configMap }) => configMap?.name ?? [],
      )
      expect(mounted.filter((name) => !names.includes(name))).toEqual([])
      expect(names).toContain('postern-env')
    }
    if (shape === 'broker-sidecar' && others.includes('mtls')) return // a Unix socket has no TLS
    await check(manifests, environment)
  })

  test('injection puts in the container of agent-sidecar, and names what is there', async () => {
    const [deployment] = readManifests(
      readFileSync('deploy/kustomize/components/agent-sidecar/deployment.yaml', 'utf8'),
    )
    const { spec, metadata } = deployment!['spec'].template
    const { initContainers, volumes, terminationGracePeriodSeconds } = spec
    const expression = initializerOf({
      metadata: { labels: { 'postern.dev/proxied': metadata.labels['postern.dev/proxied'] } },
      spec: { terminationGracePeriodSeconds, initContainers, volumes },
    })
    expect(objectOf(expression).spec.initContainers).toEqual(initContainers)
    const file = 'deploy/kustomize/components/injection/policy.yaml'
    const text = readFileSync(file, 'utf8')
    const line = text.split('\n').findIndex((each) => each.trim() === 'expression: >-')
    const lines = text.split('\n').with(line + 1, `          ${expression}`)
    await expect(lines.join('\n')).toMatchFileSnapshot(resolve(file))
  })

  test('the base alone names no issuer: Postern says so and does not start', () => {
    const loaded = loadConfig(
      readFileSync('deploy/kustomize/base/postern.yaml', 'utf8'),
      '/etc/postern/postern.yaml',
      {},
      () => 'x',
    )
    expect('problems' in loaded && loaded.problems.map(({ path, message }) => `${path}: ${message}`)).toEqual(
      ['issuers: Missing. Write a list of issuers, such as `- issuer: https://id.example`.'],
    )
  })
})

describe('the validation itself', () => {
  test.each<[string, object]>([
    [
      'a key that does not exist',
      { selector: {}, replica: 1, template: { spec: { containers: [{ name: 'a' }] } } },
    ],
    [
      'one deep below',
      { selector: {}, template: { spec: { containers: [{ name: 'a', readynessProbe: {} }] } } },
    ],
    ['a wrong kind', { selector: {}, replicas: 'two', template: { spec: { containers: [{ name: 'a' }] } } }],
    ['something missing', { template: { spec: { containers: [{ name: 'a' }] } } }],
  ])('finds %s', async (_, spec) => {
    const manifest = { apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: 'x' }, spec }
    expect(await validate(manifest)).toHaveLength(1)
  })
})

async function format(json: unknown): Promise<string> {
  const child = promisify(execFile)('node_modules/.bin/biome', ['format', '--stdin-file-path=x.json'], {
    maxBuffer: 2 ** 24,
  })
  child.child.stdin!.end(JSON.stringify(json))
  return (await child).stdout
}
