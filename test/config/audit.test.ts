// The section `audit`: what its keys say to one another.
import { describe, expect, it } from 'vitest'
import { loadConfig } from '../../src/config/load.ts'

const REST = `
listeners: [{ address: 127.0.0.1:1883 }]
upstream: { address: 127.0.0.1:1884 }
issuers: [{ issuer: https://id.example, audience: x, jwks: { file: keys.json } }]
policy: { file: policy.yaml }
`

function load(audit: object) {
  return loadConfig(`${REST}audit: ${JSON.stringify(audit)}\n`, '/etc/postern/postern.yaml', {})
}

function problems(audit: object): [string, string][] {
  const loaded = load(audit)
  return 'problems' in loaded ? loaded.problems.map(({ path, message }) => [path, message]) : []
}

const file = 'a.jsonl'

describe('audit', () => {
  it.each<[object, string, string]>([
    [{ file, payloadDigest: 'hmac' }, 'audit.digestKeyFile', 'keygen --digest'],
    [{ file, subjects: 'hmac' }, 'audit.digestKeyFile', 'keygen --digest'],
    [{ file, digestKeyFile: 'k' }, 'audit.digestKeyFile', 'Nothing uses it'],
    [{ file, digestKeyFile: 'a.jsonl', subjects: 'hmac' }, 'audit.file', 'This is `audit.digestKeyFile`'],
    [{ file, checkpoints: { keyFile: './a.jsonl' } }, 'audit.file', 'This is `audit.checkpoints.keyFile`'],
    [{ file, checkpoints: { stdout: true } }, 'audit.checkpoints.keyFile', '`stdout`'],
    [{ file, checkpoints: { url: 'https://x.example' } }, 'audit.checkpoints.keyFile', '`url`'],
    [
      { file, checkpoints: { keyFile: 'k', url: 'http://x.example' } },
      'audit.checkpoints.url',
      'loopback only',
    ],
    [{ file, checkpoints: { keyFile: 'k', url: 'x.example' } }, 'audit.checkpoints.url', 'whole address'],
    [
      { file, checkpoints: { keyFile: 'k', url: 'https://a:b@x.example' } },
      'audit.checkpoints.url',
      'user name',
    ],
    [{ file, checkpoints: { keyFile: 'k', topic: 'a/+' } }, 'audit.checkpoints.topic', 'plain topic'],
    [{ file, copies: { otlp: 'http://x.example/v1/logs' } }, 'audit.copies.otlp', 'loopback only'],
    [{ file, copies: { topic: '#' } }, 'audit.copies.topic', 'plain topic'],
    [{ file, copies: { syslog: 'logs.example:514' } }, 'audit.copies.syslog', 'tls://logs.example:6514'],
    [
      { file, copies: { syslog: 'http://logs.example' } },
      'audit.copies.syslog',
      '`udp://`, `tcp://` or `tls://`',
    ],
    [{ file, copies: { syslog: 'udp://me@logs.example' } }, 'audit.copies.syslog', '`udp://`'],
    [{ file: '-', durability: 'write-ahead' }, 'audit.durability', 'no disk'],
    [{ file: '-', copies: { stdout: true } }, 'audit.copies.stdout', 'already'],
    [{ file, durability: 'sync' }, 'audit.durability', '`write-ahead`'],
    [{ file, segments: { maxBytes: '1KiB' } }, 'audit.segments.maxBytes', '`64KiB`'],
  ])('%j: one problem, at %s', (audit, path, message) => {
    expect(problems(audit)).toEqual([[path, expect.stringContaining(message)]])
  })

  it('paths are absolute, and `-` stays', () => {
    const audit = {
      file: '-',
      payloadDigest: 'hmac',
      digestKeyFile: 'digest.key',
      checkpoints: { keyFile: 'signer.key', url: 'http://127.0.0.1:1/hook' },
    }
    expect(load(audit)).toMatchObject({
      config: {
        audit: {
          file: '-',
          digestKeyFile: '/etc/postern/digest.key',
          checkpoints: { keyFile: '/etc/postern/signer.key', url: 'http://127.0.0.1:1/hook' },
        },
      },
    })
  })
})
