// `postern explain`: what would happen to an action of the bearer of a token, and which rules decide it.

import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { Command, InvalidArgumentError } from 'commander'
import { type Clock, systemClock } from '../src/clock.ts'
import type { Config } from '../src/config/config.ts'
import { parseSize } from '../src/config/fields.ts'
import { bindClientId } from '../src/identity/client-id.ts'
import { openIssuers } from '../src/identity/issuers.ts'
import { bindPrincipal, type Principal } from '../src/identity/principal.ts'
import { TokenVerifier } from '../src/identity/token-verifier.ts'
import type { Acl } from '../src/policy/acl.ts'
import { type Explanation, explainPublish, explainSubscribe } from '../src/policy/explain.ts'
import { Verdict } from '../src/policy/verdict.ts'
import { readPolicy } from '../src/policy-file.ts'
import { bindOptionsOf } from '../src/session/bind-options.ts'
import { filesOf, problemsIn, readConfig, refuse } from './config-file.ts'
import { EXIT } from './exit.ts'
import { printExplanation, printPrincipal } from './explanation.ts'
import { whyRefused } from './refusal.ts'

const EXIT_CODES = `
Exit codes: 0 allow, 1 deny (or the token is refused), 64 wrong usage, configuration, policy or key file.`

const HELP = `
The token is verified as at CONNECT: keys, times, audience, mapping. A remote key set is fetched.
${EXIT_CODES}

Examples:
  postern explain -c postern.yaml -t scout.jwt publish agents/analyst/card --qos 1
  postern explain -c postern.yaml -t scout.jwt subscribe 'agents/+/card'
  postern token sign --keys dev-keys --agent scout --user alice | postern explain -c postern.yaml -t - connect
  postern explain -c postern.yaml -t old.jwt --at 2026-11-22T12:00:00Z connect --will-topic agents/scout/status`

const PUBLISH_HELP = `
The options before \`publish\` name the configuration and the token: see postern explain --help.
${EXIT_CODES}

Examples:
  postern explain -c postern.yaml -t scout.jwt publish agents/scout/card --qos 1 --retain
  postern explain -c postern.yaml -t scout.jwt publish tasks/analyst/inbox --response-topic tasks/scout/results`

const SUBSCRIBE_HELP = `
The options before \`subscribe\` name the configuration and the token: see postern explain --help.
${EXIT_CODES}

Examples:
  postern explain -c postern.yaml -t scout.jwt subscribe 'agents/+/card' --qos 1
  postern explain -c postern.yaml -t scout.jwt subscribe '$share/workers/tasks/scout/inbox'`

const CONNECT_HELP = `
The options before \`connect\` name the configuration and the token: see postern explain --help.
${EXIT_CODES}

Examples:
  postern explain -c postern.yaml -t scout.jwt --client-id scout connect
  postern explain -c postern.yaml -t scout.jwt connect --will-topic agents/scout/status --will-retain`

const CONSEQUENCE = 'nothing is explained'

interface Options {
  config: string
  token: string
  clientId: string
  at?: number
}

interface MessageOptions {
  qos: number
  retain?: boolean
  size: number
  responseTopic?: string
  withGrant?: boolean
}

interface Admitted {
  principal: Principal
  acl: Acl
  config: Config
}

export function explainCommand(): Command {
  const explain = new Command('explain')
    .description('say whether an action is allowed, and by which rule of each layer')
    .requiredOption('-c, --config <file>', 'configuration, YAML or JSON', process.env['POSTERN_CONFIG'])
    .requiredOption('-t, --token <file>', 'file with the token; - is standard input')
    .option('-i, --client-id <id>', 'MQTT Client Identifier; empty asks for an assigned one', '')
    .option('--at <time>', 'judge as of this time, ISO 8601 (default: now)', instant)
    .addHelpText('after', HELP)
  const admit = (): Promise<Admitted | undefined> => admitBearer(explain.opts<Options>())

  explain
    .command('publish <topic>')
    .description('a PUBLISH')
    .option('--qos <n>', 'QoS', qos, 0)
    .option('--retain', 'retained')
    .option('--size <size>', 'payload, bytes or such as 2KiB', size, 0)
    .option('--response-topic <topic>', 'Response Topic')
    .option('--with-grant', 'as if a just-in-time grant for it were there')
    .addHelpText('after', PUBLISH_HELP)
    .action(async (topic: string, options: MessageOptions) => {
      const admitted = await admit()
      if (admitted === undefined) return
      finish(`publish ${topic}`, explainPublish(admitted.acl, question(topic, options)))
    })
  explain
    .command('subscribe <filter>')
    .description('one filter of a SUBSCRIBE, with its $share/{group}/ if it has one')
    .option('--qos <n>', 'requested QoS', qos, 0)
    .option('--with-grant', 'as if a just-in-time grant for it were there')
    .addHelpText('after', SUBSCRIBE_HELP)
    .action(async (filter: string, options: { qos: number; withGrant?: boolean }) => {
      const admitted = await admit()
      if (admitted === undefined) return
      const asked = { filter, qos: options.qos, granted: options.withGrant }
      finish(`subscribe ${filter}`, explainSubscribe(admitted.acl, asked))
    })
  explain
    .command('connect')
    .description('a CONNECT, with its Will if there is one')
    .option('--will-topic <topic>', 'Will Topic')
    .option('--will-qos <n>', 'Will QoS', qos, 0)
    .option('--will-retain', 'Will Retain')
    .option('--will-size <size>', 'Will Payload, bytes or such as 2KiB', size, 0)
    .addHelpText('after', CONNECT_HELP)
    .action(async (will: { willTopic?: string; willQos: number; willRetain?: boolean; willSize: number }) => {
      const admitted = await admit()
      if (admitted === undefined) return
      if (will.willTopic === undefined) {
        console.log('ALLOW connect')
        return
      }
      const { willTopic: topic, willQos, willRetain = false, willSize } = will
      const asked = { topic, qos: willQos, retain: willRetain, payloadLength: willSize }
      finish(`connect with a Will on ${topic}`, explainPublish(admitted.acl, asked))
    })
  return explain
}

