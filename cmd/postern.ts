#!/usr/bin/env node
// The `postern` command: names its subcommands and nothing else.

import { Command } from 'commander'
import { auditCommand } from './audit.ts'
import { checkCommand } from './check.ts'
import { EXIT } from './exit.ts'
import { explainCommand } from './explain.ts'
import { healthCommand } from './health.ts'
import { runCommand } from './run.ts'
import { shadowCommand } from './shadow.ts'
import { tokenCommand } from './token.ts'
import { version } from './version.ts'

const program = new Command('postern')
  .description(
    'Enforcement sidecar for MQTT 5: claim-bound ACLs, delegation and an audit trail in front of any broker.',
  )
  .version(version)
  .showHelpAfterError('(add --help for the options and examples)')
  .addCommand(runCommand())
  .addCommand(checkCommand())
  .addCommand(explainCommand())
  .addCommand(auditCommand())
  .addCommand(healthCommand())
  .addCommand(shadowCommand())
  .addCommand(tokenCommand())
  .addHelpText(
    'after',
    `
Exit codes: 0 done, 1 failed or denied, 64 wrong usage or configuration. Each command's --help says more.`,
  )

for (const command of [program, ...program.commands, ...program.commands.flatMap((c) => c.commands)]) {
  command.exitOverride()
}
try {
  await program.parseAsync()
} catch (error) {
  const { exitCode = EXIT.FAILED, code } = error as { exitCode?: number; code?: string }
  if (!code?.startsWith('commander.')) {
    console.error(error instanceof Error ? `postern: ${error.message}` : error)
    process.exitCode = EXIT.FAILED
  } else process.exitCode = exitCode === 0 ? EXIT.OK : EXIT.USAGE
}
