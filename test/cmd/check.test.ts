import { afterAll, describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { postern } from './child.ts'
import { Workspace } from './workspace.ts'

const workspaces: Workspace[] = []
afterAll(() => {
  for (const workspace of workspaces) workspace.remove()
})

async function create(...args: Parameters<typeof Workspace.create>): Promise<Workspace> {
  const workspace = await Workspace.create(...args)
  workspaces.push(workspace)
  return workspace
}

describe('a usable configuration', () => {
  it('is printed in full, with the environment in it and without secrets', async () => {
    const workspace = await create({
      upstream: { address: '127.0.0.1:1', username: '{agent_id}', passwordFile: 'broker-password' },
    })
    workspace.write('broker-password', 'hunter2\n')
    const { status, stdout, stderr } = await postern(['check', '--config', workspace.config], {
      env: { POSTERN_INSTANCE: 'from-env' },
    })
    expect(status).toBe(0)
    expect(stderr).toBe(
      `postern: usable; policy ${/policy (\w{16})/.exec(stderr)?.[1]} with 4 agent rules and 2 user rules, 0 warnings\n`,
    )
    expect(stdout + stderr).not.toContain('hunter2')
    expect(parse(stdout)).toMatchObject({
      instance: 'from-env',
      upstream: { username: '{agent_id}', password: '«set»' },
      policy: { file: workspace.path('policy.yaml') },
      sessions: { drain: '10s' },
    })
  })

  it('is warned of for what is over-broad, unreachable, shadowed or weak; --strict makes that exit code 1', async () => {
    const policy = `version: 1
attributes: [team]
agents:
  - { id: notes, allow: publish+subscribe, topic: "notes/#" }
  - { id: shadowed, allow: publish, topic: notes/a }
  - { id: unreachable, allow: publish, topic: secret/a }
  - { id: no-secrets, deny: publish, topic: "secret/#" }
  - { id: unmapped, allow: subscribe, topic: "teams/{team}" }
users:
  - { id: broad, allow: publish+subscribe, topic: "#" }
`
    const workspace = await create({ clientId: { binding: 'any' } }, policy)
    const { status, stdout, stderr } = await postern(['check', '-q', '--strict', '-c', workspace.config])
    expect(status).toBe(1)
    expect(stdout).toBe('')
    const policyFile = workspace.path('policy.yaml')
    for (const part of [
      'clientId.binding: ',
      `${policyFile}:4: Rule notes lets every agent publish as any other`,
      `${policyFile}:5: Rule shadowed changes nothing: rule notes`,
      `${policyFile}:6: Rule unreachable never allows anything: the deny no-secrets`,
      `${policyFile}:8: Rule unmapped never applies`,
      `${policyFile}:10: Rule broad is very broad`,
    ]) {
      expect(stderr).toContain(part)
    }
    const warnings = stderr.split('\n').filter((line) => line.startsWith('warning: '))
    expect(stderr).toContain(`, ${warnings.length} warnings`)
  })
})

it('an unusable one: every problem of configuration, policy and key file at once, with its place; exit code 64', async () => {
  const workspace = await create({ limits: { conections: 5 }, sessions: { drain: 'soon' } })
  workspace.write(
    'policy.yaml',
    'version: 1\nagents:\n  - { id: a, alow: publish, topic: x }\n  - { id: a }\n',
  )
  workspace.write('keys/jwks.json', '{"keys": []}')
  const { status, stdout, stderr } = await postern(['check', '--config', workspace.config])
  expect({ status, stdout }).toEqual({ status: 64, stdout: '' })
  const lines = stderr.trimEnd().split('\n')
  expect(lines[0]).toBe(`postern: ${lines.length - 1} problems, not usable`)
  const config = workspace.config
  const policy = workspace.path('policy.yaml')
  for (const part of [
    `${config}:1: limits.conections: There is no such key. Did you mean \`connections\`?`,
    `${config}:1: sessions.drain: `,
    `${policy}:3: `,
    `${policy}:4: `,
    `${workspace.path('keys/jwks.json')}: JWKS file`,
  ]) {
    expect(stderr).toContain(part)
  }
})