function question(topic: string, options: MessageOptions): Parameters<typeof explainPublish>[1] {
  const { qos, retain = false, size, responseTopic, withGrant: granted } = options
  return { topic, qos, retain, payloadLength: size, responseTopic, granted }
}

function finish(action: string, explanation: Explanation): void {
  printExplanation(action, explanation)
  if (explanation.verdict !== Verdict.ALLOW || explanation.malformed !== undefined) {
    process.exitCode = EXIT.FAILED
  }
}

/** The bearer as Postern would admit it, or undefined after saying why not and setting the exit code. */
async function admitBearer(options: Options): Promise<Admitted | undefined> {
  const config = (await readConfig(options.config, CONSEQUENCE))?.config
  if (config === undefined) return undefined
  const problems = await problemsIn(filesOf(config))
  if (problems.length > 0) {
    refuse(problems, CONSEQUENCE)
    return undefined
  }
  const policy = await readPolicy(config.policy.file)
  const clock: Clock = options.at === undefined ? systemClock : { ...systemClock, now: () => options.at! }
  const token = readToken(options.token)
  if (token === undefined) return undefined
  const issuers = await openIssuers(config.issuers, clock, () => {})
  try {
    const verifier = new TokenVerifier(issuers, clock, { maxBytes: config.token.maxBytes })
    const verified = await verifier.verify(token)
    if (!verified.ok) {
      const { reason, detail } = verified
      const why = whyRefused(verified, token, config, clock.now())
      return refused(detail === undefined ? reason : `${reason} (${detail})`, why)
    }
    const suffix = (): string => randomBytes(6).toString('base64url')
    const bound = bindClientId(options.clientId, verified.principal.agent.id, config.clientId, suffix)
    const { binding, separator } = config.clientId
    const rule = `${binding}${binding === 'prefix' ? ` with separator ${separator}` : ''}`
    const mismatch = `the agent is ${verified.principal.agent.id}, and \`clientId.binding\` is ${rule}`
    if (!bound.ok) return refused(bound.reason, mismatch)
    const principal = bindPrincipal(verified.principal, bound.clientId)
    if (principal === undefined) return refused('client_id_mismatch', mismatch)
    const acl = policy.bind(principal, bindOptionsOf(config)(principal.issuer))
    printPrincipal(principal, acl, clock.now())
    return { principal, acl, config }
  } finally {
    await Promise.all(issuers.map((issuer) => issuer.keys.close()))
  }
}

function readToken(file: string): string | undefined {
  try {
    return readFileSync(file === '-' ? 0 : file, 'utf8').trim()
  } catch (error) {
    console.error(`postern: cannot read the token: ${(error as Error).message}`)
    process.exitCode = EXIT.USAGE
    return undefined
  }
}

function refused(reason: string, why: string | undefined): undefined {
  console.log(`DENY  connect: the token is refused (${reason})`)
  if (why !== undefined) console.log(`      ${why}`)
  process.exitCode = EXIT.FAILED
  return undefined
}

function qos(text: string): number {
  if (!/^[012]$/.test(text)) throw new InvalidArgumentError('0, 1 or 2.')
  return Number(text)
}

function size(text: string): number {
  const parsed = parseSize(/^\d+$/.test(text) ? Number(text) : text)
  if (!parsed.ok) throw new InvalidArgumentError('A number of bytes, or such as 2KiB.')
  return parsed.value
}

function instant(text: string): number {
  const ms = Date.parse(text)
  if (Number.isNaN(ms)) throw new InvalidArgumentError('A time such as 2026-11-22T12:00:00Z.')
  return ms
}
