import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { stringify } from 'yaml'
import type { Config } from '../../src/config/config.ts'
import { describeConfig } from '../../src/config/effective.ts'
import { loadConfig } from '../../src/config/load.ts'

const MINIMAL = `listeners: [{ address: 127.0.0.1:1883 }]
upstream: { address: 127.0.0.1:1884 }
audience: https://mqtt.example
issuers:
  - issuer: https://id.example
    jwks: { file: keys.json }
policy: { file: policy.yaml }
audit: { file: ../log/audit.jsonl }
`

type Env = Record<string, string | undefined>

function load(text: string, env: Env = {}, files: Record<string, string> = {}): Config {
  const result = loaded(text, env, files)
  if ('problems' in result) throw new Error(JSON.stringify(result.problems))
  return result.config
}

function loaded(text: string, env: Env = {}, files: Record<string, string> = {}) {
  return loadConfig(text, '/etc/postern/postern.yaml', env, (path) => {
    const content = files[path]
    if (content === undefined) throw Object.assign(new Error('no such file'), { code: 'ENOENT' })
    return content
  })
}

describe('defaults', () => {
  it('asks only for listeners, broker, issuers, policy and audit file', () => {
    expect(load(MINIMAL)).toEqual({
      instance: 'postern',
      workers: 1,
      coalesceQos0: 2,
      listeners: [
        {
          name: '127.0.0.1:1883',
          address: { kind: 'tcp', host: '127.0.0.1', port: 1883, path: '' },
          mode: 'enforce',
          credentials: 'agent',
          proxyProtocolFrom: [],
        },
      ],
      upstream: {
        address: { kind: 'tcp', host: '127.0.0.1', port: 1884, path: '' },
        connectTimeout: 5000,
        username: undefined,
        password: undefined,
        tls: undefined,
        proxyProtocol: 'off',
      },
      issuers: [
        {
          issuer: 'https://id.example',
          audience: ['https://mqtt.example'],
          jwks: {
            url: undefined,
            file: '/etc/postern/keys.json',
            timeout: 5000,
            maxBytes: 1_048_576,
            cooldown: 30_000,
            cacheAge: 600_000,
            staleAge: 3_600_000,
            use: 'sig',
          },
          algorithms: ['ES256', 'Ed25519'],
          mapping: 'act',
          claims: { agentId: undefined, userId: undefined, tenant: undefined, attributes: {} },
          owners: {},
          legacyTyp: false,
          onWithdrawnKey: 'ignore',
          requireClientId: true,
          requireProof: false,
          requireSubProfile: false,
          maxLifetime: 900_000,
          leeway: 30_000,
          maxActorDepth: 4,
          ceilings: ['scope', 'authorization_details', 'acl'],
          missingCeiling: 'none',
        },
      ],
      token: { maxBytes: 8192, fromUsername: false, methods: ['OAUTH2-JWT'], topic: '$postern/token' },
      delegation: {
        property: undefined,
        tokens: 1000,
        stamp: false,
        agentProperty: 'postern-agent',
        humanProperty: 'postern-human',
        tenantProperty: 'postern-tenant',
      },
      clientId: { binding: 'exact', separator: '-' },
      policy: { file: '/etc/postern/policy.yaml', userLayer: 'required' },
      denial: {
        publishQos0: 'drop',
        delivery: 'drop',
        hideTopics: false,
        qosAboveLimit: 'downgrade',
        overlappingDeny: 'refuse',
      },
      sessions: { delegated: 'fresh', unknownRelease: 'refuse', retainedExpiry: 'keep', drain: 10_000 },
      audit: {
        file: '/etc/log/audit.jsonl',
        onFailure: 'deny',
        flushInterval: 100,
        maxPending: 16_777_216,
        durability: 'async',
        publishes: 'all',
        records: 'auto',
        payloadDigest: 'sha256',
        subjects: 'plain',
        digestKeyFile: undefined,
        segments: {
          maxBytes: 64 * 1024 * 1024,
          maxAge: 86_400_000,
          compression: 'zstd',
          keep: 0,
          keepFor: 0,
        },
        repeats: { rate: 0, interval: 10_000 },
        checkpoints: {
          ...{ keyFile: undefined, records: 10_000, interval: 60_000 },
          ...{ stdout: false, url: undefined, topic: undefined },
        },
        copies: { stdout: false, otlp: undefined, syslog: undefined, topic: undefined },
      },
      proof: {
        dpop: undefined,
        ace: false,
        aceKeysFile: undefined,
        method: 'POSTERN-DPOP',
        timeout: 5_000,
        window: 30_000,
        algorithms: ['ES256', 'Ed25519'],
      },
      grants: undefined,
      revocation: undefined,
      admin: { address: { kind: 'tcp', host: '127.0.0.1', port: 9464, path: '' } },
      limits: {
        connections: 10_000,
        unauthenticated: 1000,
        connectTimeout: 5000,
        connectBytes: 16_384,
        publishHeadBytes: 65_536,
        controlPacketBytes: 65_536,
        packetBytes: 268_435_460,
        filtersPerPacket: 256,
        subscriptions: 1000,
        userProperties: 256,
        topicAliases: 64,
        failedTries: 20,
        failedTriesWindow: 60_000,
        failedTriesFrom: 'remote',
      },
      store: undefined,
      log: { level: 'info' },
    } satisfies Config)
  })

  it('reads JSON as well', () => {
    const json = `{\n\t"listeners": [{ "address": "127.0.0.1:1883" }], "upstream": { "address": "127.0.0.1:1884" },
      "audience": ["https://mqtt.example"], "admin": false,
      "issuers": [{ "issuer": "https://id.example", "jwks": { "file": "keys.json" } }],
      "policy": { "file": "policy.yaml" }, "audit": { "file": "../log/audit.jsonl" } }`
    expect(load(json)).toEqual({ ...load(MINIMAL), admin: undefined })
  })

  it('has no admin listener when it is off', () => {
    expect(load(`${MINIMAL}admin: off\n`).admin).toBeUndefined()
  })

  it('lets an issuer have an audience of its own', () => {
    const text = MINIMAL.replace('jwks:', 'audience: [a, b]\n    jwks:')
    expect(load(text).issuers[0]!.audience).toEqual(['a', 'b'])
  })

  it('keeps names that objects are made of as plain data', () => {
    const text = MINIMAL.replace(
      'jwks:',
      'mapping: self\n    owners: { __proto__: eve, constructor: bob }\n    jwks:',
    )
    const { owners } = load(text).issuers[0]!
    expect(Object.entries(owners)).toEqual([
      ['__proto__', 'eve'],
      ['constructor', 'bob'],
    ])
    expect(owners['toString']).toBeUndefined()
  })
})

