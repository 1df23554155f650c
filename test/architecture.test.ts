// The layers as one table: who may import what, which names stay where, how long a file may be. A rule that is not
// here is only a wish. Imports point down: errors, clock | wire, policy | identity, audit, telemetry, config | session |
// net | app | cmd; src/dev stands aside, for cmd and test.
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { builtinModules } from 'node:module'
import { posix } from 'node:path'
import { describe, expect, it } from 'vitest'

/** Folder or file -> what of our own it may import (a folder always itself). The longest key that fits counts. */
const LAYERS: Record<string, readonly string[]> = {
  'src/errors.ts': [],
  'src/clock.ts': [],
  'src/file-watch.ts': ['src/clock.ts'],
  'src/socket-file.ts': [],
  'src/http-reply.ts': [],
  'src/journal-file.ts': ['src/errors.ts', 'src/audit/file-lock.ts'],
  'src/policy-file.ts': ['src/errors.ts', 'src/policy/'],
  'src/catalogue-sets.ts': [
    ...[
      'src/identity/auth-failure.ts',
      'src/identity/grant-token.ts',
      'src/revocation/',
      'src/session/',
      'src/telemetry/',
      'src/wire/fault.ts',
    ],
  ],
  'src/wire/': [],
  'src/policy/': ['src/errors.ts'],
  'src/identity/': ['src/errors.ts', 'src/clock.ts', 'src/policy/', 'src/wire/'],
  'src/audit/': ['src/errors.ts', 'src/clock.ts'],
  'src/telemetry/': ['src/errors.ts', 'src/clock.ts', 'src/http-reply.ts', 'src/socket-file.ts'],
  'src/config/': ['src/errors.ts'],
  'src/store/': ['src/errors.ts', 'src/clock.ts'],
  'src/revocation/': [...['src/errors.ts', 'src/clock.ts', 'src/journal-file.ts', 'src/identity/']],
  'src/grants/': ['src/errors.ts', 'src/clock.ts', 'src/journal-file.ts', 'src/identity/'],
  'src/session/': [
    ...['src/errors.ts', 'src/clock.ts', 'src/wire/', 'src/policy/', 'src/audit/event.ts'],
    // Of identity only what is a pure function; the verifier comes in as a port.
    ...['src/identity/credential.ts', 'src/identity/client-id.ts', 'src/identity/auth-failure.ts'],
    'src/identity/named.ts',
    ...['src/telemetry/tally.ts', 'src/telemetry/catalogue.ts'],
  ],
  'src/net/': [
    'src/errors.ts',
    'src/clock.ts',
    'src/socket-file.ts',
    'src/session/',
    'src/telemetry/tally.ts',
    'src/telemetry/catalogue.ts',
  ],
  'src/audit-trail.ts': [
    ...[
      'src/errors.ts',
      'src/clock.ts',
      'src/audit/',
      'src/net/broker-publisher.ts',
      'src/net/syslog-sender.ts',
      'src/net/upstream-tls.ts',
    ],
    ...['src/telemetry/tally.ts', 'src/telemetry/catalogue.ts'],
  ],
  'src/evidence/': ['src/errors.ts', 'src/audit/', 'src/policy/topic-filter.ts'],
  'src/reloads.ts': ['src/clock.ts', 'src/file-watch.ts'],
  'src/reloadable.ts': [],
  'src/roles.ts': [],
  'src/app-metrics.ts': ['src/telemetry/'],
  'src/app-checks.ts': [],
  'src/app-context.ts': ['src/net/dialer.ts', 'src/net/event-loop.ts', 'src/session/'],
  'src/app-listeners.ts': ['src/net/listener.ts', 'src/net/shared-port.ts', 'src/session/registry.ts'],
  'src/app-reports.ts': ['src/policy-file.ts', 'src/telemetry/'],
  'src/app-keys.ts': ['src/app-reports.ts', 'src/identity/issuers.ts', 'src/revocation/withdrawn-keys.ts'],
  'src/token-checks.ts': ['src/clock.ts', 'src/identity/', 'src/revocation/', 'src/telemetry/tally.ts'],
  'src/app.ts': [
    'src/token-checks.ts',
    ...['src/app-metrics.ts', 'src/app-checks.ts', 'src/app-context.ts', 'src/app-reports.ts'],
    'src/app-listeners.ts',
    'src/app-keys.ts',
    ...['src/reloadable.ts', 'src/reloads.ts'],
    'src/policy-file.ts',
    'src/catalogue-sets.ts',
    ...['src/errors.ts', 'src/clock.ts', 'src/wire/', 'src/policy/', 'src/identity/'],
    ...[
      'src/audit/',
      'src/telemetry/',
      'src/config/',
      'src/revocation/',
      'src/grants/',
      'src/store/',
      'src/credentials/',
      'src/session/',
      'src/net/',
      'src/audit-trail.ts',
    ],
  ],
  // The first process and its workers: the one side holds no session, the other is an app.
  'src/workers/': [
    ...['src/errors.ts', 'src/clock.ts', 'src/app.ts', 'src/telemetry/'],
    ...['src/revocation/roster.ts', 'src/revocation/service.ts', 'src/session/session-memory.ts'],
  ],
  // A process of its own: it shares keys, audit and files with the proxy, and knows no session.
  'src/sts/': [
    ...['src/errors.ts', 'src/clock.ts', 'src/http-reply.ts', 'src/reloads.ts', 'src/socket-file.ts'],
    ...['src/identity/', 'src/audit/', 'src/telemetry/logger.ts'],
  ],
  'src/credentials/': [
    ...['src/errors.ts', 'src/clock.ts', 'src/file-watch.ts', 'src/identity/', 'src/wire/heads.ts'],
  ],
  'src/agent/': ['src/clock.ts'],
  'src/dev/': ['src/errors.ts', 'src/clock.ts'],
  'cmd/': ['src/'],
  'bench/': ['src/', 'test/support/'],
  'test/': ['src/', 'cmd/'],
}

