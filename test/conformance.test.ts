// Which test shows which requirement: reads the names of all tests and writes docs/conformance.md
// (`npx vitest run test/conformance.test.ts -u`). A requirement of this version without a test is a failure.
//
// A test's name begins with the ids that it shows: `P24, ACL-07 at QoS 2: …`, also in a column of a table. Rows of the
// list of bypasses published for other brokers are written `peers.C7`, for the first list has a C7 too. Where tests of
// one layer write such an id without `peers.`, it counts for neither.
import { readdirSync, readFileSync } from 'node:fs'
import { expect, test } from 'vitest'

/** `C1-C4` to C1, C2, C3, C4; two digits stay two digits. */
function range(text: string): string[] {
  return text.split(' ').flatMap((part) => {
    const [first, last] = part.split('..') as [string, string?]
    const digits = /\d+$/.exec(first)![0]
    const prefix = first.slice(0, -digits.length)
    const count = Number(last ?? digits) - Number(digits) + 1
    return Array.from(
      { length: count },
      (_, i) => prefix + String(Number(digits) + i).padStart(digits.length, '0'),
    )
  })
}

interface List {
  title: string
  about: string
  /** Ids that must have a test. */
  required: string[]
  /** Ids of the same list that this version does not offer, and why. */
  later: [ids: string, why: string][]
}

const LISTS: List[] = [
  {
    title: 'Agents over MQTT',
    about:
      'Input and verdict for agents that delegate tasks and call tools: connect (C), publish (P), subscribe and delivery (S), on behalf of a user (O), life cycle (R), audit (A).',
    required: range('C1..4 C6..15 P1..7 P10..13 P15 P19..26 S1..12 O1..5 R1 A1..3'),
    later: [
      ['C5 O6 R4', 'revocation'],
      ['R2..3', 're-authentication'],
      ['R5', 'one-use grants'],
      [
        'E1..12 M1..12',
        'EMQX’s own profiles of A2A and MCP, whose rules are about payloads and user properties',
      ],
      ['O7', 'delegation chains with rights of their own'],
      [
        'C16 P8..9 P14 P16..18 P27..29',
        'reading of payloads and user properties, and of calls that are open',
      ],
    ],
  },
  {
    title: 'Identity, delegation, enforcement, operation',
    about: 'Requirements from RFC 9431, RFC 8725, RFC 9068, RFC 8693 and what builds on them.',
    required: range(
      'TOK-01..18 TOK-20 KEY-01..05 KEY-08 DEL-01..12 ACL-01..16 ACL-18 EXP-01 EXP-06 AUD-01..04 AUD-08..10 OPS-01..07',
    ),
    later: [
      ['TOK-19', 'MQTT 3.1.1'],
      ['KEY-06..07', 'withdrawn keys that cut live connections'],
      ['DEL-13..16', 'credential broker'],
      ['ACL-17', 'an external policy decision point'],
      ['EXP-02..05', 're-authentication'],
      ['POP-01..08', 'proof of possession'],
      ['JIT-01..09', 'just-in-time grants'],
      ['REV-01..18', 'revocation'],
      ['AUD-05..07 AUD-11..14', 'signed checkpoints, export formats, search'],
      ['OPS-08..10', 'draft versions in the configuration, discovery'],
    ],
  },
  {
    title: 'Published bypasses of other brokers and proxies',
    about:
      'Vulnerabilities and reports of other brokers, each turned into a test: identity values as patterns (A), wildcards (B), `$` and shared subscriptions (C), Will (D), retained messages and revocation (E), sessions (F), QoS flows (G), Topic Aliases (H), request/response (I), parsing and resources (J), authentication and configuration (K), gaps (L).',
    required: range(
      'peers.A1..10 peers.B1..8 peers.C1..8 peers.D1..2 peers.D4..5 peers.E1..5 peers.F1..4 peers.G1..3 peers.G5..6 peers.H1..4 peers.I1..2 peers.I5..6 peers.J6 peers.J9..10 peers.J12 peers.J14 peers.K11 peers.L6',
    ),
    later: [
      ['peers.D3', 'no topic is rewritten'],
      ['peers.F5..6', 'no secret has a default; the second names no cause'],
      ['peers.G4', 'MQTT 3.1.1'],
      ['peers.I3..4', 'user properties pass as they are'],
      ['peers.L5', 'Keep Alive is the broker’s to limit; the lifetime of the token bounds every connection'],
    ],
  },
]

