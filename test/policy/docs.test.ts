// docs/policy.md says what the code does, and docs/policy.schema.json is made from it: `npx vitest run test/policy -u`
// writes the schema and the outputs of the commands.
import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it, vi } from 'vitest'
import { parse } from 'yaml'
import { z } from 'zod'
import { checkCommand } from '../../cmd/check.ts'
import { EXIT } from '../../cmd/exit.ts'
import { explainCommand } from '../../cmd/explain.ts'
import { agentClaims, DEV_AUDIENCE, DEV_ISSUER, DevIssuer } from '../../src/dev/issuer.ts'
import { MAX_FILTERS_PER_RULE } from '../../src/policy/bind.ts'
import { agentRule, document, policyJsonSchema, rule } from '../../src/policy/document-schema.ts'
import { isBindable } from '../../src/policy/template.ts'
import { VERDICT_NAMES } from '../../src/policy/verdict.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { aclOf, deliver, policyOf, problemsOf } from '../support/permission.ts'
import { answer, codes, Page } from './page.ts'

const PAGE = Page.read('docs/policy.md')
const SCHEMA = 'docs/policy.schema.json'

const agentRules = (...rules: string[]) =>
  `version: 1\nattributes: [team]\nagents:\n${rules.map((text, i) => `  - { id: r${i}, ${text} }\n`).join('')}`

describe('the schema', () => {
  it('docs/policy.schema.json is in step with the code', async () => {
    const formatted = execFileSync('node_modules/.bin/biome', ['format', `--stdin-file-path=${SCHEMA}`], {
      input: JSON.stringify(policyJsonSchema),
      encoding: 'utf8',
    })
    await expect(formatted).toMatchFileSnapshot(`../../${SCHEMA}`)
  })

  const schema = z.fromJSONSchema(policyJsonSchema)
  const folder = 'deploy/examples'
  const examples = readdirSync(folder)
    .filter((file) => file.startsWith('policy'))
    .map((file) => [file, readFileSync(join(folder, file), 'utf8')] as const)
  const blocks = PAGE.blocks('yaml', 'json').map((text, i) => [`block ${i + 1} of the page`, text] as const)
  it.each([...examples, ...blocks])('and the loader accept %s', (_, text) => {
    expect(problemsOf(text)).toEqual([])
    expect(schema.safeParse(parse(text)).error).toBeUndefined()
  })

  it.each(examples)('editors find it from %s', (_, text) => {
    expect(text.split('\n')[0]).toBe(`# yaml-language-server: $schema=../../${SCHEMA}`)
  })
})

describe('the tables of keys', () => {
  it.each([
    ['## The document', document.shape],
    ['## The keys of a rule', rule.shape],
    ['## The MQTT.Agent form', agentRule.shape],
  ])('%s has every key', (heading, shape) => {
    const keys = PAGE.section(heading).table('key', 'default', 'meaning')
    expect(keys.map(([key]) => codes(key!)[0])).toEqual(Object.keys(shape))
  })

  it.each(PAGE.section('## The keys of a rule').table('key', 'default', 'meaning', 'example'))(
    'the example of %s loads',
    (key, _, __, example) => {
      const name = codes(key!)[0]!
      const text = codes(example!)[0]!
      expect(Object.keys(parse(text))).toEqual([name])
      const rest = [
        ...(name === 'id' ? [] : ['id: r']),
        ...(['allow', 'deny'].includes(name) ? [] : ['allow: publish+subscribe']),
        ...(name.startsWith('topic') ? [] : ['topic: a']),
      ]
      expect(
        problemsOf(`version: 1\nattributes: [team]\nagents:\n  - ${[text, ...rest].join('\n    ')}`),
      ).toEqual([])
    },
  )

  it('the reasons are those of the code', () => {
    expect(PAGE.table('reason', 'meaning').map(([reason]) => codes(reason!)[0])).toEqual(VERDICT_NAMES)
  })
})

