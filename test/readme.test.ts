// What the README shows is what the code does: its examples are loaded, its links followed.
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { expect, it, test } from 'vitest'
import type { Config } from '../src/config/config.ts'
import { loadConfig } from '../src/config/load.ts'
import { checkRegisteredClaims } from '../src/identity/claim-rules.ts'
import { mapParties } from '../src/identity/mapping.ts'
import { aclOf, policyOf, publish, subscribe } from './support/permission.ts'

const README = readFileSync('README.md', 'utf8')

/** The fenced block of this language that contains `text`. */
function block(language: string, text: string): string {
  const blocks = [...README.matchAll(/^```(\w*)\n([\s\S]*?)^```$/gm)]
  return blocks.find((found) => found[1] === language && found[2]!.includes(text))![2]!
}

function configOfReadme(): Config {
  const loaded = loadConfig(block('yaml', '# postern.yaml'), '/etc/postern/postern.yaml', {}, () => 'secret')
  if ('problems' in loaded) throw new Error(JSON.stringify(loaded.problems))
  expect(loaded.warnings).toEqual([])
  return loaded.config
}

test('the configuration loads, without a warning', () => {
  expect(configOfReadme().upstream).toMatchObject({ username: 'postern', password: 'secret' })
})

test('the token is one that this configuration accepts, as scout for alice', () => {
  const claims = new Map(Object.entries(JSON.parse(block('json', '"act"')) as Record<string, unknown>))
  const issuer = configOfReadme().issuers[0]!
  const registered = checkRegisteredClaims(claims, issuer, Number(claims.get('iat')) * 1000)
  if (!registered.ok) throw new Error(registered.reason)
  expect(mapParties(claims, registered, issuer)).toMatchObject({
    agent: { id: 'scout' },
    human: { id: 'alice' },
    delegated: true,
  })
})

test('the policy decides as the text says', () => {
  const policy = policyOf(block('yaml', '# policy.yaml'))
  const scout = aclOf(policy, { agent: 'scout', user: 'alice' })
  expect(publish(scout, 'agents/scout/card', { qos: 1, retain: true })).toBe('allow')
  expect(publish(scout, 'agents/analyst/card', { qos: 1 })).toBe('no_rule')
  expect(subscribe(scout, 'tasks/scout/inbox')).toBe(1)
  expect(subscribe(scout, 'agents/+/card')).toBe(1)
  expect(subscribe(scout, '#')).toBe('no_rule')
  expect(publish(aclOf(policy, { agent: 'operator', user: 'alice' }), 'tools/post/call')).toBe('no_rule')
  expect(publish(aclOf(policy, { agent: 'operator', user: 'bob' }), 'tools/post/call')).toBe('allow')
})

test('the lines of mosquitto.conf stand in the file that explains them', () => {
  const lines = block('', 'listener').trim().split('\n')
  const whole = readFileSync('deploy/mosquitto.conf', 'utf8').split('\n')
  expect(lines.filter((line) => !whole.includes(line))).toEqual([])
})

it.each(['README.md', 'CHANGELOG.md', 'SECURITY.md', 'docs/architecture.md', 'docs/configuration.md'])(
  'every link of %s leads to a file',
  (file) => {
    const links = [...readFileSync(file, 'utf8').matchAll(/\]\(([^)#]+)[^)]*\)/g)].map(([, link]) => link!)
    const local = links.filter((link) => !/^\w+:/.test(link))
    expect(local.filter((link) => !existsSync(join(dirname(file), link)))).toEqual([])
  },
)

test('the diagrams of docs/architecture.md name functions that exist', () => {
  const text = readFileSync('docs/architecture.md', 'utf8')
  const boxes = [...text.matchAll(/^ *(\w+\/[\w-]+\.ts) +(#?\w+)/gm)].map(
    ([, file, name]) => [file!, name!] as const,
  )
  expect(boxes.length).toBeGreaterThan(25)
  const missing = boxes.filter(([file, name]) => !readFileSync(`src/${file}`, 'utf8').includes(`${name}(`))
  expect(missing).toEqual([])
})

test('the tree of docs/architecture.md names folders and files that exist', () => {
  const tree = readFileSync('docs/architecture.md', 'utf8').split('## The tree')[1]!.split('```')[1]!
  const named = tree.matchAll(/^( *)([\w.-]+\/?)(?: |$)/gm)
  const missing: string[] = []
  let root = ''
  for (const [, indent, name] of named) {
    if (indent === '') root = name!
    const path = indent === '' ? name! : `${root}${name}`
    if (!existsSync(path)) missing.push(path)
  }
  expect(missing).toEqual([])
})