const PREFIXED = String.raw`(?:TOK|KEY|DEL|ACL|EXP|POP|JIT|REV|AUD|OPS)-\d\d`
const ID = String.raw`(?:${PREFIXED}|peers\.[A-L]\d{1,2}|[A-Z]\d{1,2})`
/** A text that begins with ids: the name of a test, or a cell of a table of tests. */
const NAME = new RegExp(String.raw`['"\`](${ID}(?:,? ${ID})*)(?=['"\`\s:])`, 'g')

/** Letters that only the list of bypasses has. */
const ONLY_PEERS = /^[BDFGHIJKL]\d/
const IN_BOTH = /^(?:A[1-3]|C[1-8]|E[1-5])$/
/** Where ids are written in full. */
const EXACT = /^test\/(?:e2e|session)\//

function testsById(): Map<string, Set<string>> {
  const found = new Map<string, Set<string>>()
  const files = readdirSync('test', { recursive: true, encoding: 'utf8' }).filter((name) =>
    name.endsWith('.test.ts'),
  )
  for (const file of files.map((name) => `test/${name.replaceAll('\\', '/')}`).sort()) {
    if (file === 'test/conformance.test.ts') continue
    for (const [, ids] of readFileSync(file, 'utf8').matchAll(NAME)) {
      for (const written of ids!.split(/,? /)) {
        if (IN_BOTH.test(written) && !EXACT.test(file)) continue
        const id = ONLY_PEERS.test(written) ? `peers.${written}` : written
        found.set(id, (found.get(id) ?? new Set()).add(file))
      }
    }
  }
  return found
}

function document(tests: Map<string, Set<string>>): string {
  const lines = [
    '# Conformance',
    '',
    '<!-- Made from the names of the tests by `npx vitest run test/conformance.test.ts -u`; do not edit. -->',
    '',
    'Requirements that this version meets, and the tests that show it. The name of each test begins with the ids it shows.',
  ]
  for (const { title, about, required, later } of LISTS) {
    lines.push('', `## ${title}`, '', about, '', '| id | tests |', '| --- | --- |')
    const others = later.flatMap(([ids]) => range(ids)).filter((id) => tests.has(id))
    const all = [...required, ...others].sort(byId)
    for (const id of all) {
      const files = [...(tests.get(id) ?? [])].map((file) => `[${file.slice('test/'.length)}](../${file})`)
      lines.push(`| ${id} | ${files.join(', ')} |`)
    }
    lines.push('', 'Not in this version:', '', '| ids | |', '| --- | --- |')
    for (const [ids, why] of later) {
      const open = range(ids).filter((id) => !tests.has(id))
      if (open.length > 0) lines.push(`| ${open.join(', ')} | ${why} |`)
    }
  }
  return `${lines.join('\n')}\n`
}

function byId(a: string, b: string): number {
  const key = (id: string) => id.replace(/\d+$/, (digits) => digits.padStart(3, '0'))
  return key(a) < key(b) ? -1 : 1
}

test('every requirement of this version has a test', () => {
  const tests = testsById()
  expect(LISTS.flatMap((list) => list.required).filter((id) => !tests.has(id))).toEqual([])
})

test('docs/conformance.md is up to date', async () => {
  await expect(document(testsById())).toMatchFileSnapshot('../docs/conformance.md')
})
