import { describe, expect, it } from 'vitest'
import { loadConfig } from '../../src/config/load.ts'

const GOOD = `listeners:
  - address: 127.0.0.1:1883
upstream:
  address: 127.0.0.1:1884
audience: https://mqtt.example
issuers:
  - issuer: https://id.example
    jwks:
      url: https://id.example/jwks
policy:
  file: policy.yaml
audit:
  file: audit.log
`

function problemsOf(text: string, env: Record<string, string> = {}) {
  const result = loadConfig(text, '/etc/postern/postern.yaml', env, () => {
    throw Object.assign(new Error('no'), { code: 'ENOENT' })
  })
  return 'problems' in result ? result.problems : []
}

it('finds nothing wrong with the file that the rows below spoil', () => {
  expect(problemsOf(GOOD)).toEqual([])
})

/** Replaces the first `from` (or appends, when it is empty). */
function spoil(from: string, to: string): string {
  if (from === '') return GOOD + to
  expect(GOOD).toContain(from)
  return GOOD.replace(from, to)
}

describe('one mistake, one sentence: where it is and what to write', () => {
  const ISSUER = '  - issuer: https://id.example\n'
  const URL = 'url: https://id.example/jwks'
  it.each([
    // names
    ['upstream:\n', 'upstream:\n  adress: x\n', 'upstream.adress', 4, 'Did you mean `address`?'],
    ['', 'limits:\n  connect_bytes: 1KiB\n', 'limits.connect_bytes', 15, 'Did you mean `connectBytes`?'],
    ['', 'publishQos0: drop\n', 'publishQos0', 14, 'Did you mean `denial.publishQos0`?'],
    ['', 'zzz: 1\n', 'zzz', 14, 'Known here: instance, listeners'],
    ['', '__proto__: {instance: x}\n', '__proto__', 14, 'There is no such key'],
    ['', 'audit:\n  file: x\n', '', 14, 'second time'],
    // types and ranges
    ['127.0.0.1:1884', ':1884', 'upstream.address', 4, 'Name the host'],
    ['127.0.0.1:1884', '127.0.0.1:0', 'upstream.address', 4, '0 is for listeners only'],
    ['  address: 127.0.0.1:1884\n', '  username: x\n', 'upstream.address', 3, 'Missing. Write an address'],
    ['upstream:\n', 'upstream:\n  username: {agent_id}\n', 'upstream.username', 4, 'in quotes'],
    ['upstream:\n', 'upstream:\n  username: 12\n', 'upstream.username', 4, 'in quotes'],
    ['upstream:\n', 'upstream:\n  connectTimeout: 5\n', 'upstream.connectTimeout', 4, '`5s`'],
    ['', 'limits:\n', 'limits', 14, 'Empty.'],
    ['', 'limits:\n  connections: 0\n', 'limits.connections', 15, 'from 1 to 1000000'],
    ['', 'limits:\n  connections: many\n', 'limits.connections', 15, 'whole number'],
    ['', 'limits:\n  packetBytes: 256MB\n', 'limits.packetBytes', 15, '`16KiB`'],
    ['', 'limits:\n  packetBytes: 1GiB\n', 'limits.packetBytes', 15, 'to `268435460`'],
    ['', 'instance: ""\n', 'instance', 14, 'Write a name as text'],
    ['', 'log:\n  level: verbose\n', 'log.level', 15, '`debug`'],
    ['', 'denial:\n  hideTopics: "yes"\n', 'denial.hideTopics', 15, '`true` or `false`'],
    ['', 'admin: on\n', 'admin', 14, 'Write `off`'],
    ['', 'admin:\n  address: 9464\n', 'admin.address', 15, '127.0.0.1:9464'],
    ['', 'token:\n  methods: OAUTH2-JWT\n', 'token.methods', 15, 'list'],
    ['', 'clientId: exact\n', 'clientId', 14, 'section'],
    ['issuers:\n', 'issuers: []\nx:\n', 'issuers', 6, 'at least one issuer'],
    ['  - address: 127.0.0.1:1883\n', '  address: 127.0.0.1:1883\n', 'listeners', 1, 'list of listeners'],
    // store
    ['', 'store:\n  prefix: "p:"\n', 'store.url', 14, 'either `url: redis://…` or `urlFile`'],
    ['', 'store:\n  url: redis://s\n  urlFile: u\n', 'store.url', 15, 'either'],
    ['', 'store:\n  url: https://s\n', 'store.url', 15, 'a whole address, such as `redis://'],
    ['', 'store:\n  url: redis://:secret@s\n', 'store.url', 15, 'write `passwordFile`'],
    ['', 'store:\n  url: redis://s\n  tls: {}\n', 'store.tls', 16, 'write `rediss://`'],
    [
      '',
      'store:\n  url: rediss://s\n  tls: { certFile: c }\n',
      'store.tls.keyFile',
      16,
      'needs both `certFile` and `keyFile`',
    ],
    ['', 'store:\n  url: redis://s\n  prefix: "a b"\n', 'store.prefix', 16, 'without blanks'],
    // what an issuer says later
    [
      ISSUER,
      `${ISSUER}    statusList: { uris: "https://id.example/" }\n`,
      'issuers[0].statusList.draft',
      8,
      'Missing',
    ],
    [
      ISSUER,
      `${ISSUER}    statusList: { draft: draft-ietf-oauth-status-list-21, uris: "https://id.example" }\n`,
      'issuers[0].statusList.uris',
      8,
      'up to a `/`',
    ],
    [
      ISSUER,
      `${ISSUER}    statusList: { draft: draft-ietf-oauth-status-list-21, uris: "http://id.example/" }\n`,
      'issuers[0].statusList.uris',
      8,
      'write `https://`',
    ],
    [
      ISSUER,
      `${ISSUER}    introspection: { url: "http://id.example/i", clientId: p, secretFile: s }\n`,
      'issuers[0].introspection.url',
      8,
      'write `https://`',
    ],
    // issuers
    [ISSUER, `${ISSUER}    algorithms: [none]\n`, 'issuers[0].algorithms[0]', 8, 'never accepted'],
    [ISSUER, `${ISSUER}    algorithms: [ES256, HS256]\n`, 'issuers[0].algorithms[1]', 8, 'never accepted'],
    [ISSUER, `${ISSUER}    algorithms: [es256]\n`, 'issuers[0].algorithms[0]', 8, '`ES256`'],
    [ISSUER, `${ISSUER}    algorithms: []\n`, 'issuers[0].algorithms', 8, 'at least one'],
    [ISSUER, `${ISSUER}    leeway: 5m\n`, 'issuers[0].leeway', 8, 'to `60s`'],
    [ISSUER, `${ISSUER}    maxLifetime: 20s\n`, 'issuers[0].maxLifetime', 8, 'below `leeway`'],
    [ISSUER, `${ISSUER}    mapping: self\n`, 'issuers[0].owners', 7, 'who answers for each agent'],
    [ISSUER, `${ISSUER}    owners: {scout: alice}\n`, 'issuers[0].owners', 8, 'Only `mapping: self`'],
    [
      ISSUER,
      `${ISSUER}    mapping: kubernetes\n    owners: {a: b}\n`,
      'issuers[0].kubernetes',
      7,
      'write both, or neither',
    ],
    [
      ISSUER,
      `${ISSUER}    mapping: kubernetes\n    kubernetes: {agents: [{namespace: a, serviceAccount: b, agent: c}]}\n`,
      'issuers[0].owners',
      7,
      'who answers for each agent',
    ],
    [
      ISSUER,
      `${ISSUER}    spiffe: {trustDomain: a.example, paths: ["/sa/{agent_id}"]}\n`,
      'issuers[0].spiffe',
      8,
      'write both, or neither',
    ],
    [
      ISSUER,
      `${ISSUER}    mapping: spiffe\n    owners: {a: b}\n    spiffe: {trustDomain: "spiffe://a", paths: ["/sa/{agent_id}"]}\n`,
      'issuers[0].spiffe.trustDomain',
      10,
      'without `spiffe://`',
    ],
    [
      ISSUER,
      `${ISSUER}    mapping: spiffe\n    owners: {a: b}\n    spiffe: {trustDomain: a, paths: ["/sa/x-{agent_id}"]}\n`,
      'issuers[0].spiffe.paths[0]',
      10,
      'one whole segment',
    ],
    [
      ISSUER,
      `${ISSUER}    mapping: spiffe\n    owners: {a: b}\n    claims: {tenant: t}\n    spiffe: {trustDomain: a, paths: ["/sa/{agent_id}"]}\n`,
      'issuers[0].claims.tenant',
      10,
      'name everybody',
    ],
    [URL, `${URL}\n      use: jwt-svid`, 'issuers[0].jwks.use', 10, 'write `mapping: spiffe`'],
    [
      ISSUER,
      `${ISSUER}    ceilings: []\n    missingCeiling: deny\n`,
      'issuers[0].missingCeiling',
      9,
      '`none`',
    ],
    [
      ISSUER,
      `${ISSUER}    claims: {attributes: {agent_id: x}}\n`,
      'issuers[0].claims.attributes',
      8,
      'set by Postern',
    ],
    [
      ISSUER,
      `${ISSUER}    claims: {attributes: {__proto__: x}}\n`,
      'issuers[0].claims.attributes',
      8,
      'letters',
    ],
    ['audience: https://mqtt.example\n', '', 'issuers[0].audience', 6, 'Missing. Write the audience'],
    ['audience: https://mqtt.example', 'audience: []', 'audience', 5, 'one text, or a list'],
    [`      ${URL}\n`, '      timeout: 1s\n', 'issuers[0].jwks', 8, '`file: keys.json`'],
    [URL, `${URL}\n      file: keys.json`, 'issuers[0].jwks.file', 10, 'keep one'],
    [URL, 'url: http://id.example/jwks', 'issuers[0].jwks.url', 9, 'write `https://`'],
    [URL, 'url: http://localhost.example/jwks', 'issuers[0].jwks.url', 9, 'write `https://`'],
    [URL, 'url: ftp://id.example/jwks', 'issuers[0].jwks.url', 9, 'whole address'],
    [URL, 'url: keys.json', 'issuers[0].jwks.url', 9, 'for a file use `file`'],
    [URL, 'url: https://u@id.example/jwks', 'issuers[0].jwks.url', 9, 'Leave out the user name'],
    [URL, 'url: https://:p@id.example/jwks', 'issuers[0].jwks.url', 9, 'Leave out the user name'],
    [URL, 'url: https://u:p@id.example/jwks', 'issuers[0].jwks.url', 9, 'Leave out the user name'],
    [URL, `${URL}\n      staleAge: 1m`, 'issuers[0].jwks.staleAge', 10, 'below `cacheAge`'],
    [
      'policy:\n',
      `${ISSUER}    jwks: {file: k}\npolicy:\n`,
      'issuers[1].issuer',
      10,
      '`issuers[0]` is this issuer',
    ],
    // contradictions
    ['127.0.0.1:1884', '127.0.0.1:1883', 'listeners[0].address', 2, 'connect to itself'],
    ['127.0.0.1:1884', 'localhost:1883', 'listeners[0].address', 2, 'connect to itself'],
    ['- address: 127.0.0.1:1883', '- address: 0.0.0.0:1884', 'listeners[0].address', 2, 'connect to itself'],
    ['', 'admin: {address: 127.0.0.1:1883}\n', 'admin.address', 14, 'port of its own'],
    ['', 'admin: {address: "[::]:1883"}\n', 'admin.address', 14, 'port of its own'],
    [
      'upstream:\n',
      '  - address: 127.0.0.1:1883\nupstream:\n',
      'listeners[1].address',
      3,
      'has this address already',
    ],
    [
      '  - address: 127.0.0.1:1883\n',
      '  - {name: a, address: 127.0.0.1:1}\n  - {name: a, address: 127.0.0.1:2}\n',
      'listeners[1].name',
      3,
      'has this name already',
    ],
    ['upstream:\n', 'upstream:\n  username: "{agent}"\n', 'upstream.username', 4, '`{agent_id}`'],
    ['upstream:\n', 'upstream:\n  username: "{agent_id"\n', 'upstream.username', 4, 'not closed'],
    ['upstream:\n', 'upstream:\n  passwordFile: p\n', 'upstream.passwordFile', 4, 'cannot be read (ENOENT)'],
    ['', 'proof: {aceKeysFile: k.json}\n', 'proof.aceKeysFile', 14, 'write `ace: true`'],
    ['', 'proof: {ace: true}\ntoken: {methods: [ace]}\n', 'token.methods', 15, 'another name'],
    [
      '',
      'proof: {dpop: draft-nandakumar-moq-generic-dpop-proof-00, method: OAUTH2-JWT}\n',
      'proof.method',
      14,
      'a name of its own',
    ],
    ['', 'clientId: {binding: any, separator: "-"}\n', 'clientId.separator', 14, 'Only `binding: prefix`'],
    ['', 'clientId: {binding: prefix, separator: "/"}\n', 'clientId.separator', 14, 'without blanks, `/`'],
    ['file: audit.log', 'file: ./policy.yaml', 'audit.file', 13, 'This is `policy.file`'],
    ['file: audit.log', 'file: postern.yaml', 'audit.file', 13, 'configuration file itself'],
    ['', 'limits: {connectBytes: 4KiB}\n', 'limits.connectBytes', 14, 'lower `token.maxBytes`'],
    ['', 'limits: {packetBytes: 8KiB}\n', 'limits.packetBytes', 14, 'at least `connectBytes`'],
    // YAML itself
    ['127.0.0.1:1884', '[::1]:1884', '', 4, 'in quotes'],
    ['upstream:\n', 'upstream:\n\tx: 1\n', '', 4, ''],
    ['127.0.0.1:1884', '"127', '', 14, 'Not valid YAML: Missing closing "quote. Put'],
    ['127.0.0.1:1884', '*nowhere', '', 1, 'alias'],
  ] as const)('%j -> %j', (from, to, path, line, message) => {
    expect(problemsOf(spoil(from, to)).filter((p) => p.path !== 'x')).toEqual([
      { file: '/etc/postern/postern.yaml', line, path, message: expect.stringContaining(message) },
    ])
  })

  it('names both password keys when both are written', () => {
    const text = spoil('upstream:\n', 'upstream:\n  password: a\n  passwordFile: b\n')
    const result = loadConfig(text, 'postern.yaml', {}, () => 'secret')
    expect(result).toMatchObject({
      problems: [
        {
          file: 'postern.yaml',
          line: 4,
          path: 'upstream.password',
          message: expect.stringContaining('keep `passwordFile`'),
        },
      ],
    })
  })
})

