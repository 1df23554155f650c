// `postern audit`: names its subcommands and nothing else. Each of them owns its arguments, output and exit codes.

import { Command } from 'commander'
import { checkProofCommand, keygenCommand, proveCommand } from './audit/keys.ts'
import { exportCommand, queryCommand, showCommand, tailCommand } from './audit/query.ts'
import { reportCommand } from './audit/report.ts'
import { verifyCommand } from './audit/verify.ts'
import { EXIT } from './exit.ts'

const HELP = `
Examples:
  postern audit verify audit.jsonl
  postern audit query --human alice --since 7d audit.jsonl
  postern audit report --since 30d --out report.html audit.jsonl
  postern audit tail audit.jsonl`

export function auditCommand(): Command {
  const audit = new Command('audit').description('verify, search, show and export audit logs')
  audit.addHelpText('after', HELP)
  const commands = [
    ...[verifyCommand(), queryCommand(), reportCommand(), tailCommand(), showCommand(), exportCommand()],
    ...[proveCommand(), checkProofCommand(), keygenCommand()],
  ]
  for (const command of [audit, ...commands]) {
    command.exitOverride((error) => process.exit(error.exitCode === 0 ? 0 : EXIT.USAGE))
  }
  for (const command of commands) audit.addCommand(command)
  return audit
}