describe('the password of the broker', () => {
  const withFile = MINIMAL.replace('1884 }', '1884, username: postern, passwordFile: secrets/broker }')

  it('comes from its file, without the line break at the end', () => {
    const config = load(withFile, {}, { '/etc/postern/secrets/broker': ' pass word \n' })
    expect(config.upstream.password).toBe(' pass word ')
  })

  it('may not be an empty file', () => {
    expect(loaded(withFile, {}, { '/etc/postern/secrets/broker': '\n' })).toMatchObject({
      problems: [{ path: 'upstream.passwordFile', message: expect.stringContaining('empty') }],
    })
  })

  it('is reported in place of being shown', () => {
    const text = describeConfig(load(withFile, {}, { '/etc/postern/secrets/broker': 'hunter2' }))
    expect(text).not.toContain('hunter2')
    expect(text).toContain('password: «set»')
  })

  it('does not appear in any message, wherever it was put', () => {
    const secret = 'hunter2'
    const texts = [
      MINIMAL.replace('1884 }', `1884, password: [${secret}] }`),
      MINIMAL.replace('1884 }', `1884, password: "${secret} }`),
      MINIMAL.replace('1884 }', `1884, pasword: ${secret} }`),
      MINIMAL.replace('127.0.0.1:1884', `mqtt://postern:${secret}@127.0.0.1:1884`),
      MINIMAL.replace('127.0.0.1:1884', secret),
      MINIMAL.replace('keys.json', `keys.json, url: "https://u:${secret}@id.example/"`),
      `${MINIMAL}log: { level: ${secret} }\ninstance: [${secret}]\nlimits: ${secret}\nadmin: ${secret}\n`,
      `${MINIMAL}\n? [${secret}]\n: *${secret}\n`,
    ]
    for (const text of texts) {
      const result = loaded(text)
      expect(result).toHaveProperty('problems')
      expect(JSON.stringify(result)).not.toContain(secret)
    }
    const env = {
      POSTERN_UPSTREAM__ADDRESS: secret,
      POSTERN_TOKEN: secret,
      POSTERN_UPSTREAM__PASSWRD: secret,
    }
    expect(JSON.stringify(loaded(MINIMAL, env))).not.toContain(secret)
  })
})

