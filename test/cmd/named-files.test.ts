// `postern check` reads every file that a configuration names.
import { mkdirSync, readFileSync } from 'node:fs'
import { afterAll, describe, expect, it } from 'vitest'
import { problemLine } from '../../cmd/config-file.ts'
import { lookInto, namedFiles } from '../../cmd/named-files.ts'
import { loadConfig } from '../../src/config/load.ts'
import type { Problem } from '../../src/errors.ts'
import { selfSigned } from '../support/certificate.ts'
import { postern } from './child.ts'
import { Workspace } from './workspace.ts'

const workspaces: Workspace[] = []
afterAll(() => {
  for (const workspace of workspaces) workspace.remove()
})

const server = selfSigned('server')
const other = selfSigned('other')
/** Good in January of 2024. */
const EXPIRED = `-----BEGIN CERTIFICATE-----
MIIBCjCBsgIBATAKBggqhkjOPQQDAjASMRAwDgYDVQQDDAdleHBpcmVkMB4XDTI0
MDEwMTAwMDAwMFoXDTI0MDIwMTAwMDAwMFowEjEQMA4GA1UEAwwHZXhwaXJlZDBZ
MBMGByqGSM49AgEGCCqGSM49AwEHA0IABJEnMPUVdK0H+evvAbiOXDYo+c5KgMCz
nrhefR1mlSQRLEwsU44vIFSSdLLfJx/ULu0IZeZA8NMniQfiHxABtuMwCgYIKoZI
zj0EAwIDRwAwRAIgEWnpNvsbkeiU7sGzmPyFWJhoP73JQH22VTidR7sNVtQCIGfS
S25PZ0bE6XYKu3qtVkvndiC/tcyPiog4sA4+2Mni
-----END CERTIFICATE-----
`
const STREAM = { name: 'idp', issuer: 'https://idp.example', audience: 'a', secretFile: 'stream-secret' }

const SETTINGS = {
  listeners: [{ address: '127.0.0.1:0', tls: { certFile: 'cert.pem', keyFile: 'key.pem' } }],
  audit: {
    file: 'audit.jsonl',
    payloadDigest: 'hmac',
    digestKeyFile: 'digest-key',
    checkpoints: { keyFile: 'log-key' },
  },
  proof: { ace: true, aceKeysFile: 'ace.json' },
  revocation: {
    file: 'revocations.jsonl',
    secretFile: 'secret',
    listFile: 'list.json',
    events: [{ ...STREAM, jwks: { file: 'stream-keys.json' } }],
  },
}

async function workspaceWith(
  files: Record<string, string>,
  settings: Record<string, unknown> = {},
): Promise<Workspace> {
  const workspace = await Workspace.create({ ...SETTINGS, ...settings })
  workspaces.push(workspace)
  for (const [name, text] of Object.entries(files)) workspace.write(name, text)
  return workspace
}

/** As lines of the command. */
async function look(workspace: Workspace): Promise<{ problems: string; warnings: string }> {
  const loaded = loadConfig(readFileSync(workspace.config, 'utf8'), workspace.config, {})
  if ('problems' in loaded) throw new Error(loaded.problems.map(problemLine).join('\n'))
  const found = await lookInto(namedFiles(loaded.config))
  const text = (list: Problem[]): string => list.map(problemLine).join('\n')
  return { problems: text(found.problems), warnings: text(found.warnings) }
}

const ACE_KEYS = JSON.stringify({ keys: [{ kty: 'oct', k: 'A'.repeat(43), alg: 'A256KW' }] })
const SECRETS = {
  ...{ secret: 'a-secret-of-the-admin', 'stream-secret': 'a-secret-of-the-stream' },
  ...{ 'digest-key': 'x'.repeat(32), 'ace.json': ACE_KEYS, 'list.json': '[]' },
}

