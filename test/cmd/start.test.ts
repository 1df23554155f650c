import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { type AddressInfo, createServer, type Server } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { JwksServer } from '../support/tokens.ts'
import { postern, RunningPostern } from './child.ts'
import { Workspace } from './workspace.ts'

let workspace: Workspace
/** Somebody else's; whoever tries to bind its port fails and says so. */
let taken: Server
let takenAddress: string
const TAKEN = 'an address in use'

beforeAll(async () => {
  workspace = await Workspace.create()
  taken = createServer().listen(0, '127.0.0.1')
  await once(taken, 'listening')
  takenAddress = `127.0.0.1:${(taken.address() as AddressInfo).port}`
})
afterAll(() => {
  taken.close()
  workspace.remove()
})

describe('what trying again does not help: exit code 64, all problems at once, nothing bound', () => {
  it('mistakes in the configuration, the environment and the policy', async () => {
    workspace.write(
      'broken.yaml',
      `listeners:
  - address: ${takenAddress}
upsteam: { address: 127.0.0.1:1 }
upstream: { address: 127.0.0.1:1, connectTimeout: 5 parsecs }
audience: postern
issuers:
  - issuer: https://issuer.example
    jwks: { file: keys/jwks.json, url: https://issuer.example/keys }
policy: { file: broken-policy.yaml }
audit: { file: broken.jsonl }
admin: { address: ${takenAddress} }
`,
    )
    workspace.write(
      'broken-policy.yaml',
      'version: 1\nagents:\n  - { id: a, allow: publish, topic: "a/#/b" }\n',
    )
    const { status, stdout, stderr } = await postern(['run', '--config', 'broken.yaml'], {
      cwd: workspace.directory,
      env: { POSTERN_LIMITS__CONNECTIONS: 'many' },
    })
    expect({ status, stdout }).toEqual({ status: 64, stdout: '' })
    const config = workspace.path('broken.yaml')
    const lines = stderr.trimEnd().split('\n')
    expect(lines[0]).toBe(`postern: ${lines.length - 1} problems, nothing was bound`)
    for (const part of [
      `${config}:3: upsteam: There is no such key. Did you mean \`upstream\`?`,
      `${config}:4: upstream.connectTimeout: `,
      `${config}:8: issuers[0].jwks`,
      `environment: limits.connections: POSTERN_LIMITS__CONNECTIONS: `,
      `${workspace.path('broken-policy.yaml')}:3: `,
    ]) {
      expect(stderr).toContain(part)
    }
    expect(stderr).not.toContain('EADDRINUSE')
    expect(existsSync(workspace.path('broken.jsonl'))).toBe(false)
  })

  it('mistakes in the policy and the key file alone', async () => {
    workspace.write('broken-policy.yaml', 'version: 1\nagents: 7\nusers:\n  - { id: a }\n')
    workspace.write('no-keys.json', '{}')
    const { status, stderr } = await postern(['run', '--config', workspace.config], {
      env: {
        POSTERN_POLICY__FILE: 'broken-policy.yaml',
        POSTERN_ISSUERS__0__JWKS__FILE: 'no-keys.json',
        POSTERN_LISTENERS__0__ADDRESS: takenAddress,
        POSTERN_AUDIT__FILE: 'broken.jsonl',
      },
    })
    expect(status).toBe(64)
    expect(stderr).toContain('problems, nothing was bound\n')
    expect(stderr).toContain(`${workspace.path('broken-policy.yaml')}:2: `)
    expect(stderr).toContain(`${workspace.path('broken-policy.yaml')}:4: `)
    expect(stderr).toContain(`${workspace.path('no-keys.json')}: JWKS file`)
    expect(stderr).not.toContain('EADDRINUSE')
    expect(existsSync(workspace.path('broken.jsonl'))).toBe(false)
  })
})

describe('what may be better at the next try: exit code 1, one sentence with a code', () => {
  const cases: [string, Record<string, string>, string, string][] = [
    ['an address in use', { POSTERN_LISTENERS__0__ADDRESS: TAKEN }, 'ERR_LISTEN', 'EADDRINUSE'],
    ['an admin address in use', { POSTERN_ADMIN__ADDRESS: TAKEN }, 'ERR_ADMIN_LISTEN', 'EADDRINUSE'],
    ['no key file', { POSTERN_ISSUERS__0__JWKS__FILE: 'none.json' }, 'ERR_KEY_FILE', 'none.json'],
    ['no policy', { POSTERN_POLICY__FILE: 'none.yaml' }, 'ERR_POLICY_FILE', 'none.yaml'],
    ['no directory for the audit log', { POSTERN_AUDIT__FILE: 'a/b.jsonl' }, 'ERR_AUDIT_OPEN', 'ENOENT'],
    ['another file as audit log', { POSTERN_AUDIT__FILE: 'other.txt' }, 'ERR_AUDIT_TAIL', 'other.txt'],
  ]
  it.each(cases)('%s', async (_, variables, code, part) => {
    workspace.write('other.txt', 'not an audit log\n')
    const env = Object.fromEntries(
      Object.entries(variables).map(([name, value]) => [name, value === TAKEN ? takenAddress : value]),
    )
    const { status, stdout, stderr } = await postern(['run', '--config', workspace.config], { env })
    expect({ status, stdout }).toEqual({ status: 1, stdout: '' })
    const sentences = stderr.split('\n').filter((line) => line.startsWith('postern: '))
    expect(sentences).toHaveLength(1)
    expect(sentences[0]).toContain(part)
    expect(sentences[0]).toMatch(new RegExp(`\\(${code}\\)$`))
    expect(stderr).not.toMatch(/^ {4}at /m)
  })
})

it('a signal while it starts: SIGHUP changes nothing, SIGTERM ends it at once with exit code 1', async () => {
  const keys = await new JwksServer([]).listen()
  keys.behaviour = 'hang'
  const slow = (timeout: string): string => {
    const issuers = [{ issuer: 'https://issuer.example', jwks: { url: keys.url, timeout } }]
    workspace.configure({ issuers })
    return workspace.config
  }
  const running = new RunningPostern(['--config', slow('1s')])
  await keys.nextRequest()
  running.signal('SIGHUP')
  await running.next({ msg: 'listening' })
  await running.next({ msg: 'reloaded', what: 'policy' })
  running.signal('SIGTERM')
  expect(await running.exited).toBe(0)

  const early = new RunningPostern(['--config', slow('1m')])
  await keys.nextRequest()
  early.signal('SIGTERM')
  expect(await early.exited).toBe(1)
  await keys.close()
})