/** What only the types of may be imported, besides the above: shapes without code. */
const TYPES: Record<string, readonly string[]> = {
  'src/identity/': ['src/config/config.ts', 'src/config/credential-config.ts'],
  'src/audit/': ['src/config/config.ts'],
  'src/telemetry/': ['src/config/config.ts'],
  'src/grants/': ['src/config/config.ts', 'src/store/'],
  'src/revocation/': [
    'src/config/config.ts',
    'src/audit/event.ts',
    'src/identity/',
    'src/store/',
    'src/telemetry/admin.ts',
  ],
  'src/sts/': ['src/config/sts-config.ts'],
  'src/credentials/': ['src/config/', 'src/telemetry/logger.ts'],
  'src/store/': ['src/config/config.ts'],
  'src/session/': [
    'src/config/config.ts',
    'src/identity/',
    'src/grants/used-grants.ts',
    'src/telemetry/logger.ts',
  ],
  'src/net/': ['src/identity/confirmation.ts', 'src/config/config.ts', 'src/telemetry/logger.ts'],
  'src/catalogue-sets.ts': ['src/config/config.ts'],
  'src/reloads.ts': ['src/telemetry/catalogue.ts'],
  'src/token-checks.ts': ['src/audit/event.ts', 'src/telemetry/catalogue.ts'],
  'src/reloadable.ts': ['src/config/config.ts', 'src/reloads.ts'],
  'src/roles.ts': ['src/grants/', 'src/revocation/', 'src/session/', 'src/telemetry/'],
  'src/app-checks.ts': [
    ...['src/audit-trail.ts', 'src/identity/token-verifier.ts', 'src/net/upstream-probe.ts', 'src/roles.ts'],
    ...['src/credentials/', 'src/revocation/service.ts', 'src/store/store.ts', 'src/telemetry/admin.ts'],
  ],
  'src/app-context.ts': [
    ...['src/audit-trail.ts', 'src/clock.ts', 'src/config/config.ts', 'src/identity/', 'src/net/'],
    ...['src/credentials/', 'src/policy/policy.ts', 'src/telemetry/'],
  ],
  'src/app-reports.ts': [
    'src/identity/issuers.ts',
    ...['src/audit-trail.ts', 'src/reloads.ts', 'src/revocation/service.ts', 'src/store/store.ts'],
  ],
  'src/app.ts': ['src/roles.ts'],
  'src/app-listeners.ts': ['src/clock.ts', 'src/config/config.ts', 'src/roles.ts', 'src/telemetry/logger.ts'],
  'src/app-keys.ts': [
    ...['src/audit-trail.ts', 'src/clock.ts', 'src/config/config.ts'],
    ...['src/identity/token-verifier.ts', 'src/revocation/roster.ts'],
  ],
  'src/workers/': [
    ...['src/config/config.ts', 'src/grants/', 'src/revocation/', 'src/roles.ts'],
    'src/session/registry.ts',
  ],
  'src/app-metrics.ts': [
    'src/audit-trail.ts',
    'src/credentials/credential-broker.ts',
    'src/identity/token-verifier.ts',
    'src/policy/policy.ts',
    'src/revocation/service.ts',
    'src/store/store.ts',
  ],
  'src/audit-trail.ts': ['src/config/config.ts', 'src/telemetry/logger.ts'],
}

