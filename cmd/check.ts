// `postern check`: is this configuration usable, what is in force by it, and what should give pause.

import { Command } from 'commander'
import type { Config } from '../src/config/config.ts'
import { describeConfig } from '../src/config/effective.ts'
import type { Problem } from '../src/errors.ts'
import { lintPolicy } from '../src/policy/lint.ts'
import type { Policy } from '../src/policy/policy.ts'
import { readPolicy } from '../src/policy-file.ts'
import { count, filesOf, problemLine, problemsIn, readConfig, refuse } from './config-file.ts'
import { EXIT } from './exit.ts'
import { lookInto, namedFiles } from './named-files.ts'

const HELP = `
Prints the effective configuration (every default filled in, secrets replaced) on standard output, and what it
warns of on standard error: settings that weaken enforcement, rules that are over-broad, unreachable or shadowed.
Nothing is bound and no key server is asked. Every file that the configuration names is read: keys, secrets, lists and
certificates that are missing, unreadable, damaged or expired are named.

Exit codes: 0 usable, 1 usable but there are warnings (only with --strict), 64 not usable.

Example:
  postern check --config postern.yaml`

const CONSEQUENCE = 'not usable'

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
  const loaded = await readConfig(options.config, CONSEQUENCE)
  if (loaded === undefined) return
  const { config } = loaded
  const found = await lookInto(namedFiles(config))
  const problems = [...(await problemsIn(filesOf(config))), ...found.problems]
  if (problems.length > 0) return refuse(problems, CONSEQUENCE)
  const policy = await readPolicy(config.policy.file)
  if (options.quiet !== true) process.stdout.write(describeConfig(config))
  const warnings = [...loaded.warnings, ...found.warnings, ...lint(policy, config)]
  for (const warning of warnings) console.error(`warning: ${problemLine(warning)}`)
  const { agents, users } = policy.rules
  console.error(
    `postern: usable; policy ${policy.version} with ${count(agents.length, 'agent rule')} and ` +
      `${count(users.length, 'user rule')}, ${count(warnings.length, 'warning')}`,
  )
  if (options.strict === true && warnings.length > 0) process.exitCode = EXIT.FAILED
}

function lint(policy: Policy, config: Config): Problem[] {
  const mapped = new Set(
    config.issuers.flatMap(({ claims, mapping, kubernetes, spiffe }) => [
      ...Object.keys(claims.attributes),
      ...(claims.tenant !== undefined ||
      mapping === 'claims' ||
      kubernetes?.tenant === 'namespace' ||
      spiffe?.paths.some((path) => path.includes('{org_id}')) === true
        ? ['org_id']
        : []),
    ]),
  )
  const options = { userLayer: config.policy.userLayer, mapped, grants: config.grants !== undefined }
  return lintPolicy(policy, options).map(({ line, message }) => ({
    file: config.policy.file,
    ...(line === undefined ? {} : { line }),
    path: '',
    message,
  }))
}
