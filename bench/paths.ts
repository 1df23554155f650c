// What stands between source and sink, each started in front of a sink of its own.

import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { systemClock } from '../src/clock.ts'
import { freePort } from '../src/dev/free-port.ts'
import { agentClaims, DEV_AUDIENCE, DEV_ISSUER, DevIssuer } from '../src/dev/issuer.ts'
import { startProgram, withChildren } from './processes.ts'
import { SmallCores } from './small-cores.ts'
import type { Client } from './source.ts'

/**
 * `direct` is no proxy at all; `postern` sums up repeated actions in its audit log, `postern-each` has a record for each;
 * `-undigested`: without the digest of its payload; `-prompt`: no message is made to wait for others; with `-2`, two workers.
 */
export const PATH_NAMES = [
  ...(['direct', 'haproxy', 'nginx', 'pipe', 'codec'] as const),
  ...(['postern', 'postern-prompt', 'postern-each', 'postern-each-undigested'] as const),
  ...(['postern-2', 'postern-each-2'] as const),
] as const
export type PathName = (typeof PATH_NAMES)[number]

/** Identical actions of one agent in a second that have a record each. */
const OWN_RECORDS = 10

export interface Path {
  port: number
  /** 0: there is no process (direct). */
  pid: number
  /** Drops what the policy denies. */
  enforces: boolean
  /** Once it is warm: no more than the cores that the settings give it. */
  hold(): void
  stop(): Promise<void>
}

export interface PosternSettings {
  rules: number
  alg: 'ES256' | 'EdDSA' | 'RS256'
  /** The agents speak TLS. */
  tls: boolean
  /** What a core is here, as a share of one; undefined: no limit. A worker each, see small-cores.ts. */
  coreShare: number | undefined
}

const script = (name: string): string => fileURLToPath(new URL(name, import.meta.url))

export async function startPath(
  name: PathName,
  sinkPort: number,
  settings: PosternSettings,
  issuer: DevIssuer,
): Promise<Path> {
  if (name === 'direct')
    return { port: sinkPort, pid: 0, enforces: false, hold: () => {}, stop: async () => {} }
  const port = await freePort()
  const directory = mkdtempSync(join(tmpdir(), 'postern-bench-'))
  if (settings.tls) makeCertificate(directory)
  const cores =
    settings.coreShare === undefined ? undefined : SmallCores.make(settings.coreShare, workersOf(name))
  const { command, args } = commandOf(name, port, sinkPort, settings, issuer, directory)
  const started = cores?.enter(command, args) ?? { command, args }
  const program = await startProgram(started.command, started.args, port)
  const stop = async (): Promise<void> => {
    await program.stop()
    await cores?.remove()
    rmSync(directory, { recursive: true, force: true })
  }
  const hold = (): void => cores?.hold(withChildren(program.pid))
  return { port, pid: program.pid, enforces: name.startsWith('postern'), hold, stop }
}

