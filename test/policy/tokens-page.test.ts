// docs/tokens.md says what the code does: its configurations are loaded, its tokens signed and verified under them,
// its tables run.
import { describe, expect, it } from 'vitest'
import type { Config } from '../../src/config/config.ts'
import { loadConfig } from '../../src/config/load.ts'
import { AUTH_FAILURES, connackFor } from '../../src/identity/auth-failure.ts'
import { readAif } from '../../src/identity/ceiling.ts'
import { bindClientId } from '../../src/identity/client-id.ts'
import { parseKeySet } from '../../src/identity/key-set.ts'
import { bindPrincipal } from '../../src/identity/principal.ts'
import { TokenVerifier, type VerifyResult } from '../../src/identity/token-verifier.ts'
import { FixedKeys, RawSigner } from '../identity/raw-signer.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { DEFAULTS, policyOf } from '../support/permission.ts'
import { answer, codes, Page } from './page.ts'

type Claims = Record<string, unknown>

const PAGE = Page.read('docs/tokens.md')
const MODES = ['act', 'client', 'claims', 'self'] as const
type Mode = (typeof MODES)[number]

const signer = new RawSigner()
const keys = await FixedKeys.of([signer.jwk])

/** A whole configuration around the part that a page shows. */
function configOf(part: string): Config {
  const rest = `
listeners: [{ address: 127.0.0.1:1883 }]
upstream: { address: unix:/run/broker.sock, username: postern }
audience: https://mqtt.example.com
policy: { file: policy.yaml }
audit: { file: audit.jsonl }
`
  const loaded = loadConfig(part + rest, '/etc/postern/postern.yaml', {})
  if ('problems' in loaded) throw new Error(JSON.stringify(loaded.problems))
  expect(loaded.warnings).toEqual([])
  return loaded.config
}

/** Signs the claims and verifies them as under this configuration, a second after `iat` of the page's tokens. */
function verify(config: Config, claims: Claims, header: object = {}): Promise<VerifyResult> {
  const issuers = config.issuers.map((issuer) => ({ config: issuer, keys }))
  const clock = new FakeClock(Number(exampleOf('act')['iat']) * 1000 + 1000)
  return new TokenVerifier(issuers, clock, config.token).verify(signer.sign(claims, header))
}

function exampleOf(mode: Mode): Claims {
  return JSON.parse(PAGE.section(`### ${mode}`).blocks('json')[0]!) as Claims
}

const configs = new Map(MODES.map((mode) => [mode, configOf(PAGE.section(`### ${mode}`).blocks('yaml')[0]!)]))

describe.each(MODES)('the example of mapping %s', (mode) => {
  const config = configs.get(mode)!
  const example = exampleOf(mode)

  it('names the mapping that its configuration has, and is accepted as whom the page says', async () => {
    expect(config.issuers.map(({ mapping }) => mapping)).toEqual([mode])
    const result = await verify(config, example)
    if (!result.ok) throw new Error(result.reason)
    const { agent, human, delegated } = result.principal
    const whom = delegated
      ? `acting for \`${human.id}\`.`
      : `acting for itself; \`${human.id}\` answers for it.`
    expect(PAGE.section(`### ${mode}`).text).toContain(`\nAgent \`${agent.id}\`, ${whom}\n`)
  })

  const samples: Claims = {
    nbf: example['iat'],
    txn: 't',
    agent_id: mode === 'self' ? 'night-watch' : 'scout',
    user_id: 'alice',
    org_id: 'acme',
    act: { iss: 'https://id.example.com', sub: 'scout' },
    cnf: { jkt: 'x' },
  }
  const column = MODES.indexOf(mode) + 1
  const rows = PAGE.table('claim', '`act`', '`client`', '`claims`', '`self`', 'what it is')
  it.each(rows.map((row) => [codes(row[0]!)[0]!, row[column]!]))('claim %s: %s', async (claim, expected) => {
    const present = await verify(config, { ...example, [claim]: example[claim] ?? samples[claim] })
    expect(present.ok).toBe(expected !== 'refused')
    const absent = await verify(config, { ...example, [claim]: undefined })
    expect(absent.ok).toBe(expected !== 'required')
    const ofAnotherType = await verify(config, { ...example, [claim]: [7] })
    expect(ofAnotherType.ok).toBe(expected === 'not read')
  })
})

describe.each(['kubernetes', 'spiffe'] as const)('the example of mapping %s', (mode) => {
  it('is accepted as whom the page says', async () => {
    const section = PAGE.section(`### ${mode}`)
    const config = configOf(section.blocks('yaml')[0]!)
    const workloads = new RawSigner('w', 'RS256')
    const set = await FixedKeys.of([workloads.jwk], ['RS256'])
    const issuers = config.issuers.map((issuer) => ({ config: issuer, keys: set }))
    const claims = JSON.parse(section.blocks('json')[0]!) as Claims
    const clock = new FakeClock(Number(claims['iat']) * 1000 + 1000)
    const token = workloads.sign(claims, { typ: undefined })
    const result = await new TokenVerifier(issuers, clock, config.token).verify(token)
    if (!result.ok) throw new Error(result.reason)
    const { agent, human } = result.principal
    expect(section.text).toContain(
      `\nAgent \`${agent.id}\`, acting for itself; \`${human.id}\` answers for it.\n`,
    )
  })
})