describe('all mistakes at once', () => {
  it('reports names, types, contradictions and the environment together, in the order of the file', () => {
    const text = `listners: []
listeners:
  - address: 127.0.0.1:1883
  - address: 127.0.0.1:1883
upstream:
  address: 127.0.0.1:1884
  connectTimeout: 5
  username: "{agent}"
issuers:
  - issuer: a
    algorithms: [none]
    jwks: {url: http://id.example/, file: b}
  - issuer: a
    jwks: {}
policy: policy.yaml
audit:
  file: postern.yaml
`
    const env = { POSTERN_LIMITS__CONNECT_BYTES: '1KiB', POSTERN_TOKN__MAX_BYTES: '1' }
    const problems = loadConfig(text, 'postern.yaml', env)
    expect('problems' in problems && problems.problems.map((p) => [p.line ?? p.file, p.path])).toEqual([
      [1, 'listners'],
      [4, 'listeners[1].address'],
      [7, 'upstream.connectTimeout'],
      [8, 'upstream.username'],
      [10, 'issuers[0].audience'],
      [11, 'issuers[0].algorithms[0]'],
      [12, 'issuers[0].jwks.file'],
      [12, 'issuers[0].jwks.url'],
      [13, 'issuers[1].audience'],
      [13, 'issuers[1].issuer'],
      [14, 'issuers[1].jwks'],
      [15, 'policy'],
      [17, 'audit.file'],
      ['environment', ''],
      ['environment', 'limits.connectBytes'],
    ])
  })

  it('counts list entries as the file does, past the ones that cannot be read', () => {
    const text = spoil(
      '  - address: 127.0.0.1:1883\n',
      '  - 5\n  - address: 10.0.0.5:1883\n  - address: 0.0.0.0:1883\n',
    )
    expect(problemsOf(text).map((p) => [p.line, p.path])).toEqual([
      [2, 'listeners[0]'],
      [4, 'listeners[2].address'],
    ])
  })

  it('does not send the reader after a contradiction with a key that is wrong anyway', () => {
    const text = spoil('url: https://id.example/jwks', 'url: {}')
    expect(problemsOf(text).map((p) => p.path)).toEqual(['issuers[0].jwks.url'])
  })

  it.each(['', '# nothing\n', '{}', 'null'])(
    'asks of an empty file %j for everything that is required',
    (text) => {
      expect(
        problemsOf(text)
          .map((p) => p.path)
          .sort(),
      ).toEqual(['audit.file', 'issuers', 'listeners', 'policy.file', 'upstream.address'])
    },
  )

  it.each(['[]', '5', 'text'])('asks of %j for a section of keys', (text) => {
    expect(problemsOf(text)).toEqual([
      {
        file: '/etc/postern/postern.yaml',
        line: 1,
        path: '',
        message: expect.stringContaining('section of keys'),
      },
    ])
  })
})