/** Package or node: module -> where in src and cmd it may be imported. What is not listed belongs nowhere. */
const PACKAGES: Record<string, readonly string[]> = {
  '@redis/client': ['src/store/'],
  canonicalize: ['src/audit/', 'src/evidence/'],
  commander: ['cmd/'],
  jose: ['src/identity/', 'src/sts/', 'src/dev/'],
  mqtt: ['src/dev/', 'cmd/'],
  'mqtt-packet': ['src/wire/reply.ts', 'src/net/broker-publisher.ts'],
  pino: ['src/telemetry/logger.ts'],
  'prom-client': ['src/telemetry/metrics.ts'],
  undici: ['src/identity/', 'src/audit/checkpoint-hook.ts', 'src/audit/otlp.ts'],
  yaml: ['src/config/', 'src/policy/document'],
  zod: ['src/config/', 'src/policy/document'],
  'node:buffer': ['src/', 'cmd/'],
  'node:child_process': ['src/workers/', 'src/dev/', 'cmd/'],
  'node:crypto': [
    'src/workers/',
    'src/agent/',
    'src/evidence/',
    'src/identity/',
    'src/audit/',
    'src/revocation/',
    'src/session/',
    'src/net/',
    'src/sts/',
    'src/credentials/',
    'src/policy-file.ts',
    'src/dev/',
    'cmd/',
  ],
  'node:dgram': ['src/net/syslog-sender.ts'],
  'node:events': ['src/audit/', 'src/net/', 'src/app.ts', 'src/dev/', 'cmd/'],
  'node:fs': [
    'src/evidence/chains.ts',
    'src/file-watch.ts',
    'src/socket-file.ts',
    'src/audit/',
    'src/telemetry/logger.ts',
    'src/config/load.ts',
    'src/dev/',
    'cmd/',
  ],
  'node:fs/promises': [
    'src/workers/',
    'src/app.ts',
    'src/file-watch.ts',
    'src/journal-file.ts',
    'src/identity/',
    'src/audit/',
    'src/net/',
    'src/revocation/',
    'src/sts/',
    'src/credentials/',
    'src/store/',
    'src/policy-file.ts',
    'src/dev/',
    'cmd/',
  ],
  'node:http': ['src/http-reply.ts', 'src/telemetry/admin.ts', 'src/sts/http-server.ts', 'src/dev/'],
  'node:https': ['src/sts/http-server.ts'],
  'node:net': [
    // The type of what is handed from process to process.
    ...['src/app.ts', 'src/roles.ts', 'src/workers/'],
    'src/socket-file.ts',
    'src/net/',
    'src/telemetry/admin.ts',
    'src/config/fields.ts',
    'src/sts/http-server.ts',
    'src/dev/',
    'cmd/',
  ],
  'node:os': ['src/audit/', 'src/dev/', 'cmd/'],
  'node:path': [
    'src/evidence/chains.ts',
    'src/file-watch.ts',
    'src/journal-file.ts',
    'src/audit/',
    'src/config/',
    'src/dev/',
    'cmd/',
  ],
  'node:process': ['cmd/'],
  'node:readline': ['src/dev/', 'cmd/'],
  'node:stream': ['src/audit/', 'src/audit-trail.ts', 'src/app.ts', 'src/workers/'],
  'node:stream/promises': ['src/audit/segments.ts'],
  'node:tls': ['src/net/'],
  'node:url': ['cmd/'],
  'node:v8': ['cmd/memory.ts'],
  'node:util': ['src/identity/status-list.ts', 'src/audit/', 'src/dev/', 'cmd/'],
  'node:zlib': ['src/identity/status-list.ts', 'src/audit/segments.ts'],
}

