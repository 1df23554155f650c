// The section `grants`: what it becomes, and what contradicts what.
import { expect, test } from 'vitest'
import { describeConfig } from '../../src/config/effective.ts'
import { loadConfig } from '../../src/config/load.ts'

const base = {
  listeners: [{ address: '127.0.0.1:0' }],
  upstream: { address: '127.0.0.1:1883' },
  audience: 'aud',
  issuers: [{ issuer: 'https://id.test', jwks: { file: 'keys.json' } }],
  policy: { file: 'policy.yaml' },
  audit: { file: 'audit.jsonl' },
}
const grants = (changes: object = {}, issuer: object = {}) => ({
  file: 'grants.jsonl',
  issuers: [{ issuer: 'https://id.test', ...issuer }],
  ...changes,
})
const load = (sections: object) => loadConfig(JSON.stringify({ ...base, ...sections }), '/etc/p.json', {})
const problems = (sections: object): string[] => {
  const loaded = load(sections)
  return 'problems' in loaded ? loaded.problems.map(({ path, message }) => `${path}: ${message}`) : []
}

test('off by default; one issuer is enough, with the keys of the token issuer of its name', () => {
  const off = load({})
  expect('config' in off && off.config.grants).toBeUndefined()
  const loaded = load({ grants: grants() })
  if ('problems' in loaded) throw new Error(loaded.problems[0]!.message)
  expect(loaded.config.grants).toMatchObject({
    file: '/etc/grants.jsonl',
    property: 'postern-grant',
    topic: '$postern/grant',
    maxLifetime: 300_000,
    maxBytes: 8192,
    maxPayload: 65_536,
    issuers: [{ issuer: 'https://id.test', subjects: 'https://id.test', audience: ['aud'], leeway: 30_000 }],
  })
})

test.each([
  { grants: grants() },
  {
    grants: grants(
      { property: 'off', maxPayload: '1KiB', maxLifetime: '1m' },
      { subjects: 'https://x.test' },
    ),
  },
  { grants: grants({ file: undefined, topic: 'off' }), store: { url: 'redis://127.0.0.1:6379' } },
])('what `check` prints loads to the same: %j', (sections) => {
  const loaded = load(sections)
  if ('problems' in loaded) throw new Error(loaded.problems[0]!.message)
  const again = loadConfig(describeConfig(loaded.config), '/etc/p.json', {})
  expect('config' in again && again.config.grants).toEqual(loaded.config.grants)
})

test.each<[string, object, string]>([
  ['no issuer', { grants: { file: 'g' } }, 'grants.issuers: Missing. Write a list of issuers'],
  [
    'longer than five minutes',
    { grants: grants({ maxLifetime: '6m' }) },
    'grants.maxLifetime: Write a value',
  ],
  ['nowhere to count', { grants: grants({ file: undefined }) }, 'grants.file: Missing.'],
  [
    'two places to count',
    { grants: grants(), store: { url: 'redis://127.0.0.1:6379' } },
    'grants.file: The `store` counts',
  ],
  ['the audit log', { grants: grants({ file: 'audit.jsonl' }) }, 'grants.file: This is `audit.file`'],
  ['no keys', { grants: grants({}, { issuer: 'https://b.test' }) }, 'grants.issuers[0].jwks: Missing.'],
  [
    'keys on the way',
    { grants: grants({}, { jwks: { url: 'http://b.test/' } }) },
    'grants.issuers[0].jwks.url: Whoever sits on the way',
  ],
  ['no audience', { audience: undefined, grants: grants() }, 'grants.issuers[0].audience: Missing.'],
  ['the token topic', { grants: grants({ topic: '$postern/token' }) }, 'grants.topic: This is `token.topic`'],
  [
    'the token’s property',
    { grants: grants(), delegation: { property: 'postern-grant' } },
    'grants.property: This is `delegation.property`',
  ],
  ['no way in', { grants: grants({ property: 'off', topic: 'off' }) }, 'grants.topic: With `property: off`'],
])('%s is a problem', (_, sections, expected) => {
  expect(problems(sections).find((problem) => problem.startsWith(expected.split(':')[0]!))).toContain(
    expected,
  )
})
