// What a worker is told of the configuration.
import { expect, it } from 'vitest'
import { loadConfig } from '../../src/config/load.ts'
import { parseConfig, workerConfig, writeConfig } from '../../src/workers/worker-config.ts'

const file = {
  workers: 2,
  upstream: { address: '127.0.0.1:1884' },
  audience: 'x',
  issuers: [{ issuer: 'https://i.test', jwks: { file: 'k' }, mapping: 'self', owners: { scout: 'alice' } }],
  policy: { file: 'p' },
  audit: { file: 'audit.jsonl', checkpoints: { keyFile: 'key', topic: 'audit/edge' } },
  listeners: [{ address: '127.0.0.1:0' }],
}

function load(changes: object = {}) {
  return loadConfig(JSON.stringify({ ...file, ...changes }), '/etc/postern/postern.json', {})
}

it('each worker has a log, a name and a checkpoint topic of its own, and no admin endpoint', () => {
  const loaded = load()
  if ('problems' in loaded) throw new Error(JSON.stringify(loaded.problems))
  const own = workerConfig(loaded.config, 'w2')
  expect(own.instance).toBe('postern.w2')
  expect(own.audit.file).toBe('/etc/postern/audit.jsonl.w2')
  expect(own.audit.checkpoints.topic).toBe('audit/edge/w2')
  expect(own.admin).toBeUndefined()
})

it('names that come from a token find nothing that JavaScript has put there', () => {
  const loaded = load()
  if ('problems' in loaded) throw new Error(JSON.stringify(loaded.problems))
  const { issuers } = parseConfig(writeConfig(loaded.config))
  const { owners } = issuers[0]!
  expect(owners['scout']).toBe('alice')
  for (const name of ['__proto__', 'constructor', 'toString']) expect(owners[name]).toBeUndefined()
  expect(parseConfig(writeConfig(loaded.config))).toEqual(JSON.parse(JSON.stringify(loaded.config)))
})

it('one chain on standard output is refused', () => {
  const loaded = load({ audit: { file: '-' } })
  expect('problems' in loaded && loaded.problems.map(({ path }) => path)).toEqual(['audit.file'])
  expect(load({ workers: 1, audit: { file: '-' } })).not.toHaveProperty('problems')
})
