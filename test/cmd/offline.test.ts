// What needs no running Postern: audit logs and development keys.
import { hash } from 'node:crypto'
import { readFileSync, statSync, writeFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { DEV_AUDIENCE, DEV_ISSUER, PUBLIC_KEYS_FILE } from '../../src/dev/issuer.ts'
import { FileKeys } from '../../src/identity/file-keys.ts'
import { GrantVerifier } from '../../src/identity/grant-token.ts'
import { chainOf, file, headOf } from '../audit/chain.ts'
import { principalOf } from '../support/principal.ts'
import { issuerConfig } from '../support/tokens.ts'
import { postern } from './child.ts'

let directory: string
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'postern-cmd-'))
})
afterAll(() => rm(directory, { recursive: true }))

function save(name: string, content: string | Buffer): string {
  const path = join(directory, name)
  writeFileSync(path, content)
  return path
}

describe('postern audit', () => {
  it('verify tells good, continued, changed, cut and unreadable files apart; the worst gives the exit code', async () => {
    const lines = chainOf(5)
    const head = headOf(lines[4]!)
    const good = save('good.jsonl', file(lines))
    const next = save('next.jsonl', file(chainOf(2, head)))
    const flipped = Buffer.from(file(lines))
    flipped[flipped.indexOf('scout') + 1]! ^= 1
    const bad = save('flipped.jsonl', flipped)
    const cut = save('cut.jsonl', file(lines.slice(0, 4)))
    const fine = await postern(['audit', 'verify', good, next])
    expect(fine).toMatchObject({ status: 0, stderr: '' })
    expect(fine.stdout).toMatch(
      /^OK {2}.*good\.jsonl: 5 records.*\nOK {2}.*next\.jsonl: 2 records.*continues the file before\n$/,
    )
    const all = await postern([
      'audit',
      'verify',
      '--known',
      `5:${head.hash}`,
      bad,
      join(directory, 'missing'),
      cut,
    ])
    expect(all.status).toBe(2)
    expect(all.stdout).toMatch(/^BAD .*flipped\.jsonl:1 seq 1: .*\nBAD .*cut\.jsonl:.* seq 4.*\n$/)
    expect(all.stderr).toMatch(/missing cannot be read: ENOENT\n$/)
  })

  it('show ends quietly when nobody reads on', async () => {
    const long = save('long.jsonl', 'no record\n'.repeat(200_000))
    const { status, stdout, stderr } = await postern(['audit', 'show', long], { readsLittle: true })
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    expect(stdout).toMatch(/^\(9 bytes that are no intact record\)\n/)
  })
})

it('postern token keys keeps the secret to its owner, and replaces nothing unasked', async () => {
  const keys = join(directory, 'keys')
  const made = await postern(['token', 'keys', '--dir', keys])
  expect(made).toMatchObject({ status: 0, stdout: '' })
  expect(made.stderr).toContain('development only')
  expect(statSync(join(keys, 'private-jwks.json')).mode & 0o777).toBe(0o600)
  const before = readFileSync(join(keys, 'private-jwks.json'), 'utf8')
  const again = await postern(['token', 'keys', '--dir', keys])
  expect(again).toEqual({
    status: 1,
    stdout: '',
    stderr: `postern: ${keys}: there are keys already; --force replaces them (ERR_DEV_KEYS)\n`,
  })
  expect(readFileSync(join(keys, 'private-jwks.json'), 'utf8')).toBe(before)
})

it('postern token grant makes what a Postern with these keys takes', async () => {
  const keys = join(directory, 'grant-keys')
  await postern(['token', 'keys', '--dir', keys])
  const payload = save('order.json', '{"amount":10}')
  const who = ['--keys', keys, '--agent', 'scout', '--user', 'alice', '--approver', 'carol']
  const made = await postern(['token', 'grant', ...who, '--payload', payload, 'publish', 'pay/alice/order'])
  expect(made.status).toBe(0)
  const jwks = new FileKeys(
    { path: join(keys, PUBLIC_KEYS_FILE), algorithms: ['ES256'], maxBytes: 65_536 },
    systemClock,
  )
  await jwks.load()
  const config = {
    ...issuerConfig({ issuer: DEV_ISSUER, audience: [DEV_AUDIENCE] }),
    subjects: DEV_ISSUER,
  }
  const rules = { maxBytes: 8192, maxLifetime: 300_000 }
  const verifier = new GrantVerifier([{ config, keys: jwks }], rules, systemClock)
  const verified = await verifier.verify(Buffer.from(made.stdout.trim()), principalOf({ issuer: DEV_ISSUER }))
  expect(verified).toMatchObject({
    ok: true,
    grant: { action: 'publish', approver: { sub: 'carol' }, payloadSha256: hash('sha256', '{"amount":10}') },
  })
  await jwks.close()
  expect((await postern(['token', 'grant', ...who, '--uses', '0', 'publish', 'a'])).status).toBe(64)
})

it('postern token grant --subjects names people and agents of another issuer than its own', async () => {
  const keys = join(directory, 'subject-keys')
  await postern(['token', 'keys', '--dir', keys])
  const who = ['--keys', keys, '--agent', 'scout', '--user', 'alice', '--approver', 'carol']
  const issuers = ['--issuer', 'https://approvals.example', '--subjects', 'https://id.example']
  const made = await postern(['token', 'grant', ...who, ...issuers, 'publish', 'pay/alice/order'])
  expect(JSON.parse(Buffer.from(made.stdout.split('.')[1]!, 'base64url').toString())).toMatchObject({
    iss: 'https://approvals.example',
    act: { iss: 'https://id.example', sub: 'scout' },
    approver: { iss: 'https://id.example', sub: 'carol' },
  })
})
