// After the story: addresses, and lines to paste into another terminal. The tokens are files in the demo's directory.

import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { DEV_ISSUER } from '../../src/dev/issuer.ts'
import type { Screen } from './screen.ts'
import type { Stage } from './stage.ts'

/** The longest life that the demo's configuration accepts. */
const LIFETIME_MS = 3_600_000

const PLAYERS = [
  { file: 'scout.jwt', agent: 'scout', user: 'u1' },
  { file: 'analyst.jwt', agent: 'analyst', user: 'u2' },
  { file: 'operator.jwt', agent: 'operator', user: 'u1' },
] as const

export async function openPlayground(stage: Stage, screen: Screen): Promise<void> {
  for (const { file, agent, user } of PLAYERS) {
    const token = await stage.token(agent, user, LIFETIME_MS)
    await writeFile(join(stage.directory, file), token, { mode: 0o600 })
  }
  const { host, port } = stage.address
  const { directory, broker, app } = stage
  screen.heading('Now you')
  const rows: [string, string][] = [
    ['postern', `${host}:${port}, where agents connect`],
    ['broker', `${broker.host}:${broker.port}, with a password that only Postern knows`],
    ['admin', `${app.adminUrl}/metrics, /readyz, /livez`],
    ['files', `${directory}: postern.yaml, policy.yaml, audit.jsonl, postern.log, tokens (for one hour)`],
  ]
  for (const [label, text] of rows) screen.line(label, text)
  for (const [what, line] of lines(stage)) {
    screen.blank()
    screen.plain(`  # ${what}`)
    screen.plain(line)
  }
}

function lines(stage: Stage): [what: string, line: string][] {
  const { host, port } = stage.address
  const { directory, app } = stage
  const client = (command: string, agent: string): string =>
    `${command} -V 5 -h ${host} -p ${port} -i ${agent} -u jwt -P "$(cat ${join(directory, `${agent}.jwt`)})" -q 1`
  return [
    [
      'listen as analyst (leave it running)',
      `${client('mosquitto_sub', 'analyst')} -v -t 'a2a/v1/agents/+/card'`,
    ],
    [
      'allowed: scout’s own card',
      `${client('mosquitto_pub', 'scout')} -r -t a2a/v1/agents/scout/card -m hello`,
    ],
    [
      'denied: the card of analyst',
      `${client('mosquitto_pub', 'scout')} -r -t a2a/v1/agents/analyst/card -m forged`,
    ],
    [
      'denied for operator while it acts for u1; put u1 under `may-post` in policy.yaml, save, and try again',
      `${client('mosquitto_pub', 'operator')} -t a2a/v1/mcp/tools/create_social_post/call -D publish response-topic a2a/v1/mcp/clients/operator/responses -m '{}'`,
    ],
    [
      'why it was denied',
      `npm run -s postern -- explain --config ${join(directory, 'postern.yaml')} --token ${join(directory, 'operator.jwt')} publish a2a/v1/mcp/tools/create_social_post/call`,
    ],
    ['who did what for whom', `npm run -s postern -- audit show --last 5 ${stage.auditFile}`],
    [
      'cut off whoever acts for u1; a token from before is refused',
      `npm run -s postern -- revoke --config ${join(directory, 'postern.yaml')} --url ${app.adminUrl} human ${DEV_ISSUER} u1`,
    ],
    [
      'metrics and readiness',
      `curl -s ${app.adminUrl}/metrics | grep '^postern_publishes.* [1-9]'; curl -s ${app.adminUrl}/readyz`,
    ],
  ]
}