/** Name -> where in src, cmd and bench it may stand, and why nowhere else. */
const NAMES: readonly { name: string; pattern: RegExp; allowed: readonly string[]; why: string }[] = [
  {
    name: 'the time',
    pattern: /\bDate\.now\b|\bnew Date\(\)|\bperformance\.now\b|\bhrtime\b/,
    allowed: ['src/clock.ts', 'cmd/', 'bench/'],
    why: 'take a Clock, so that a test can set it',
  },
  {
    name: 'timers',
    pattern: /(?<![.\w#])(?:setTimeout|setInterval)\(|node:timers/,
    allowed: ['src/clock.ts', 'bench/'],
    why: 'take a Clock, so that a test can set it',
  },
  {
    name: 'Math.random',
    pattern: /\bMath\.random\b/,
    allowed: ['bench/'],
    why: 'an attacker can predict it',
  },
  {
    name: 'process.env',
    pattern: /\bprocess\.env\b/,
    allowed: ['cmd/', 'bench/'],
    why: 'the command hands it in',
  },
  {
    name: 'process.exit',
    pattern: /\bprocess\.exit/,
    allowed: ['cmd/', 'bench/'],
    why: 'only the command may end us',
  },
  {
    name: 'console',
    pattern: /\bconsole\./,
    allowed: ['cmd/', 'bench/'],
    why: 'use the logger that is handed in',
  },
  { name: 'eval', pattern: /\beval\(|\bnew Function\(/, allowed: [], why: 'text is not code' },
]

const FORBIDDEN_FILE_NAMES = /(^|\/)(utils?|helpers?|common|misc|index)\.ts$/
const LONGEST_FILE_LINES = 400

type Import = { from: string; typeOnly: boolean }

function importsOf(path: string, code: string): Import[] {
  const found: Import[] = []
  const pattern =
    /^(?:import|export)\s+(type\s)?(?:[\w$*{][^'"]*?\sfrom\s+)?['"]([^'"]+)['"]|\bimport\(\s*['"]([^'"]+)['"]/gm
  for (const match of code.matchAll(pattern)) {
    const specifier = match[2] ?? match[3]!
    const from = specifier.startsWith('.') ? posix.join(posix.dirname(path), specifier) : specifier
    found.push({ from, typeOnly: match[1] !== undefined })
  }
  return found
}

/** A folder ends with `/`; anything else is the beginning of a path, such as `src/policy/document`. */
function isUnder(path: string, places: readonly string[]): boolean {
  return places.some((place) => path.startsWith(place))
}

function rowFor<T>(table: Record<string, T>, path: string): [string, T] | undefined {
  const fits = Object.entries(table).filter(([place]) => path.startsWith(place))
  return fits.sort(([a], [b]) => b.length - a.length)[0]
}

function packageName(specifier: string): string {
  if (specifier.startsWith('node:')) return specifier
  return specifier.split('/', specifier.startsWith('@') ? 2 : 1).join('/')
}

/** Everything that one file does against the rules, as sentences. */
function violations(path: string, text: string): string[] {
  const product = !path.startsWith('test/')
  const code = text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/(^|\s)\/\/.*$/gm, '$1')
  const found: string[] = []
  const row = rowFor(LAYERS, path)
  if (row === undefined) return [`${path} belongs to no layer`]
  const [layer, allowed] = row
  const types = rowFor(TYPES, path)?.[1] ?? []
  for (const { from, typeOnly } of importsOf(path, code)) {
    if (builtinModules.includes(from)) found.push(`${path} imports ${from}: write node:${from}`)
    else if (/^(src|cmd|test|bench|deploy)\//.test(from)) {
      const own = isUnder(from, [layer, ...allowed, ...(typeOnly ? types : [])])
      if (!own) found.push(`${path} may not import ${from}`)
      if (!/\.(ts|json)$/.test(from)) found.push(`${path} imports ${from} without its suffix`)
    } else if (product && !path.startsWith('bench/')) {
      if (!isUnder(path, PACKAGES[packageName(from)] ?? [])) found.push(`${path} may not import ${from}`)
    }
  }
  for (const { name, pattern, allowed: places, why } of NAMES) {
    if (product && pattern.test(code) && !isUnder(path, places)) found.push(`${path} uses ${name}: ${why}`)
  }
  if (FORBIDDEN_FILE_NAMES.test(path)) found.push(`${path}: name the file for what it holds`)
  if (product && text.split('\n').length - 1 > LONGEST_FILE_LINES) {
    found.push(`${path} has more than ${LONGEST_FILE_LINES} lines: split it by theme`)
  }
  if (product && !/^(#!.*\n)?\/\/ /.test(text)) found.push(`${path} does not begin with what it owns`)
  return found
}

function sourceFiles(): string[] {
  // A folder without files is not in a clone.
  const roots = ['src', 'cmd', 'bench', 'test'].filter((root) => existsSync(root))
  return roots.flatMap((root) =>
    readdirSync(root, { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.ts') && !name.includes('node_modules'))
      .map((name) => `${root}/${name.replaceAll('\\', '/')}`),
  )
}

describe('the architecture', () => {
  const files = sourceFiles()

  it('keeps to its layers, names and lengths', () => {
    expect(files.length).toBeGreaterThan(20)
    expect(files.flatMap((path) => violations(path, readFileSync(path, 'utf8')))).toEqual([])
  })

  it('mentions no directory of a developer’s machine', () => {
    const more = ['README.md', 'CHANGELOG.md', 'SECURITY.md', 'package.json', '.ci/run']
    const trees = ['docs', 'deploy'].flatMap((root) =>
      readdirSync(root, { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map((entry) => `${entry.parentPath}/${entry.name}`),
    )
    const machine = /\/(?:work|root|Users)\/[a-z]/
    const read = (path: string): string => {
      try {
        return readFileSync(path, 'utf8')
      } catch {
        return ''
      }
    }
    expect([...files, ...more, ...trees].filter((path) => machine.test(read(path)))).toEqual([])
  })

  it('lists only packages that package.json has', () => {
    const manifest = JSON.parse(readFileSync('package.json', 'utf8')) as Record<
      string,
      Record<string, string>
    >
    const known = [...Object.keys(manifest['dependencies']!), ...Object.keys(manifest['devDependencies']!)]
    const packages = Object.keys(PACKAGES).filter((name) => !name.startsWith('node:'))
    expect(packages.filter((name) => !known.includes(name))).toEqual([])
    expect(Object.keys(manifest['dependencies']!).filter((name) => !packages.includes(name))).toEqual([])
  })
})

describe('each rule finds what it is for', () => {
  it.each([
    ['src/wire/x.ts', "import { a } from '../policy/acl.ts'", 'may not import src/policy/acl.ts'],
    ['src/wire/x.ts', "import { jwtVerify } from 'jose'", 'may not import jose'],
    ['src/wire/x.ts', "import fs from 'node:fs'", 'may not import node:fs'],
    ['src/wire/x.ts', "import {\n  generate,\n} from 'mqtt-packet'", 'may not import mqtt-packet'],
    ['src/revocation/x.ts', "import { createClient } from '@redis/client'", 'may not import @redis/client'],
    ['src/wire/x.ts', "import 'left-pad'", 'may not import left-pad'],
    ['src/policy/x.ts', "export * from '../wire/utf8.ts'", 'may not import src/wire/utf8.ts'],
    ['src/policy/rule.ts', "import { z } from 'zod'", 'may not import zod'],
    ['src/session/x.ts', "import { connect } from 'node:net'", 'may not import node:net'],
    [
      'src/session/x.ts',
      "import { Verifier } from '../identity/token-verifier.ts'",
      'may not import src/identity',
    ],
    ['src/session/x.ts', "import { loadConfig } from '../config/load.ts'", 'may not import src/config'],
    ['src/config/x.ts', "const a = await import('../session/session.ts')", 'may not import src/session'],
    ['src/app.ts', "import { startMosquitto } from './dev/mosquitto.ts'", 'may not import src/dev'],
    ['src/net/x.ts', "import { frame } from '../../test/support/frames.ts'", 'may not import test/support'],
    ['src/net/x.ts', "import { a } from './listener'", 'without its suffix'],
    ['src/net/x.ts', "import net from 'net'", 'write node:net'],
    ['src/audit/x.ts', 'const at = Date.now()', 'uses the time'],
    ['src/audit/x.ts', 'const at = new Date().toISOString()', 'uses the time'],
    ['src/net/x.ts', 'setTimeout(end, 5)', 'uses timers'],
    ['cmd/x.ts', 'setTimeout(end, 5)', 'uses timers'],
    ['src/session/x.ts', 'const id = Math.random()', 'uses Math.random'],
    ['src/config/x.ts', 'const a = process.env.HOME', 'uses process.env'],
    ['src/app.ts', 'process.exit(1)', 'uses process.exit'],
    ['src/app.ts', "console.log('x')", 'uses console'],
    ['src/wire/utils.ts', '', 'name the file'],
    ['src/other/x.ts', '', 'belongs to no layer'],
  ])('%s: %j', (path, code, expected) => {
    expect(violations(path, `// What it owns.\n${code}\n`).join('\n')).toContain(expected)
  })

  it('counts lines', () => {
    expect(violations('src/wire/x.ts', `// What.\n${'x\n'.repeat(399)}`)).toEqual([])
    expect(violations('src/wire/x.ts', `// What.\n${'x\n'.repeat(400)}`)).toEqual([
      'src/wire/x.ts has more than 400 lines: split it by theme',
    ])
  })

  it('wants a header', () => {
    expect(violations('src/wire/x.ts', 'export {}\n')).toEqual([
      'src/wire/x.ts does not begin with what it owns',
    ])
  })

  it.each([
    ['src/session/x.ts', "import type { Principal } from '../identity/principal.ts'"],
    ['src/session/x.ts', '// setTimeout( would be wrong here, Date.now too\nsocket.setTimeout(5)'],
    ['src/policy/document.ts', "import { parseDocument } from 'yaml'"],
    ['src/wire/reply.ts', "import { generate } from 'mqtt-packet'"],
    ['cmd/x.ts', "#!/usr/bin/env node\nimport { runApp } from '../src/app.ts'\nconsole.log(process.env)"],
    ['test/wire/x.test.ts', "import { it } from 'vitest'\nsetTimeout(() => {}, 1)"],
  ])('%s may: %j', (path, code) => {
    expect(
      violations(path, code.startsWith('#!') ? code.replace('\n', '\n// What.\n') : `// What.\n${code}`),
    ).toEqual([])
  })
})