describe('a listener whose agents bring no credential', () => {
  const at = (settings: string, address = '127.0.0.1:1883'): string =>
    spoil('  - address: 127.0.0.1:1883\n', `  - { address: ${address}, ${settings} }\n`)
  const FILE = 'credentials: broker, credentialSource: { tokenFile: t }'
  const endpoint = (keys: string): string =>
    `credentials: broker, credentialSource: { tokenEndpoint: { clientId: c, ${keys} } }`
  const URL = 'url: "https://sts.example/token"'

  it.each([
    [at(FILE)],
    [at(FILE, 'unix:/run/agent.sock')],
    [at(FILE.replace('t }', 't, allowRemote: true }'), '0.0.0.0:1883')],
    [at(endpoint(`${URL}, assertionFile: a, clientSecretFile: s`))],
    [at(endpoint(`${URL}, grant: client_credentials, clientKeyFile: k, audience: "https://sts.example"`))],
  ])('DEL-14 good: %j', (text) => {
    expect(problemsOf(text)).toEqual([])
  })

  const SOURCE = 'listeners[0].credentialSource'
  it.each([
    [at(FILE, '0.0.0.0:1883'), 'listeners[0].address', 'loopback or a Unix socket'],
    [at(`${FILE}, proxyProtocolFrom: [10.0.0.0/8]`), 'listeners[0].address', 'loopback or a Unix socket'],
    [`${at(FILE)}workers: 2\n`, SOURCE, 'write `workers: 1`'],
    [at('credentials: broker'), SOURCE, 'go together'],
    [at('credentialSource: { tokenFile: t }'), SOURCE, 'go together'],
    [at('credentials: broker, credentialSource: {}'), SOURCE, 'either `tokenFile` or `tokenEndpoint`'],
    [at(endpoint(`${URL}, clientSecretFile: s`)), `${SOURCE}.tokenEndpoint.assertionFile`, 'go together'],
    [
      at(endpoint(`${URL}, grant: client_credentials, assertionFile: a, clientSecretFile: s`)),
      `${SOURCE}.tokenEndpoint.assertionFile`,
      'go together',
    ],
    [at(endpoint(`${URL}, assertionFile: a`)), `${SOURCE}.tokenEndpoint.clientKeyFile`, 'Write either'],
    [
      at(endpoint(`${URL}, assertionFile: a, clientKeyFile: k`)),
      `${SOURCE}.tokenEndpoint.audience`,
      'go together',
    ],
    [
      at(endpoint('url: "http://sts.example/token", assertionFile: a, clientSecretFile: s')),
      `${SOURCE}.tokenEndpoint.url`,
      'could read the token',
    ],
  ])('DEL-14 %j', (text, path, sentence) => {
    expect(problemsOf(text)).toEqual([
      expect.objectContaining({ path, message: expect.stringContaining(sentence) }),
    ])
  })
})