describe('the environment', () => {
  it.each<[string, string, (c: Config) => unknown, unknown]>([
    ['POSTERN_UPSTREAM__ADDRESS', 'unix:/run/m.sock', (c) => c.upstream.address.path, '/run/m.sock'],
    ['POSTERN_UPSTREAM__USERNAME', '{agent_id}', (c) => c.upstream.username, '{agent_id}'],
    ['POSTERN_UPSTREAM__PASSWORD', '0815', (c) => c.upstream.password, '0815'],
    ['POSTERN_LIMITS__CONNECT_BYTES', '20KiB', (c) => c.limits.connectBytes, 20_480],
    ['POSTERN_LIMITS__CONNECT_BYTES', '20480', (c) => c.limits.connectBytes, 20_480],
    ['POSTERN_LIMITS__CONNECTIONS', '7', (c) => c.limits.connections, 7],
    ['POSTERN_DENIAL__PUBLISH_QOS0', 'disconnect', (c) => c.denial.publishQos0, 'disconnect'],
    ['POSTERN_DENIAL__HIDE_TOPICS', 'true', (c) => c.denial.hideTopics, true],
    ['POSTERN_ISSUERS__0__ISSUER', 'https://b.example', (c) => c.issuers[0]!.issuer, 'https://b.example'],
    ['POSTERN_ISSUERS__0__ALGORITHMS', '[ES384]', (c) => c.issuers[0]!.algorithms, ['ES384']],
    [
      'POSTERN_ISSUERS__0__CLAIMS__ATTRIBUTES',
      '{team: grp}',
      (c) => c.issuers[0]!.claims.attributes,
      { team: 'grp' },
    ],
    ['POSTERN_AUDIENCE', 'x', (c) => c.issuers[0]!.audience, ['x']],
    ['POSTERN_AUDIENCE', '[x, y]', (c) => c.issuers[0]!.audience, ['x', 'y']],
    ['POSTERN_LISTENERS__1__ADDRESS', '127.0.0.1:0', (c) => c.listeners.length, 2],
    ['POSTERN_ADMIN', 'off', (c) => c.admin, undefined],
    ['POSTERN_ADMIN__ADDRESS', '127.0.0.1:0', (c) => c.admin?.address.port, 0],
    ['POSTERN_INSTANCE', '', (c) => c.instance, 'postern'],
  ])('%s=%s', (name, value, pick, expected) => {
    expect(pick(load(MINIMAL, { [name]: value }))).toEqual(expected)
  })

  it('can hold everything, over an empty file', () => {
    const config = load('', {
      POSTERN_LISTENERS__0__ADDRESS: '127.0.0.1:1883',
      POSTERN_UPSTREAM__ADDRESS: '127.0.0.1:1884',
      POSTERN_AUDIENCE: 'https://mqtt.example',
      POSTERN_ISSUERS__0__ISSUER: 'https://id.example',
      POSTERN_ISSUERS__0__JWKS__FILE: 'keys.json',
      POSTERN_POLICY__FILE: 'policy.yaml',
      POSTERN_AUDIT__FILE: '../log/audit.jsonl',
    })
    expect(config).toEqual(load(MINIMAL))
  })

  it.each([
    ['POSTERN_LIMITS__CONECTIONS', 'Did you mean POSTERN_LIMITS__CONNECTIONS?'],
    ['POSTERN_UPSTREAM_ADDRESS', 'Two underscores'],
    ['POSTERN_ISSUERS__3__ISSUER', 'The list has 1 entries'],
    ['POSTERN_ISSUERS__FIRST__ISSUER', '`issuers` has no such key'],
    ['POSTERN_ISSUERS__0__OWNERS__SCOUT', '`issuers.0.owners` has no such key'],
    ['POSTERN_', 'Two underscores'],
    ['POSTERN___PROTO__', 'Two underscores'],
  ])('an unknown variable is a problem: %s', (name, message) => {
    expect(loaded(MINIMAL, { [name]: 'alice' })).toMatchObject({
      problems: [{ file: 'environment', path: '', message: expect.stringContaining(message) }],
    })
  })

  it('is named when its value is wrong', () => {
    expect(loaded(MINIMAL, { POSTERN_ISSUERS__0__LEEWAY: '2h' })).toMatchObject({
      problems: [
        {
          file: 'environment',
          path: 'issuers[0].leeway',
          message: 'POSTERN_ISSUERS__0__LEEWAY: Write a value from `0s` to `60s`.',
        },
      ],
    })
  })

  it('leaves alone what the command reads and what Kubernetes puts beside a service of this name', () => {
    const env = {
      POSTERN_CONFIG: '/etc/x.yaml',
      POSTERN_SERVICE_HOST: '10.0.0.1',
      POSTERN_SERVICE_PORT_MQTT: '1883',
      POSTERN_PORT: 'tcp://10.0.0.1:1883',
      POSTERN_PORT_1883_TCP_ADDR: '10.0.0.1',
      POSTERN_ADMIN_SERVICE_HOST: '10.0.0.2',
      POSTERNX: '1',
      PATH: '/bin',
    }
    expect(load(MINIMAL, env)).toEqual(load(MINIMAL))
  })
})

