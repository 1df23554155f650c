// `postern check`: is this configuration usable, what is in force by it, and what should give pause.

import { Command } from 'commander'
import { PolicyError, readPolicy } from '../src/app.ts'
import { systemClock } from '../src/clock.ts'
import type { Config } from '../src/config/config.ts'
import { describeConfig } from '../src/config/effective.ts'
import { PosternError, type Problem } from '../src/errors.ts'
import { FileKeys } from '../src/identity/file-keys.ts'
import { lintPolicy } from '../src/policy/lint.ts'
import type { Policy } from '../src/policy/policy.ts'
import { problemLine, readConfig } from './config-file.ts'
import { EXIT } from './exit.ts'

const HELP = `
Prints the effective configuration (every default filled in, secrets replaced) on standard output, and what it
warns of on standard error: settings that weaken enforcement, rules that are over-broad, unreachable or shadowed.
Nothing is bound and no key server is asked; key files are read.

Exit codes: 0 usable, 1 usable but there are warnings (only with --strict), 64 not usable.

Example:
  postern check --config deploy/examples/postern.yaml`

interface Options {
  config: string
  strict?: boolean
  quiet?: boolean
}

export function checkCommand(): Command {
  return new Command('check')
    .description('validate configuration and policy, print what is in force')
    .requiredOption('-c, --config <file>', 'configuration, YAML or JSON', process.env['POSTERN_CONFIG'])
    .option('--strict', 'exit 1 when there are warnings')
    .option('-q, --quiet', 'do not print the effective configuration')
    .addHelpText('after', HELP)
    .action(check)
}

async function check(options: Options): Promise<void> {
  const loaded = readConfig(options.config)
  if (loaded === undefined) return
  const { config } = loaded
  const [policy, keyProblems] = await Promise.all([policyOf(config), brokenKeyFiles(config)])
  const problems = [...('problems' in policy ? policy.problems : []), ...keyProblems]
  if (problems.length > 0 || 'problems' in policy) {
    console.error(`postern: ${problems.length} ${problems.length === 1 ? 'problem' : 'problems'}, not usable`)
    for (const problem of problems) console.error(problemLine(problem))
    process.exitCode = EXIT.USAGE
    return
  }
  if (options.quiet !== true) process.stdout.write(describeConfig(config))
  const warnings = [...loaded.warnings, ...lint(policy.policy, config)]
  for (const warning of warnings) console.error(`warning: ${problemLine(warning)}`)
  const { agents, users } = policy.policy.rules
  console.error(
    `postern: usable; policy ${policy.policy.version} with ${agents.length} agent and ${users.length} user rules, ` +
      `${warnings.length} ${warnings.length === 1 ? 'warning' : 'warnings'}`,
  )
  if (options.strict === true && warnings.length > 0) process.exitCode = EXIT.FAILED
}

async function policyOf(config: Config): Promise<{ policy: Policy } | { problems: readonly Problem[] }> {
  const { file } = config.policy
  try {
    return { policy: await readPolicy(file) }
  } catch (error) {
    if (error instanceof PolicyError) return { problems: error.problems }
    if (error instanceof PosternError) return { problems: [{ file, path: '', message: error.message }] }
    throw error
  }
}

async function brokenKeyFiles(config: Config): Promise<Problem[]> {
  const problems: Problem[] = []
  for (const { jwks, algorithms } of config.issuers) {
    if (jwks.file === undefined) continue
    const keys = new FileKeys({ path: jwks.file, algorithms, maxBytes: jwks.maxBytes }, systemClock)
    try {
      await keys.load()
    } catch (error) {
      if (!(error instanceof PosternError)) throw error
      problems.push({ file: jwks.file, path: '', message: error.message })
    }
  }
  return problems
}

function lint(policy: Policy, config: Config): Problem[] {
  const mapped = new Set(config.issuers.flatMap((issuer) => Object.keys(issuer.claims.attributes)))
  return lintPolicy(policy, { userLayer: config.policy.userLayer, mapped }).map(({ line, message }) => ({
    file: config.policy.file,
    ...(line === undefined ? {} : { line }),
    path: '',
    message,
  }))
}
