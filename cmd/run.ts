// `postern run`: the proxy, from configuration to exit code.

import { Command } from 'commander'
import { App, PolicyError } from '../src/app.ts'
import { PosternError } from '../src/errors.ts'
import { printProblems, problemLine, readConfig } from './config-file.ts'
import { EXIT } from './exit.ts'
import { waitForFiles } from './missing-files.ts'
import { version } from './version.ts'

const HELP = `
Signals:
  SIGHUP            read the policy and key files again (a changed file is noticed by itself)
  SIGTERM, SIGINT   drain: accept no more, turn /readyz false, end sessions with DISCONNECT 0x8B within
                    sessions.drain, flush the audit log; a second signal ends at once

Environment: every key of the file as POSTERN_ and its path in upper snake case, levels joined by two
underscores, such as POSTERN_UPSTREAM__ADDRESS or POSTERN_ISSUERS__0__ISSUER; POSTERN_CONFIG is --config.

Exit codes: 0 drained, 1 could not start or was ended by a second signal, 64 wrong configuration or policy
(nothing was bound).

Example:
  postern run --config deploy/examples/postern.yaml`

export function runCommand(): Command {
  return new Command('run')
    .description('run the proxy until a signal ends it')
    .requiredOption('-c, --config <file>', 'configuration, YAML or JSON', process.env['POSTERN_CONFIG'])
    .option('--wait', 'wait for files that are not there yet, with /readyz saying which, instead of ending')
    .addHelpText('after', HELP)
    .action((options: { config: string; wait?: boolean }) => run(options.config, options.wait === true))
}

async function run(file: string, wait: boolean): Promise<void> {
  if (wait) await waitForFiles(file)
  const loaded = readConfig(file)
  if (loaded === undefined) return
  const app = new App(loaded.config, { version })
  for (const warning of loaded.warnings) app.logger.warn({ warning: problemLine(warning) }, 'configuration')
  try {
    await app.start()
  } catch (error) {
    reportStartFailure(error)
    return
  }
  process.on('SIGHUP', () => void app.reload())
  let draining = false
  const drain = (signal: string): void => {
    if (draining) process.exit(EXIT.FAILED)
    draining = true
    app.logger.info({ signal, connections: app.connections }, 'draining')
    void app.stop().then(() => process.exit(EXIT.OK))
  }
  process.on('SIGTERM', drain)
  process.on('SIGINT', drain)
}

function reportStartFailure(error: unknown): void {
  if (error instanceof PolicyError) {
    console.error('postern: the policy has problems, nothing was bound')
    printProblems(error.problems)
    process.exitCode = EXIT.USAGE
    return
  }
  if (!(error instanceof PosternError)) throw error
  console.error(`postern: ${error.message} (${error.code})`)
  process.exitCode = EXIT.FAILED
}
