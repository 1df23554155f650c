// `postern revoke`: tells a running Postern, by its admin endpoint, whom to cut.

import { readFileSync } from 'node:fs'
import { Command } from 'commander'
import { formatAddress } from '../src/config/fields.ts'
import { PosternError } from '../src/errors.ts'
import { readConfig } from './config-file.ts'
import { EXIT } from './exit.ts'

const HELP = `
Everything that fits is cut at once in both directions, and its tokens issued until now are refused. When the command
returns, that is on disk and in the audit log, and known to all replicas of a \`store\`. Needs \`revocation.secretFile\` and
\`admin\` in the configuration.

Exit codes: 0 done, 1 refused or Postern cannot be reached, 64 wrong usage or configuration.

Examples:
  postern revoke -c postern.yaml human https://id.example alice
  postern revoke -c postern.yaml --disable agent https://agents.example scout
  postern revoke -c postern.yaml --enable agent https://agents.example scout
  postern revoke -c postern.yaml pair https://id.example alice https://agents.example scout
  postern revoke -c postern.yaml token https://id.example 6f1c0d
  postern revoke -c postern.yaml tenant org_a`

interface Options {
  config: string
  url?: string
  disable?: boolean
  enable?: boolean
}

type Subject = Record<string, unknown>

const issSub = (iss: string, sub: string): Subject => ({ format: 'iss_sub', iss, sub })

/** What can be revoked: its arguments and the subject identifier they make. */
const KINDS: readonly {
  name: string
  args: readonly string[]
  what: string
  subject: (a: string[]) => Subject
}[] = [
  {
    name: 'human',
    args: ['iss', 'sub'],
    what: 'every agent that acts for this human',
    subject: ([iss, sub]) => ({ format: 'urn:postern:human', iss, sub }),
  },
  {
    name: 'agent',
    args: ['iss', 'sub'],
    what: 'this agent, for every human',
    subject: ([iss, sub]) => ({ format: 'urn:postern:agent', iss, sub }),
  },
  {
    name: 'pair',
    args: ['human-iss', 'human-sub', 'agent-iss', 'agent-sub'],
    what: 'this agent for this human',
    subject: ([iss, sub, agentIss, agentSub]) => ({
      format: 'complex',
      user: issSub(iss!, sub!),
      application: issSub(agentIss!, agentSub!),
    }),
  },
  {
    name: 'token',
    args: ['iss', 'jti'],
    what: 'one token',
    subject: ([iss, jti]) => ({ format: 'jwt_id', iss, jti }),
  },
  {
    name: 'client',
    args: ['iss', 'client-id'],
    what: 'every token of this OAuth client',
    subject: ([iss, client_id]) => ({ format: 'urn:postern:client', iss, client_id }),
  },
  {
    name: 'tenant',
    args: ['id'],
    what: 'everybody of this tenant',
    subject: ([tenant]) => ({ format: 'urn:postern:tenant', tenant }),
  },
  {
    name: 'key',
    args: ['iss', 'kid'],
    what: 'every token signed with this key, until enabled',
    subject: ([iss, kid]) => ({ format: 'urn:postern:key', iss, kid }),
  },
  {
    name: 'thumbprint',
    args: ['thumbprint'],
    what: 'every token bound to this key (jkt or x5t#S256), until enabled',
    subject: ([thumbprint]) => ({ format: 'urn:postern:thumbprint', thumbprint }),
  },
]

export function revokeCommand(): Command {
  const revoke = new Command('revoke')
    .description('cut an agent, a human, a pair, a token, a client, a tenant or a key, and keep it out')
    .requiredOption('-c, --config <file>', 'configuration, YAML or JSON', process.env['POSTERN_CONFIG'])
    .option('--url <url>', 'admin listener, such as http://127.0.0.1:9464 (default: by the configuration)')
    .option('--disable', 'keep it out until enabled, whatever tokens it gets')
    .option('--enable', 'end a disabled state; tokens issued before a revocation stay refused')
    .addHelpText('after', HELP)
  for (const { name, args, what, subject } of KINDS) {
    revoke
      .command(`${name} ${args.map((arg) => `<${arg}>`).join(' ')}`)
      .description(what)
      .action((...given: unknown[]) =>
        send(revoke.opts<Options>(), subject(given.slice(0, args.length) as string[])),
      )
  }
  return revoke
}

async function send(options: Options, subject: Subject): Promise<void> {
  const { disable, enable } = options
  if (disable === true && enable === true) throw usage('give --disable or --enable, not both')
  const loaded = await readConfig(options.config, 'nothing is revoked')
  if (loaded === undefined) return
  const { admin, revocation } = loaded.config
  if (revocation?.secretFile === undefined) throw usage('the configuration has no `revocation.secretFile`')
  if (options.url === undefined && admin?.address.kind !== 'tcp') {
    throw usage('the configuration has no admin listener on TCP: give --url')
  }
  const url = options.url === undefined ? `http://${formatAddress(admin!.address)}` : adminUrl(options.url)
  const action = disable === true ? 'disable' : enable === true ? 'enable' : 'revoke'
  const answer = await post(`${url}/revocations`, revocation.secretFile, { sub_id: subject, action })
  if (answer.status === 204) return console.log(`${action}d`.replace('ee', 'e'))
  console.error(`postern: HTTP ${answer.status}: ${(await answer.text()).trim()}`)
  process.exitCode = EXIT.FAILED
}

/** As it was given, without a `/` at its end. */
function adminUrl(given: string): string {
  const { protocol, username, password } = URL.parse(given) ?? {}
  // Not said again: errors name the address, and this one would hold a password.
  if (username || password) throw usage('--url: write no user name and no password, they are not used')
  if (protocol === 'http:' || protocol === 'https:') return given.replace(/\/+$/, '')
  throw usage('--url: write where the admin listener is, such as http://127.0.0.1:9464')
}

async function post(url: string, secretFile: string, body: object): Promise<Response> {
  const secret = readFileSync(secretFile, 'utf8').trim()
  try {
    return await fetch(url, {
      method: 'POST',
      headers: { authorization: `Bearer ${secret}`, 'content-type': 'application/json' },
      body: JSON.stringify(body),
      redirect: 'error',
    })
  } catch (cause) {
    throw new PosternError('ERR_ADMIN', 'internal', `the admin listener at ${url} cannot be reached`, {
      cause,
    })
  }
}

function usage(message: string): PosternError {
  return new PosternError('ERR_USAGE', 'internal', message)
}
