// `postern run --wait`: in Kubernetes a Secret may come later than the pod. Whatever file the configuration names, it is
// waited for with a sentence, and nothing has to be started again.
import { execFileSync } from 'node:child_process'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { RunningPostern } from './child.ts'
import { Workspace } from './workspace.ts'

const LATE = {
  'listener.crt': '',
  'listener.key': '',
  'client-ca.crt': '',
  'ca.crt': '',
  'broker-password': 'secret',
  'digest-key': 'k'.repeat(32),
  'admin-secret': 'a-secret-of-the-operator',
  'stream-secret': 'a-secret-of-the-transmitter',
  'kept-out.json': '[]',
  'stream-keys.json': '',
}
let workspace: Workspace
let running: RunningPostern

beforeAll(async () => {
  workspace = await Workspace.create({
    listeners: [
      {
        name: 'agents',
        address: '127.0.0.1:0',
        tls: {
          certFile: 'listener.crt',
          keyFile: 'listener.key',
          clientCertificates: 'verify',
          clientCaFile: 'client-ca.crt',
        },
      },
    ],
    upstream: {
      address: '127.0.0.1:1',
      username: 'postern',
      passwordFile: 'broker-password',
      tls: { caFile: 'ca.crt' },
    },
    audit: { file: 'audit.jsonl', payloadDigest: 'hmac', digestKeyFile: 'digest-key' },
    revocation: {
      file: 'revocations.jsonl',
      secretFile: 'admin-secret',
      listFile: 'kept-out.json',
      events: [
        {
          name: 'idp',
          issuer: 'https://idp.example',
          audience: 'postern',
          jwks: { file: 'stream-keys.json' },
          secretFile: 'stream-secret',
        },
      ],
    },
  })
})
afterAll(async () => {
  await running?.kill()
  workspace.remove()
})

it('names every file that is not there, and starts when all are', async () => {
  running = new RunningPostern(['--wait', '--config', workspace.config])
  const { msg, files } = await running.next({ level: 'error' })
  const late = Object.keys(LATE).map((name) => workspace.path(name))
  expect(new Set(files as string[])).toEqual(new Set(late))
  expect(msg).toMatch(/^Waiting for .*: not there or not readable\. Create the Secret or ConfigMap/)

  const [key, crt] = [workspace.path('listener.key'), workspace.path('made.crt')]
  const what = ['-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-subj', '/CN=x']
  execFileSync('openssl', ['req', ...what, '-keyout', key, '-out', crt], { stdio: 'ignore' })
  for (const name of ['listener.crt', 'client-ca.crt', 'ca.crt'])
    execFileSync('cp', [crt, workspace.path(name)])
  const keys = JSON.stringify(workspace.issuer.publicJwks())
  for (const [name, text] of Object.entries({ ...LATE, 'stream-keys.json': keys })) {
    if (text !== '') workspace.write(name, text)
  }
  await running.next({ msg: 'listening' })
})
