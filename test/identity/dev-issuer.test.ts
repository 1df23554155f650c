import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { tokenCommand } from '../../cmd/token.ts'
import { systemClock } from '../../src/clock.ts'
import { DEV_ALGORITHMS, DEV_AUDIENCE, DEV_ISSUER } from '../../src/dev/issuer.ts'
import { FileKeys } from '../../src/identity/file-keys.ts'
import { TokenVerifier, type VerifyResult } from '../../src/identity/token-verifier.ts'
import { issuerConfig } from '../support/tokens.ts'

let directory: string
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'postern-dev-'))
})
afterEach(async () => {
  vi.restoreAllMocks()
  await rm(directory, { recursive: true })
})

/** Runs `postern token …`; what it wrote to stdout. */
async function run(...args: string[]): Promise<string> {
  const out = vi.spyOn(process.stdout, 'write').mockReturnValue(true)
  vi.spyOn(process.stderr, 'write').mockReturnValue(true)
  await tokenCommand().parseAsync(args, { from: 'user' })
  const text = out.mock.calls.map(([chunk]) => String(chunk)).join('')
  out.mockRestore()
  return text
}

async function verify(
  token: string,
  mapping: 'act' | 'self' = 'act',
  tenant?: string,
): Promise<VerifyResult> {
  const algorithms = [...DEV_ALGORITHMS]
  const keys = new FileKeys({ path: join(directory, 'jwks.json'), algorithms, maxBytes: 65_536 }, systemClock)
  await keys.load()
  const config = issuerConfig({
    issuer: DEV_ISSUER,
    audience: [DEV_AUDIENCE],
    algorithms,
    mapping,
    owners: { scout: 'carol' },
    claims: { agentId: undefined, userId: undefined, tenant, attributes: {} },
  })
  return new TokenVerifier([{ config, keys }], systemClock, { maxBytes: 8192 }).verify(token)
}

describe('postern token', () => {
  it.each(DEV_ALGORITHMS.map((alg) => [alg]))('%s: what it signs, the proxy accepts', async (alg) => {
    await run('keys', '--dir', directory, '--alg', alg)
    const out = await run(
      'sign',
      '--keys',
      directory,
      '--agent',
      'scout',
      '--user',
      'alice',
      '--tenant',
      'acme',
    )
    expect(out).toMatch(/^[\w-]+\.[\w-]+\.[\w-]+\n$/)
    expect(await verify(out.trimEnd(), 'act', 'org_id')).toMatchObject({
      ok: true,
      principal: { agent: { id: 'scout' }, human: { id: 'alice' }, tenant: 'acme' },
    })
  })

  it('an agent alone acts for itself; claims win over options', async () => {
    await run('keys', '--dir', directory)
    const alone = await run('sign', '--keys', directory, '--agent', 'scout')
    expect(await verify(alone.trimEnd(), 'self')).toMatchObject({
      ok: true,
      principal: { human: { id: 'carol' } },
    })
    await writeFile(join(directory, 'claims.json'), '{"sub":"u-7","txn":"x"}')
    const file = await run(
      'sign',
      '--keys',
      directory,
      '--agent',
      'scout',
      '--user',
      'alice',
      '--claims',
      join(directory, 'claims.json'),
    )
    expect(await verify(file.trimEnd())).toMatchObject({
      ok: true,
      principal: { human: { id: 'u-7' }, txn: 'x' },
    })
    const json = await run(
      'sign',
      '--keys',
      directory,
      '--agent',
      'scout',
      '--user',
      'alice',
      '--claims',
      '{"aud":"x"}',
    )
    expect(await verify(json.trimEnd())).toMatchObject({ reason: 'wrong_audience' })
  })

  it('--ttl sets the lifetime', async () => {
    await run('keys', '--dir', directory)
    const token = await run(
      'sign',
      '--keys',
      directory,
      '--agent',
      'scout',
      '--user',
      'alice',
      '--ttl',
      '90s',
    )
    const result = await verify(token.trimEnd())
    expect(result.ok && result.principal.expiresAtMs - result.principal.issuedAtMs).toBe(90_000)
  })

  it('keeps the private key to its owner and out of the public set', async () => {
    await run('keys', '--dir', directory)
    expect((await stat(join(directory, 'private-jwks.json'))).mode & 0o777).toBe(0o600)
    expect(JSON.parse(await readFile(join(directory, 'jwks.json'), 'utf8')).keys[0]).not.toHaveProperty('d')
  })

  it('replaces keys only when forced', async () => {
    await run('keys', '--dir', directory)
    const before = await readFile(join(directory, 'jwks.json'), 'utf8')
    await expect(run('keys', '--dir', directory)).rejects.toMatchObject({ code: 'ERR_DEV_KEYS' })
    expect(await readFile(join(directory, 'jwks.json'), 'utf8')).toBe(before)
    await run('keys', '--dir', directory, '--force')
    expect(await readFile(join(directory, 'jwks.json'), 'utf8')).not.toBe(before)
    expect((await stat(join(directory, 'private-jwks.json'))).mode & 0o777).toBe(0o600)
  })

  it.each([
    ['no subject', [], 'ERR_USAGE'],
    ['a user without an agent', ['--user', 'alice'], 'ERR_USAGE'],
    ['a bad duration', ['--agent', 'a', '--ttl', '15'], 'ERR_USAGE'],
    ['claims that are no object', ['--agent', 'a', '--claims', '{"a"'], 'ERR_USAGE'],
    ['a claims file that is not there', ['--agent', 'a', '--claims', 'nowhere.json'], 'ERR_USAGE'],
    ['no keys', ['--agent', 'a'], 'ERR_DEV_KEYS'],
  ])('%s is a sentence, not a token', async (_, args, code) => {
    await expect(run('sign', '--keys', directory, ...args)).rejects.toMatchObject({ code })
  })
})
