import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type ChildOptions, type Ended, postern } from './child.ts'
import { Workspace } from './workspace.ts'

let workspace: Workspace
beforeAll(async () => {
  workspace = await Workspace.create()
  workspace.write('scout.jwt', `${await workspace.token('scout')}\n`)
  workspace.write('for-bob.jwt', await workspace.token('scout', 'bob'))
})
afterAll(() => workspace.remove())

function explain(args: readonly string[], options: ChildOptions = {}): Promise<Ended> {
  return postern(['explain', '-c', 'postern.yaml', ...args], { cwd: workspace.directory, ...options })
}

/** What is printed of the decision, below the principal. */
function decision({ stdout }: Ended): string {
  return stdout.slice(stdout.indexOf('\n\n') + 2)
}

describe('an allowed action: exit code 0, and the rule of each layer with the claims in it', () => {
  it('PUBLISH', async () => {
    const ended = await explain(['-t', 'scout.jwt', 'publish', 'agents/scout/card', '--retain', '--qos', '1'])
    expect(ended).toMatchObject({ status: 0, stderr: '' })
    expect(ended.stdout).toMatch(
      /^agent {4}scout \(scout of https:\/\/id\.example\.com\), acting for alice\n/,
    )
    expect(ended.stdout).toMatch(/^token {4}20.*left$/m)
    expect(ended.stdout).toContain('claim    {agent_id} = scout\n')
    expect(decision(ended)).toBe(`ALLOW publish agents/scout/card
  agent          allow own-card: agents/scout/card  ({agent_id} = scout)
  user           allow presence: agents/#
`)
  })

  it('SUBSCRIBE to a shared subscription, with the token from standard input', async () => {
    const input = await workspace.token('scout')
    const ended = await explain(['-t', '-', 'subscribe', '$share/workers/tasks/scout/inbox', '--qos', '1'], {
      input,
    })
    expect(ended).toMatchObject({ status: 0, stderr: '' })
    expect(decision(ended)).toBe(`ALLOW subscribe $share/workers/tasks/scout/inbox (granted QoS 1)
  agent          allow inbox: tasks/scout/inbox  ({agent_id} = scout)
  user           allow tasks: tasks/#
`)
  })
})

describe('a denied action: exit code 1, and for each denying layer the rule that came nearest', () => {
  it('PUBLISH: the bearer’s own rule is nearer than one for another action', async () => {
    const ended = await explain(['-t', 'scout.jwt', 'publish', 'agents/analyst/card'])
    expect(ended).toMatchObject({ status: 1, stderr: '' })
    expect(decision(ended)).toBe(`DENY  publish agents/analyst/card: no_rule
  agent          deny  no rule
                       nearest: own-card (agents/scout/card)
                         the rule has \`scout\` ({agent_id}) at level 2, not \`analyst\`
  user           allow presence: agents/#
`)
  })

  it('PUBLISH: allowed to the agent, not to its user', async () => {
    const ended = await explain(['-t', 'for-bob.jwt', 'publish', 'tasks/analyst/inbox'])
    expect(ended.status).toBe(1)
    expect(decision(ended)).toBe(`DENY  publish tasks/analyst/inbox: no_rule
  agent          allow ask: tasks/analyst/inbox
  user           deny  no rule
                       nearest: tasks (tasks/#)
                         the rule is only for the users alice
`)
  })

  it('PUBLISH: a Response Topic that the sender may not read', async () => {
    const responseTopic = ['--response-topic', 'tasks/analyst/inbox']
    const ended = await explain(['-t', 'scout.jwt', 'publish', 'tasks/analyst/inbox', ...responseTopic])
    expect(ended.status).toBe(1)
    expect(decision(ended)).toBe(`DENY  publish tasks/analyst/inbox: response_topic_not_allowed
      the sender may not subscribe to the Response Topic itself:
  agent          deny  no rule
                       nearest: inbox (tasks/scout/inbox)
                         the rule has \`scout\` ({agent_id}) at level 2, not \`analyst\`
  user           allow tasks: tasks/#
`)
  })

  it('SUBSCRIBE: another share group', async () => {
    const ended = await explain(['-t', 'scout.jwt', 'subscribe', '$share/thieves/tasks/scout/inbox'])
    expect(ended.status).toBe(1)
    expect(decision(ended)).toContain('the rule allows only the share groups workers\n')
  })

  it('CONNECT with a Will on the topic of another', async () => {
    const ended = await explain(['-t', 'scout.jwt', 'connect', '--will-topic', 'agents/analyst/card'])
    expect(ended.status).toBe(1)
    expect(decision(ended)).toContain('DENY  connect with a Will on agents/analyst/card: no_rule\n')
  })
})

describe('a token that is refused', () => {
  it('is a denial; --at asks about the time when it was good', async () => {
    // Judged an hour from now in place of waiting for it; the leeway of 30 s is over by then.
    const at = (minutes: number): string[] => ['--at', new Date(Date.now() + minutes * 60_000).toISOString()]
    const [late, soon] = await Promise.all([
      explain(['-t', 'scout.jwt', ...at(60), 'connect']),
      explain(['-t', 'scout.jwt', ...at(5), 'connect', '--will-topic', 'agents/scout/card']),
    ])
    expect(late.status).toBe(1)
    expect(late.stdout).toMatch(
      /^DENY {2}connect: the token is refused \(expired\)\n {6}`exp` is 20\S+Z, \S+ ago; `leeway` is 30s\n$/,
    )
    expect(soon).toMatchObject({ status: 0 })
    expect(decision(soon)).toMatch(/^ALLOW connect with a Will on agents\/scout\/card\n/)
  })

  it('under the Client Identifier of another', async () => {
    const ended = await explain(['-t', 'scout.jwt', '--client-id', 'analyst', 'connect'])
    expect(ended).toMatchObject({
      status: 1,
      stdout: `DENY  connect: the token is refused (client_id_mismatch)
      the agent is scout, and \`clientId.binding\` is exact
`,
    })
  })
})

it('what cannot be judged is no denial: exit code 64', async () => {
  const unreadable = await explain(['-t', 'nowhere.jwt', 'connect'])
  expect(unreadable).toMatchObject({ status: 64, stdout: '' })
  expect(unreadable.stderr).toMatch(/^postern: cannot read the token: ENOENT.*nowhere\.jwt'\n$/)
  const noKeys = await explain(['-t', 'scout.jwt', 'connect'], {
    env: { POSTERN_ISSUERS__0__JWKS__FILE: 'nowhere.json' },
  })
  expect(noKeys).toMatchObject({ status: 64, stdout: '' })
  expect(noKeys.stderr).toContain('nowhere.json: the file cannot be read')
})
