// `postern token`: a development issuer on the command line. Makes keys and signs tokens; nothing for production.

import { readFile } from 'node:fs/promises'
import { Command, Option } from 'commander'
import { systemClock } from '../src/clock.ts'
import { parseDuration } from '../src/config/fields.ts'
import {
  agentClaims,
  DEV_ALGORITHMS,
  DEV_AUDIENCE,
  DEV_ISSUER,
  type DevAlgorithm,
  type DevClaims,
  DevIssuer,
  PRIVATE_KEYS_FILE,
  PUBLIC_KEYS_FILE,
} from '../src/dev/issuer.ts'
import { PosternError } from '../src/errors.ts'
import { grantCommand } from './token-grant.ts'

const EXAMPLES = `
Development only: whoever can read the key file is every agent and every human.

Exit codes: 0 done, 1 keys missing or already there, 64 wrong usage.

Examples:
  $ postern token keys --dir dev-keys
  $ postern token sign --keys dev-keys --agent scout --user alice
  $ postern token sign --keys dev-keys --agent scout --user alice --tenant acme --ttl 5m
  $ postern token sign --keys dev-keys --claims '{"sub":"alice","scope":"..."}' --agent scout
  $ mosquitto_pub -V 5 -p 1883 -i scout -u '' -P "$(postern token sign --keys dev-keys --agent scout --user alice)" \\
      -t agents/scout/card -m hello
`

interface SignOptions {
  keys: string
  claims?: string
  agent?: string
  user?: string
  tenant?: string
  audience: string
  issuer: string
  ttl: string
}

/** The subcommand `token`. Its actions reject with a PosternError; the token alone goes to stdout. */
export function tokenCommand(): Command {
  const token = new Command('token').description('development only: make a key set, sign tokens and grants')
  token.addHelpText('after', EXAMPLES)

  token
    .command('keys')
    .description(`write ${PRIVATE_KEYS_FILE} (secret) and ${PUBLIC_KEYS_FILE} (for jwks.file)`)
    .requiredOption('--dir <dir>', 'directory to write to, made if need be')
    .addOption(new Option('--alg <name>', 'signature algorithm').choices(DEV_ALGORITHMS).default('ES256'))
    .option('--force', 'replace keys that are already there')
    .addHelpText('after', EXAMPLES)
    .action(async (options: { dir: string; alg: DevAlgorithm; force?: boolean }) => {
      const issuer = await DevIssuer.generate(systemClock, { alg: options.alg })
      await issuer.save(options.dir, { force: options.force === true })
      process.stderr.write(`development only: ${options.dir}/${PRIVATE_KEYS_FILE} signs for everybody\n`)
    })

  token
    .command('sign')
    .description('print a signed access token')
    .requiredOption('--keys <dir>', 'directory that `postern token keys` has filled')
    .option('--agent <id>', 'the agent; alone it acts for itself')
    .option('--user <id>', 'the human it acts for')
    .option('--tenant <id>', 'claim org_id, for issuers with `claims.tenant: org_id`')
    .option('--claims <file|json>', 'further claims, which win over all others')
    .option('--audience <name>', 'claim aud', DEV_AUDIENCE)
    .option('--issuer <name>', 'claim iss', DEV_ISSUER)
    .option('--ttl <duration>', 'time until the token expires, such as 30s or 15m', '15m')
    .addHelpText('after', EXAMPLES)
    .action(async (options: SignOptions) => {
      process.stdout.write(`${await sign(options)}\n`)
    })
  token.addCommand(grantCommand())
  return token
}

async function sign(options: SignOptions): Promise<string> {
  const { agent, user, tenant, issuer, audience } = options
  const lifetime = parseDuration(options.ttl)
  if (!lifetime.ok) throw usage(`--ttl: ${lifetime.message}`)
  if (agent === undefined && (user !== undefined || tenant !== undefined)) {
    throw usage('--user and --tenant need --agent')
  }
  const named =
    agent === undefined
      ? {}
      : agentClaims({
          agent,
          issuer,
          ...(user === undefined ? {} : { user }),
          ...(tenant === undefined ? {} : { tenant }),
        })
  const further = options.claims === undefined ? {} : await readClaims(options.claims)
  if (agent === undefined && further['sub'] === undefined)
    throw usage('name the subject: --agent, or "sub" in --claims')
  const signer = await DevIssuer.load(options.keys, systemClock, { issuer, audience })
  return signer.mint({ ...named, ...further }, { lifetimeMs: lifetime.value })
}

async function readClaims(fileOrJson: string): Promise<DevClaims> {
  const isJson = fileOrJson.trimStart().startsWith('{')
  let claims: unknown
  try {
    claims = JSON.parse(isJson ? fileOrJson : await readFile(fileOrJson, 'utf8'))
  } catch {
    throw usage('--claims: neither a JSON object nor a file that holds one')
  }
  if (typeof claims !== 'object' || claims === null || Array.isArray(claims)) {
    throw usage('--claims: write a JSON object')
  }
  return claims as DevClaims
}

function usage(message: string): PosternError {
  return new PosternError('ERR_USAGE', 'internal', message)
}
