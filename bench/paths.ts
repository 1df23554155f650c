// What stands between source and sink, each started in front of the same sink.

import { mkdtempSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { systemClock } from '../src/clock.ts'
import { agentClaims, DevIssuer } from '../src/dev/issuer.ts'
import { startProgram } from './processes.ts'

export const PATH_NAMES = ['direct', 'haproxy', 'nginx', 'pipe', 'codec', 'postern'] as const
export type PathName = (typeof PATH_NAMES)[number]

export interface Path {
  name: PathName
  port: number
  /** 0: there is no process (direct). */
  pid: number
  stop(): Promise<void>
}

export interface PosternSettings {
  rules: number
  /** Keys merged over the configuration. */
  config?: Record<string, unknown>
}

export async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  await new Promise((resolve) => server.close(resolve))
  return port
}

const script = (name: string): string => fileURLToPath(new URL(name, import.meta.url))

export async function startPath(name: PathName, sinkPort: number, settings: PosternSettings, issuer: DevIssuer): Promise<Path> {
  if (name === 'direct') return { name, port: sinkPort, pid: 0, stop: async () => {} }
  const port = await freePort()
  const directory = mkdtempSync(join(tmpdir(), 'postern-bench-'))
  const start = (command: string, args: string[]) =>
    startProgram(command, args, port).then((program) => ({ name, port, ...program }))
  switch (name) {
    case 'haproxy': {
      const file = join(directory, 'haproxy.cfg')
      writeFileSync(file, haproxyConfig(port, sinkPort))
      return start('haproxy', ['-f', file, '-db'])
    }
    case 'nginx': {
      const file = join(directory, 'nginx.conf')
      writeFileSync(file, nginxConfig(port, sinkPort, directory))
      return start('nginx', ['-c', file, '-p', directory])
    }
    case 'pipe':
      return start(process.execPath, [script('blind-pipe.ts'), String(port), String(sinkPort)])
    case 'codec':
      return start(process.execPath, [script('codec-loop.ts'), String(port), String(sinkPort)])
    case 'postern': {
      const file = join(directory, 'postern.json')
      writeFileSync(join(directory, 'jwks.json'), JSON.stringify(issuer.publicJwks()))
      writeFileSync(join(directory, 'policy.json'), JSON.stringify(policyOf(settings.rules)))
      writeFileSync(file, JSON.stringify({ ...posternConfig(port, sinkPort), ...settings.config }))
      return start(process.execPath, [script('../cmd/postern.ts'), 'run', '--config', file])
    }
  }
}

export async function makeClients(issuer: DevIssuer, count: number): Promise<{ id: string; password: string }[]> {
  const password = await issuer.mint(agentClaims({ agent: 'bench', user: 'alice', issuer: issuer.issuer }), {
    lifetimeMs: 60 * 60 * 1000,
  })
  return Array.from({ length: count }, (_, i) => ({ id: count === 1 ? 'bench' : `bench-${i}`, password }))
}

export function makeIssuer(): Promise<DevIssuer> {
  return DevIssuer.generate(systemClock)
}

function posternConfig(port: number, sinkPort: number): object {
  return {
    listeners: [{ name: 'bench', address: `127.0.0.1:${port}` }],
    upstream: { address: `127.0.0.1:${sinkPort}`, username: '{agent_id}' },
    issuers: [{ issuer: 'https://issuer.example', audience: 'postern', jwks: { file: 'jwks.json' }, maxLifetime: '2h' }],
    clientId: { binding: 'prefix', separator: '-' },
    policy: { file: 'policy.json' },
    audit: { file: 'audit.jsonl' },
    admin: { address: '127.0.0.1:0' },
    limits: { connections: 20_000, unauthenticated: 20_000 },
    log: { level: 'error' },
  }
}

/** The last rule is the one that matches: a list would be walked to its end. */
function policyOf(rules: number): object {
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

function haproxyConfig(port: number, sinkPort: number): string {
  return `global
  nbthread 1
  maxconn 9000
defaults
  mode tcp
  timeout connect 5s
  timeout client 1h
  timeout server 1h
listen mqtt
  bind 127.0.0.1:${port}
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