describe('warnings', () => {
  it.each([
    ['clientId: { binding: any }', 'clientId.binding', 'take over any session'],
    ['clientId: { binding: prefix, separator: "_" }', 'clientId.binding', '`_`'],
    ['policy: { file: p, userLayer: none }', 'policy.userLayer', 'its human may not'],
    ['denial: { overlappingDeny: filter }', 'denial.overlappingDeny', 'at delivery'],
    ['denial: { delivery: disconnect }', 'denial.delivery', 'end that agent'],
    ['sessions: { delegated: resume }', 'sessions.delegated', 'outlives'],
    ['sessions: { delegated: resume }', 'sessions.delegated', 'Two humans of one agent'],
    [
      'issuers: [{ issuer: i, jwks: { file: k }, claims: { tenant: org_id } }]',
      'issuers[0].claims.tenant',
      'two tenants',
    ],
    ['sessions: { unknownRelease: forward }', 'sessions.unknownRelease', 'no policy'],
    ['audit: { file: a, onFailure: continue }', 'audit.onFailure', 'no trace'],
    ['token: { fromUsername: true }', 'token.fromUsername', 'Password'],
    ['admin: off', 'admin', 'No metrics'],
    ['admin: { address: 0.0.0.0:9464 }', 'admin.address', 'metrics'],
    ['listeners: [{ address: 0.0.0.0:1883 }]', 'listeners[0].address', 'clear text'],
    ['upstream: { address: broker:1, username: u }', 'upstream.address', 'clear text'],
    ['upstream: { address: localhost:1884 }', 'upstream', 'No `username`'],
    ['upstream: { address: localhost:1884, password: p }', 'upstream.password', 'passwordFile'],
    ['issuers: [{ issuer: i, jwks: { file: k }, legacyTyp: true }]', 'issuers[0].legacyTyp', 'ID tokens'],
    ['issuers: [{ issuer: i, jwks: { file: k }, maxLifetime: 2h }]', 'issuers[0].maxLifetime', 'stolen'],
    ['issuers: [{ issuer: i, jwks: { file: k }, ceilings: [] }]', 'issuers[0].ceilings', 'limits itself'],
    [
      'issuers: [{ issuer: i, jwks: { file: k }, requireClientId: false }]',
      'issuers[0].requireClientId',
      'client',
    ],
  ])('%s', (line, path, message) => {
    const base = [
      'listeners: [{ address: 127.0.0.1:1883 }]',
      'upstream: { address: 127.0.0.1:1884, username: postern }',
      'audience: a',
      'issuers: [{ issuer: i, jwks: { file: k } }]',
      'policy: { file: p }',
      'audit: { file: a }',
    ]
    const key = line.slice(0, line.indexOf(':') + 1)
    const text = [...base.filter((other) => !other.startsWith(key)), line].join('\n')
    const result = loaded(text)
    expect(result).toMatchObject({
      warnings: [{ file: '/etc/postern/postern.yaml', path, message: expect.stringContaining(message) }],
    })
  })

  it('are none for the defaults with a credential for the broker', () => {
    expect(loaded(MINIMAL.replace('1884 }', '1884, username: postern }'))).toMatchObject({ warnings: [] })
  })
})