describe('the tables of answers', () => {
  it.each(PAGE.table('rule', 'asked', 'answer'))('limits: %s: %s: %s', (allow, asked, expected) => {
    const acl = aclOf(agentRules(codes(allow!)[0]!, 'allow: subscribe, topic: r'))
    expect(answer(acl, codes(asked!)[0]!)).toBe(expected)
  })

  it.each(PAGE.table('value', 'binds', 'why'))('placeholders: %s: %s', (values, binds) => {
    for (const code of codes(values!)) {
      const value = code.startsWith('"') ? (JSON.parse(code) as string) : code
      expect(isBindable(value), code).toBe(binds === 'yes')
    }
  })

  it.each(PAGE.table('rule', 'filter', 'answer'))('ACL-04: %s: %s: %s', (topics, filter, expected) => {
    const rules = codes(topics!).map((topic) => `allow: subscribe, topic: "${topic}"`)
    expect(answer(aclOf(agentRules(...rules)), `subscribe ${codes(filter!)[0]}`)).toBe(expected)
  })

  const overlaps = PAGE.table('filter', '`refuse`', '`filter`')
  const teams = agentRules('allow: subscribe, topic: teams/#', 'deny: subscribe, topic: teams/+/audit')
  it.each(overlaps)('overlap: %s: %s, %s', (filter, refuse, granted) => {
    const asked = `subscribe ${codes(filter!)[0]}`
    expect(answer(aclOf(teams), asked)).toBe(refuse)
    expect(answer(aclOf(teams, {}, { overlappingDeny: 'filter' }), asked)).toBe(granted)
    expect(deliver(aclOf(teams, {}, { overlappingDeny: 'filter' }), 'teams/red/audit')).toBe('deny_rule')
  })
})

describe('what the text says', () => {
  const only = (heading: string, index = 0) => policyOf(PAGE.section(heading).blocks('yaml', 'json')[index]!)

  it('tenants', () => {
    const acl = aclOf(only('## Tenants'), { agent: 'backup', org: 'acme' })
    expect(answer(acl, 'publish acme/x')).toBe('`allow`')
    expect(answer(acl, 'publish globex/x')).toBe('`outside_tenant`')
    expect(answer(acl, 'subscribe #')).toBe('`outside_tenant`')
    expect(answer(acl, 'subscribe acme/#')).toBe('`allow`')
    expect(answer(acl, 'publish common/x')).toBe('`allow`')
    expect(answer(aclOf(only('## Tenants'), { agent: 'backup' }), 'publish common/x')).toBe(
      '`outside_tenant`',
    )
  })

  it('pairs', () => {
    const asked = 'subscribe agents/+/card'
    expect(answer(aclOf(only('## Pairs'), { agent: 'analyst', user: 'bob' }), asked)).toBe('`deny_rule`')
    expect(answer(aclOf(only('## Pairs'), { agent: 'analyst', user: 'alice' }), asked)).toBe('`allow`')
  })

  it('two issuers', () => {
    const from = (issuer: string) =>
      aclOf(only('## Two issuers'), { attributes: [['issuer', [issuer]]] }, { userLayer: 'none' })
    expect(answer(from('https://id.example.com'), 'publish tasks/analyst/inbox')).toBe('`allow`')
    expect(answer(from('https://id.partner.example'), 'publish tasks/analyst/inbox')).toBe('`no_rule`')
    expect(answer(from('https://id.partner.example'), 'publish internal/x')).toBe('`deny_rule`')
    expect(answer(from('https://id.example.com'), 'publish internal/x')).toBe('`no_rule`')
  })

  it('share groups, array claims and their limit', () => {
    const tools = (...values: string[]) => aclOf(only('### Share groups'), { attributes: [['tool', values]] })
    expect(answer(tools('a', 'b'), 'subscribe $share/calls-b/tools/b/call')).toBe('`allow`')
    expect(answer(tools('a', 'b'), 'subscribe $share/calls-a/tools/b/call')).toBe('`share_group_not_allowed`')
    expect(answer(tools('a', 'b'), 'subscribe tools/+/call')).toBe('`no_rule`')
    expect(PAGE.text).toContain(`One rule makes at most ${MAX_FILTERS_PER_RULE} filters`)
  })

  it('a placeholder without a value', () => {
    const acl = aclOf(agentRules('allow: publish, topics: ["a/{team}", b]'))
    expect(answer(acl, 'publish b')).toBe('`no_rule`')
  })

  it('the MQTT.Agent form', () => {
    const form = only('## The MQTT.Agent form')
    expect(answer(aclOf(form), 'publish agents/scout/card --qos 2 --retain')).toBe('`allow`')
    const server = aclOf(form, { attributes: [['tool_id', ['query']]] })
    expect(answer(server, 'subscribe $share/mcp-tool-query/mcp/tools/query/call')).toBe('`allow`')
    expect(answer(aclOf(form), 'subscribe mcp/tools/query/call')).toBe('`no_rule`')
    expect(answer(aclOf(form, { user: 'alice' }), 'subscribe agents/+/card')).toBe('`no_rule`')
    const mixed = aclOf(only('## The MQTT.Agent form', 1), { user: 'alice' })
    expect(answer(mixed, 'publish agents/scout/card --retain')).toBe('`allow`')
    expect(answer(mixed, 'subscribe tasks/scout/inbox')).toBe('`allow`')
  })
})

