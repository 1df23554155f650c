// `postern token grant`: signs a just-in-time grant with a development key, to try grants without an approval service.

import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { Argument, Command } from 'commander'
import { systemClock } from '../src/clock.ts'
import { parseDuration } from '../src/config/fields.ts'
import { agentClaims, DEV_AUDIENCE, DEV_ISSUER, DevIssuer } from '../src/dev/issuer.ts'
import { PosternError } from '../src/errors.ts'
import { GRANT_TYPE } from '../src/identity/grant-token.ts'

const EXAMPLES = `
Development only: whoever can read the key file approves everything.

Exit codes: 0 done, 1 keys missing, 64 wrong usage.

Examples:
  $ postern token grant --keys dev-keys --agent scout --user alice --approver carol publish payments/alice/order
  $ postern token grant --keys dev-keys --agent scout --user alice --approver carol --payload order.json publish payments/alice/order
  $ mosquitto_pub -V 5 -p 1883 -i scout -u '' -P "$(cat scout.jwt)" -q 1 -t payments/alice/order -f order.json \\
      -D publish user-property postern-grant "$(cat grant.jwt)"
`

interface GrantOptions {
  keys: string
  agent: string
  user: string
  approver: string
  uses?: string
  payload?: string
  audience: string
  issuer: string
  subjects?: string
  ttl: string
}

export function grantCommand(): Command {
  return new Command('grant')
    .description('print a signed just-in-time grant')
    .addArgument(new Argument('<action>', 'what it is for').choices(['publish', 'subscribe']))
    .argument('<topic>', 'Topic Filter')
    .requiredOption('--keys <dir>', 'directory that `postern token keys` has filled')
    .requiredOption('--agent <id>', 'the agent')
    .requiredOption('--user <id>', 'the human it acts for')
    .requiredOption('--approver <id>', 'who approves')
    .option('--uses <n>', 'how often it is good (default: once)')
    .option('--payload <file>', 'the only payload that it is good for')
    .option('--audience <name>', 'claim aud', DEV_AUDIENCE)
    .option('--issuer <name>', 'claim iss', DEV_ISSUER)
    .option(
      '--subjects <name>',
      'issuer of agent, human and approver, as `subjects` names it (default: --issuer)',
    )
    .option('--ttl <duration>', 'time until it ends, at most `grants.maxLifetime`', '5m')
    .addHelpText('after', EXAMPLES)
    .action(async (action: string, topic: string, options: GrantOptions) => {
      process.stdout.write(`${await sign(action, topic, options)}\n`)
    })
}

async function sign(action: string, topic: string, options: GrantOptions): Promise<string> {
  const { agent, user, approver, issuer, subjects = issuer, audience, uses, payload } = options
  const lifetime = parseDuration(options.ttl)
  if (!lifetime.ok) throw usage(`--ttl: ${lifetime.message}`)
  if (uses !== undefined && !/^[1-9]\d{0,3}$/.test(uses)) throw usage('--uses: write a number from 1')
  const claims = {
    ...agentClaims({ agent, user, issuer: subjects }),
    client_id: undefined,
    agent_id: undefined,
    action,
    topic,
    approver: { iss: subjects, sub: approver },
    ...(uses === undefined ? {} : { max_uses: Number(uses) }),
    ...(payload === undefined ? {} : { payload_sha256: await digestOf(payload) }),
  }
  const signer = await DevIssuer.load(options.keys, systemClock, { issuer, audience })
  return signer.mint(claims, { lifetimeMs: lifetime.value, header: { typ: GRANT_TYPE } })
}

async function digestOf(file: string): Promise<string> {
  try {
    return createHash('sha256')
      .update(await readFile(file))
      .digest('hex')
  } catch {
    throw usage(`--payload: ${file} cannot be read`)
  }
}

function usage(message: string): PosternError {
  return new PosternError('ERR_USAGE', 'internal', message)
}