describe('the effective configuration', () => {
  it.each([
    MINIMAL,
    `${MINIMAL}admin: off\nclientId: { binding: prefix, separator: "::" }\n`,
    MINIMAL.replace('jwks:', 'claims: { attributes: { address: a, timeout: "5" } }\n    jwks:'),
    MINIMAL.replace('jwks:', 'mapping: self\n    owners: { "1": x, maxBytes: y }\n    jwks:'),
    MINIMAL.replace('127.0.0.1:1884', 'unix:/run/m.sock').replace('127.0.0.1:1883', '"[::1]:1883"'),
  ])('loads to the same configuration', (text) => {
    expect(load(describeConfig(load(text)))).toEqual(load(text))
  })
})

it('never throws, whatever the file and the environment hold', () => {
  const key = fc.constantFrom(
    'listeners',
    'upstream',
    'issuers',
    'admin',
    'address',
    'jwks',
    'limits',
    '__proto__',
    'x',
  )
  const { tree } = fc.letrec((tie) => ({
    leaf: fc.oneof(fc.string(), fc.integer(), fc.double(), fc.boolean(), fc.constant(null)),
    tree: fc.oneof(
      { maxDepth: 4, withCrossShrink: true },
      tie('leaf'),
      fc.array(tie('tree'), { maxLength: 3 }),
      fc.array(fc.tuple(key, tie('tree')), { maxLength: 4 }).map((pairs) => Object.fromEntries(pairs)),
    ),
  }))
  const text = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.string({ unit: fc.constantFrom(...'{}[]:,-&*!|>"\'#%@? \n\tab1') }),
    tree.map((value) => JSON.stringify(value)),
    tree.map((value) => stringify(value)),
    fc
      .tuple(fc.nat({ max: MINIMAL.length }), fc.string())
      .map(([at, s]) => MINIMAL.slice(0, at) + s + MINIMAL.slice(at)),
  )
  const name = fc
    .array(fc.constantFrom('UPSTREAM', 'ADDRESS', 'ISSUERS', '0', '1', 'ADMIN', '_', '', 'LIMITS'), {
      maxLength: 4,
    })
    .map((parts) => `POSTERN_${parts.join('__')}`)
  fc.assert(
    fc.property(text, fc.dictionary(name, fc.string()), (source, env) => {
      const result = loaded(source, env)
      if ('problems' in result) expect(result.problems.length).toBeGreaterThan(0)
      for (const problem of 'problems' in result ? result.problems : []) {
        expect(problem.file === 'environment' || problem.line! >= 1).toBe(true)
        expect(problem.message).not.toBe('')
      }
    }),
    { numRuns: 1000 },
  )
})

it('names the files of a broken configuration, so that their problems can be told of too', () => {
  const broken = `${MINIMAL}limits: { conections: 5 }\n`
  expect(loaded(broken)).toMatchObject({
    files: {
      policy: '/etc/postern/policy.yaml',
      keys: [{ path: '/etc/postern/keys.json', algorithms: ['ES256', 'Ed25519'], maxBytes: 1_048_576 }],
    },
  })
  expect(loaded('policy: [a]\nissuers: 7\n')).toMatchObject({ files: { policy: undefined, keys: [] } })
  expect(loaded('}')).toMatchObject({ files: { policy: undefined, keys: [] } })
})