describe('postern check', () => {
  it('names every file that is missing, by its key', async () => {
    const { config } = await workspaceWith({})
    const { status, stderr } = await postern(['check', '-q', '-c', config])
    expect(status).toBe(64)
    const named = ['cert.pem: listeners[0].tls.certFile', 'key.pem: listeners[0].tls.keyFile']
    named.push('digest-key: audit.digestKeyFile', 'log-key: audit.checkpoints.keyFile')
    named.push(
      'ace.json: proof.aceKeysFile',
      'secret: revocation.secretFile',
      'list.json: revocation.listFile',
    )
    named.push('stream-secret: revocation.events[0].secretFile')
    named.push('stream-keys.json: revocation.events[0].jwks.file')
    for (const name of named) expect(stderr).toContain(`/${name}: There is no such file.`)
  })

  it('says what is wrong with those that cannot be used, and never what is in them', async () => {
    const workspace = await workspaceWith({
      ...{
        'cert.pem': 'hunter2',
        'key.pem': other.key,
        secret: 'hunter2',
        'stream-secret': 'hunter2 hunter2 hunter2',
      },
      ...{
        'digest-key': 'hunter2',
        'log-key': 'hunter2',
        'ace.json': '{"keys":[]}',
        'list.json': '[{"format":"hunter2"}]',
      },
      'stream-keys.json': '{}',
    })
    const { problems } = await look(workspace)
    for (const [name, words] of [
      ['listeners[0].tls.certFile', 'no certificate'],
      ['audit.digestKeyFile', 'shorter than 32 bytes'],
      ['audit.checkpoints.keyFile', 'no signing key'],
      ['proof.aceKeysFile', 'no list of keys'],
      ['revocation.secretFile', 'at least 16 characters'],
      ['revocation.listFile', 'entry 1'],
      ['revocation.events[0].secretFile', 'without blanks'],
      ['revocation.events[0].jwks.file', 'under "keys"'],
    ] as const)
      expect(problems).toMatch(new RegExp(`${name.replaceAll(/[[\].]/g, '\\$&')}: .*${words}`))
    expect(problems).not.toContain('hunter2')
  })

  it('a certificate that has expired is a warning, a key that is another’s a problem', async () => {
    const tls = { audit: { file: 'audit.jsonl' }, revocation: 'off', proof: {} }
    const authority = {
      listeners: [{ address: '127.0.0.1:0' }],
      upstream: { address: '127.0.0.1:1', tls: { caFile: 'ca.pem' } },
    }
    const late = await workspaceWith({ 'ca.pem': EXPIRED }, { ...tls, ...authority })
    expect(await look(late)).toEqual({
      problems: '',
      warnings: `${late.path('ca.pem')}: upstream.tls.caFile: It expired on 2024-02-01: replace it.`,
    })
    const foreign = await workspaceWith({ 'cert.pem': server.cert, 'key.pem': other.key }, tls)
    expect((await look(foreign)).problems).toContain('tls.keyFile: It does not belong to the certificate.')
    const soon = await workspaceWith({ 'cert.pem': server.cert, 'key.pem': server.key }, tls)
    expect(await look(soon)).toEqual({ problems: '', warnings: expect.stringContaining('It expires on') })
  })

  it('good files leave nothing to say', async () => {
    const settings = {
      listeners: [{ address: '127.0.0.1:0' }],
      audit: { file: 'audit.jsonl', payloadDigest: 'hmac', digestKeyFile: 'digest-key' },
    }
    const revocation = { ...SETTINGS.revocation, events: [] }
    const workspace = await workspaceWith(SECRETS, { ...settings, revocation })
    expect(await look(workspace)).toEqual({ problems: '', warnings: '' })
  })

  it('a directory in the place of a file is unreadable', async () => {
    const workspace = await workspaceWith(SECRETS)
    mkdirSync(workspace.path('log-key'))
    expect((await look(workspace)).problems).toMatch(
      /log-key: audit\.checkpoints\.keyFile: .*(EISDIR|cannot be read)/,
    )
  })
})