describe('what the text says', () => {
  const config = configs.get('act')!

  it('names from the configured claims, each then required', async () => {
    const named = configOf(PAGE.section('### act').blocks('yaml')[1]!)
    const act = { iss: 'https://id.example.com', sub: 'spiffe://example.com/agent-42' }
    const claims = { ...exampleOf('act'), act, agent_id: 'scout', user_id: 'bob', org_id: 'acme' }
    expect(await verify(named, claims)).toMatchObject({
      principal: { agent: { id: 'scout' }, human: { id: 'bob' } },
    })
    for (const name of ['agent_id', 'user_id'])
      expect(await verify(named, { ...claims, [name]: undefined })).toMatchObject({ reason: 'missing_claim' })
    const others = { agent_id: 'operator', user_id: 'bob', org_id: 'acme' }
    expect(await verify(config, { ...exampleOf('act'), ...others })).toMatchObject({
      principal: { agent: { id: 'scout' }, human: { id: 'alice' }, tenant: undefined },
    })
  })

  it('header', async () => {
    const example = exampleOf('act')
    for (const [header, ok] of [
      [{ typ: 'at+jwt' }, true],
      [{ typ: 'application/at+jwt' }, true],
      [{ typ: 'JWT' }, false],
      [{ typ: undefined }, false],
      [{ kid: undefined }, true],
      [{ crit: ['x'], x: 1 }, false],
      [{ jku: 'https://elsewhere.example' }, true],
    ] as const) {
      expect((await verify(config, example, header)).ok, JSON.stringify(header)).toBe(ok)
    }
  })

  it('defaults', () => {
    expect(config.token).toMatchObject({ maxBytes: 8192, methods: ['OAUTH2-JWT'], fromUsername: false })
    expect(config.clientId).toEqual({ binding: 'exact', separator: '-' })
    expect(config.issuers[0]).toMatchObject({
      mapping: 'act',
      maxLifetime: 15 * 60_000,
      leeway: 30_000,
      maxActorDepth: 4,
      missingCeiling: 'none',
    })
  })

  it('attributes from claims, the issuer among them', async () => {
    const named = await verify(configs.get('claims')!, exampleOf('claims'))
    expect(named.ok && named.principal.attributes.get('team')).toEqual(['red', 'blue'])
    const both = configOf(PAGE.section('### Two issuers').blocks('yaml')[0]!)
    const result = await verify(both, exampleOf('act'))
    expect(result.ok && result.principal.attributes.get('issuer')).toEqual(['https://id.example.com'])
  })

  it('keys by URL and by file', async () => {
    const section = PAGE.section('## Keys')
    const sources = section.blocks('yaml').map((block) => configOf(block).issuers[0]!.jwks)
    expect(sources.map(({ url, file }) => url ?? file)).toEqual([
      'https://id.example.com/.well-known/jwks.json',
      '/etc/postern/keys.json',
    ])
    const set = await parseKeySet(section.blocks('json')[0]!, ['ES256'])
    expect(set.choose('ES256', '2026-11').ok && set.brokenCount === 0).toBe(true)
  })
})

describe('permissions in the token', () => {
  const section = PAGE.section('## Permissions in the token')
  const [scope, readable, ...others] = section.blocks('json').map((block) => JSON.parse(block) as Claims)
  const examples = new Map([scope!, ...others].map((claims) => [Object.keys(claims)[0]!, claims]))
  const policy = policyOf(
    'version: 1\nagents: [{ id: all, allow: publish+subscribe, topic: "#", retain: allowed }]',
  )

  it('the scope is base64url of the JSON below it', () => {
    expect(readAif(scope!['scope'])).toEqual(readAif(readable))
    expect(readAif(readable)).toHaveLength(2)
  })

  it.each(section.table('claim', 'asked', 'answer'))('ACL-15: %s: %s: %s', async (claim, asked, expected) => {
    const name = codes(claim!)[0]!
    const ceiling = examples.get(name) ?? (JSON.parse(`{${name}}`) as Claims)
    const result = await verify(configs.get('act')!, { ...exampleOf('act'), ...ceiling })
    if (!result.ok) throw new Error(result.reason)
    const acl = policy.bind(bindPrincipal(result.principal, 'scout')!, { ...DEFAULTS, userLayer: 'none' })
    expect(acl.layers).toHaveLength(2)
    expect(answer(acl, codes(asked!)[0]!)).toBe(expected)
  })
})

const ids = PAGE.table('`binding`', 'agent', 'asked for', 'gets')
it.each(ids)('TOK-16: Client Identifier: %s: agent %s asks for %s: %s', (binding, agent, asked, gets) => {
  const rule = { binding: codes(binding!)[0] as Config['clientId']['binding'], separator: '-' }
  const requested = codes(asked!)[0] === '""' ? '' : codes(asked!)[0]!
  const bound = bindClientId(requested, codes(agent!)[0]!, rule, () => '…')
  const shown = bound.ok ? `${bound.assigned ? 'assigned ' : ''}\`${bound.clientId}\`` : `\`${bound.reason}\``
  expect(shown).toBe(gets)
})

it('TOK-20: every reason stands in the table, with its CONNACK codes', () => {
  const rows = PAGE.section('## When a token is refused').table('reason', 'as Password or User Name')
  const code = (reason: (typeof AUTH_FAILURES)[number], place: 'password' | 'authentication_data') =>
    `0x${connackFor(reason, place).code.toString(16).toUpperCase()}`
  expect(rows.map((cells) => cells.slice(0, 3))).toEqual(
    AUTH_FAILURES.map((reason) => [
      `\`${reason}\``,
      code(reason, 'password'),
      code(reason, 'authentication_data'),
    ]),
  )
  expect(rows.every(([, , , advice]) => advice !== '')).toBe(true)
})
