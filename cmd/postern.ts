#!/usr/bin/env node
// The `postern` command: names its subcommands, and turns what they throw into sentences and exit codes.

import { Command, CommanderError } from 'commander'
import { PosternError } from '../src/errors.ts'
import { auditCommand } from './audit.ts'
import { checkCommand } from './check.ts'
import { EXIT, sentenceOf } from './exit.ts'
import { explainCommand } from './explain.ts'
import { healthCommand } from './health.ts'
import { revokeCommand } from './revoke.ts'
import { runCommand } from './run.ts'
import { shadowCommand } from './shadow.ts'
import { stsCommand } from './sts.ts'
import { tokenCommand } from './token.ts'
import { version } from './version.ts'

const HINT = '(add --help for the options and examples)'

const program = new Command('postern')
  .description(
    'Enforcement sidecar for MQTT 5: claim-bound ACLs, delegation and an audit trail in front of any broker.',
  )
  .version(version)
  .addCommand(runCommand())
  .addCommand(checkCommand())
  .addCommand(explainCommand())
  .addCommand(revokeCommand())
  .addCommand(auditCommand())
  .addCommand(healthCommand())
  .addCommand(shadowCommand())
  .addCommand(stsCommand())
  .addCommand(tokenCommand())
  .addHelpText(
    'after',
    `
Exit codes: 0 done, 1 failed or denied, 64 wrong usage or configuration. Each command's --help says more.

Examples:
  postern check --config postern.yaml
  postern run --config postern.yaml
  postern explain --config postern.yaml --token scout.jwt publish agents/scout/card`,
  )

for (const command of [program, ...program.commands, ...program.commands.flatMap((c) => c.commands)]) {
  command.exitOverride().showHelpAfterError(HINT)
}
// Whoever reads us, such as `head`, has seen enough.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(EXIT.OK)
  throw error
})
try {
  await program.parseAsync()
} catch (error) {
  process.exitCode = exitCodeOf(error)
}

/** Commander has printed its own errors; ours are printed here. */
function exitCodeOf(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.OK : EXIT.USAGE
  const isUsage = error instanceof PosternError && error.code === 'ERR_USAGE'
  console.error(isUsage ? `error: ${error.message}\n${HINT}` : `postern: ${sentenceOf(error)}`)
  return isUsage ? EXIT.USAGE : EXIT.FAILED
}