function commandOf(
  name: Exclude<PathName, 'direct'>,
  port: number,
  sinkPort: number,
  settings: PosternSettings,
  issuer: DevIssuer,
  directory: string,
): { command: string; args: string[] } {
  const file = (base: string, content: string): string => {
    writeFileSync(join(directory, base), content)
    return join(directory, base)
  }
  switch (name) {
    case 'haproxy':
      return {
        command: 'haproxy',
        args: [
          '-f',
          file(
            'haproxy.cfg',
            haproxyConfig(port, sinkPort, settings.tls ? join(directory, 'both.pem') : undefined),
          ),
          '-db',
        ],
      }
    case 'nginx': {
      const config = file('nginx.conf', nginxConfig(port, sinkPort, directory))
      return { command: 'nginx', args: ['-c', config, '-p', directory] }
    }
    case 'pipe':
    case 'codec': {
      const path = script(name === 'pipe' ? 'blind-pipe.ts' : 'codec-loop.ts')
      return { command: process.execPath, args: [path, String(port), String(sinkPort)] }
    }
    default: {
      file('jwks.json', JSON.stringify(issuer.publicJwks()))
      file('policy.json', JSON.stringify(policyOf(settings.rules)))
      const ownRecords = name.startsWith('postern-each') ? 0 : OWN_RECORDS
      const digest = name === 'postern-each-undigested' ? 'none' : 'sha256'
      const config = {
        ...posternConfig(port, sinkPort, settings, ownRecords, digest),
        ...(name === 'postern-prompt' ? { coalesceQos0: '0ms' } : {}),
        workers: workersOf(name),
      }
      // As in the image.
      const room = '--max-semi-space-size=16'
      const args = ['run', '--config', file('postern.json', JSON.stringify(config))]
      const profile = process.env['BENCH_PROFILE']
      const flags = profile === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profile}`]
      return { command: process.execPath, args: [room, ...flags, script('../cmd/postern.ts'), ...args] }
    }
  }
}

export function workersOf(name: PathName): number {
  return name.endsWith('-2') ? 2 : 1
}

/** Agents that share one token; with `distinct`, each has one of its own. */
export async function makeClients(issuer: DevIssuer, count: number, distinct = false): Promise<Client[]> {
  const mint = (): Promise<string> =>
    issuer.mint(agentClaims({ agent: 'bench', user: 'alice', issuer: issuer.issuer }), {
      lifetimeMs: 3_600_000,
    })
  const shared = distinct ? '' : await mint()
  const clients: Client[] = []
  for (let i = 0; i < count; i++) {
    clients.push({ id: `bench-${i}`, password: distinct ? await mint() : shared })
  }
  return clients
}

export function makeIssuer(alg: PosternSettings['alg']): Promise<DevIssuer> {
  return DevIssuer.generate(systemClock, { alg })
}

export function posternConfig(
  port: number,
  sinkPort: number,
  { alg, tls }: PosternSettings,
  ownRecords: number,
  payloadDigest: 'sha256' | 'none' = 'sha256',
): object {
  const issuer = { issuer: DEV_ISSUER, audience: DEV_AUDIENCE, algorithms: [alg] }
  return {
    listeners: [{ name: 'bench', address: `127.0.0.1:${port}`, ...(tls ? { tls: TLS_FILES } : {}) }],
    upstream: { address: `127.0.0.1:${sinkPort}`, username: '{agent_id}' },
    issuers: [{ ...issuer, jwks: { file: 'jwks.json' }, maxLifetime: '2h' }],
    clientId: { binding: 'prefix', separator: '-' },
    policy: { file: 'policy.json' },
    audit: { file: 'audit.jsonl', payloadDigest, repeats: { rate: ownRecords, interval: '1s' } },
    admin: { address: '127.0.0.1:0' },
    limits: { connections: 20_000, unauthenticated: 20_000 },
    log: { level: 'error' },
  }
}

/** The last rule is the one that matches: a list would be walked to its end. */
export function policyOf(rules: number): object {
  const others = Array.from({ length: rules - 1 }, (_, i) => ({
    id: `other-${i}`,
    allow: 'publish+subscribe',
    topic: `services/s${i}/{agent_id}/events`,
  }))
  const own = { id: 'own', allow: 'publish+subscribe', topics: ['agents/{agent_id}/data/#'] }
  return {
    version: 1,
    agents: [...others, own],
    users: [{ id: 'all', allow: 'publish+subscribe', topic: 'agents/#' }],
  }
}

const TLS_FILES = { certFile: 'cert.pem', keyFile: 'key.pem', minVersion: 'TLSv1.3' }

function makeCertificate(directory: string): void {
  const files = [join(directory, 'key.pem'), join(directory, 'cert.pem')] as const
  const subject = ['-subj', '/CN=localhost', '-days', '2', '-keyout', files[0], '-out', files[1]]
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']
  execFileSync('openssl', ['req', '-x509', ...curve, ...subject], { stdio: 'ignore' })
  writeFileSync(join(directory, 'both.pem'), files.map((file) => readFileSync(file, 'utf8')).join(''))
}

/** HAProxy wants two descriptors for each connection and some for itself, and does not start where it cannot have them. */
function haproxyConnections(): number {
  const [, most] = /^Max open files +\d+ +(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8')) ?? []
  return Math.min(20_000, Math.floor((Number(most ?? 4096) - 100) / 2))
}

function haproxyConfig(port: number, sinkPort: number, certificate: string | undefined): string {
  const tls = certificate === undefined ? '' : ` ssl crt ${certificate} ssl-min-ver TLSv1.3`
  return `global
  nbthread 1
  maxconn ${haproxyConnections()}
defaults
  mode tcp
  timeout connect 5s
  timeout client 1h
  timeout server 1h
listen mqtt
  bind 127.0.0.1:${port}${tls}
  server sink 127.0.0.1:${sinkPort}
`
}

function nginxConfig(port: number, sinkPort: number, directory: string): string {
  return `load_module /usr/lib/nginx/modules/ngx_stream_module.so;
worker_processes 1;
daemon off;
pid ${directory}/nginx.pid;
error_log stderr error;
events { worker_connections 40000; }
stream {
  server { listen 127.0.0.1:${port}; proxy_pass 127.0.0.1:${sinkPort}; proxy_timeout 1h; tcp_nodelay on; }
}
`
}
