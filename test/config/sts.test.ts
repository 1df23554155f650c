import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { loadStsConfig } from '../../src/config/sts-load.ts'

const GOOD = readFileSync('deploy/examples/sts.yaml', 'utf8')
const FILE = '/etc/postern/sts.yaml'

function problemsOf(text: string): string[] {
  const result = loadStsConfig(text, FILE)
  return 'problems' in result ? result.problems.map(({ path, message }) => `${path}: ${message}`) : []
}

it('fills in every default, and absolute paths', () => {
  const result = loadStsConfig(GOOD, FILE)
  expect(result).toMatchObject({
    warnings: [],
    config: {
      keysFile: '/etc/postern/sts-keys.json',
      providers: [{ maxLifetime: 600_000, subjectPrefix: '', subjectClaim: 'sub' }],
      clients: [
        {
          agent: { iss: 'https://sts.example.com', sub: 'scout' },
          jwks: { file: '/etc/postern/scout-client.jwks.json' },
          providers: ['https://idp.example.com'],
        },
        { secretFile: '/etc/postern/operator-client.secret', scopes: [] },
      ],
      limits: { failedTries: 20 },
    },
  })
})

describe('one mistake, one sentence', () => {
  it.each([
    ['issuer: https://sts.example.com ', 'issuer: https://sts.example.com/a ', 'issuer: Write `https://`'],
    ['issuer: https://sts.example.com ', 'issuer: http://sts.example.com ', 'issuer: Write `https://`'],
    ['authz-grant-05', 'authz-grant-04', 'profile: Write one of'],
    ['profile:', 'profil:', 'profil: There is no such key. Did you mean `profile`?'],
    ['lifetime: 5m', 'lifetime: 16m', 'token.lifetime: Write a value from `10s` to `15m`'],
    ['[RS256]', '[HS256]', 'providers[0].algorithms[0]: Remove it'],
    ['scopes: [cards]', 'scopes: [mail]', 'clients[0].scopes: One of these is not among `scopes`'],
    ['id: operator-client', 'id: scout-client', 'clients[1].id: Another client'],
    ['    secretFile', '    jwks: { file: a }\n    secretFile', 'clients[1].jwks: Write how'],
    ['agents/+/card', 'agents/#/card', 'scopes: Write names with lists'],
    ['[sub]]', '[subscribe]]', 'scopes: Write names with lists'],
    ['https://idp.example.com/.w', 'http://idp.example.com/.w', 'providers[0].jwks.url: Whoever'],
    ['sts-used.jsonl', 'sts-keys.json', 'replayFile: Give'],
    [
      'clients:',
      '  - { issuer: https://b.example, jwks: { file: b.json }, subjectPrefix: "b:" }\nclients:',
      'providers[0].subjectPrefix: People of `providers[1]`',
    ],
    [
      'clients:',
      '  - { issuer: https://b.example, jwks: { file: b.json }, subjectPrefix: "b:", tenantClaim: t }\nclients:',
      'providers[1].tenants: Missing.',
    ],
  ])('%j to %j', (from, to, expected) => {
    expect(GOOD).toContain(from)
    const problems = problemsOf(GOOD.replace(from, to))
    expect(problems.filter((problem) => problem.startsWith(expected))).toHaveLength(1)
  })
})

it('warns of secrets in clear text', () => {
  const result = loadStsConfig(GOOD.replace('127.0.0.1:9465', '0.0.0.0:9465'), FILE)
  expect(result).toMatchObject({ warnings: [{ path: 'address' }] })
})