it.each(['docs/policy.md', 'docs/tokens.md'])('every link of %s leads somewhere', (file) => {
  const anchors = (page: string) =>
    [...readFileSync(page, 'utf8').matchAll(/^#+ (.+)$/gm)].map(([, heading]) =>
      heading!
        .toLowerCase()
        .replaceAll(/[^\w\- ]/g, '')
        .replaceAll(' ', '-'),
    )
  for (const [, path, anchor] of readFileSync(file, 'utf8').matchAll(/\]\(([^)#]*)#?([^)]*)\)/g)) {
    const target = path === '' ? file : join('docs', path!)
    expect(existsSync(target), path).toBe(true)
    if (anchor !== '') expect(anchors(target)).toContain(anchor)
  }
})

it('the outputs of check and explain are real', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'postern-docs-'))
  try {
    await prepare(directory)
    const write = (policy: string) => writeFileSync(join(directory, 'policy.yaml'), policy)
    write(PAGE.blocks('yaml')[0]!)
    let text = PAGE.text
    for (const block of PAGE.blocks('text')) {
      const command = block.split('\n')[0]!
      if (command.startsWith('$ postern check'))
        write(PAGE.section('## What `check` says').blocks('yaml')[0]!)
      else write(PAGE.blocks('yaml')[0]!)
      const output = await run(command, directory)
      // The lines about the bearer are shown once.
      const shown = command.includes(' agents/scout/card') ? output : output.replace(/^[\s\S]*\n\n/, '')
      text = text.replace(block, () => `${command}\n${shown}`)
    }
    await expect(text).toMatchFileSnapshot('../../docs/policy.md')
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
})

const NOW = new Date(new FakeClock().now()).toISOString()

/** A configuration without warnings, the keys of an issuer, and the tokens that the page names. */
async function prepare(directory: string): Promise<void> {
  const issuer = await DevIssuer.generate(new FakeClock())
  const write = (name: string, content: string) => writeFileSync(join(directory, name), content)
  write('jwks.json', JSON.stringify(issuer.publicJwks()))
  const config = {
    listeners: [{ address: '127.0.0.1:1883' }],
    upstream: { address: 'unix:/run/broker.sock', username: 'postern' },
    audience: DEV_AUDIENCE,
    issuers: [
      { issuer: DEV_ISSUER, jwks: { file: 'jwks.json' }, claims: { attributes: { team: 'groups' } } },
    ],
    policy: { file: 'policy.yaml' },
    audit: { file: 'audit.jsonl' },
  }
  write('postern.yaml', JSON.stringify(config))
  for (const user of ['alice', 'bob']) {
    const claims = { ...agentClaims({ agent: 'scout', user }), groups: ['red', 'blue'] }
    write(user === 'alice' ? 'scout.jwt' : `scout-for-${user}.jwt`, await issuer.mint(claims))
  }
}

/** What a command of the page prints, with paths as if run in the directory. */
async function run(command: string, directory: string): Promise<string> {
  const [, , name, ...words] = command.split(' ')
  const args = words.map((word) =>
    /\.(yaml|jwt)$/.test(word) ? join(directory, word) : word.replaceAll("'", ''),
  )
  const lines: string[] = []
  const spies = (['log', 'error'] as const).map((method) =>
    vi.spyOn(console, method).mockImplementation((line: string) => void lines.push(line)),
  )
  const exitCode = process.exitCode
  try {
    const isCheck = name === 'check'
    const subcommand = isCheck ? checkCommand() : explainCommand()
    await subcommand.parseAsync(isCheck ? args : ['--at', NOW, ...args], { from: 'user' })
    expect(process.exitCode, lines.join('\n')).not.toBe(EXIT.USAGE)
  } finally {
    process.exitCode = exitCode
    for (const spy of spies) spy.mockRestore()
  }
  return `${lines.join('\n').replaceAll(`${directory}/`, '')}\n`
}
