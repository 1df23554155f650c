// `postern run`: the proxy, from configuration to exit code.

import { extname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Command } from 'commander'
import { App } from '../src/app.ts'
import { systemClock } from '../src/clock.ts'
import type { Config } from '../src/config/config.ts'
import { PosternError } from '../src/errors.ts'
import { PolicyError } from '../src/policy-file.ts'
import { createLogger } from '../src/telemetry/logger.ts'
import { Workers } from '../src/workers/crew.ts'
import { filesOf, problemLine, problemsIn, readConfig, refuse } from './config-file.ts'
import { EXIT, sentenceOf } from './exit.ts'
import { fileLimitWarning, ownLimits } from './file-limit.ts'
import { tuneMemory } from './memory.ts'
import { waitForFiles } from './missing-files.ts'
import { version } from './version.ts'

const HELP = `
Signals:
  SIGHUP            read the policy and key files again (a changed file is noticed by itself)
  SIGTERM, SIGINT   drain: accept no more, turn /readyz false, end sessions with DISCONNECT 0x8B within
                    sessions.drain, flush the audit log; a second signal ends at once

Environment: every key of the file as POSTERN_ and its path in upper snake case, levels joined by two
underscores, such as POSTERN_UPSTREAM__ADDRESS or POSTERN_ISSUERS__0__ISSUER; POSTERN_CONFIG is --config.

Exit codes:
  0   drained
  1   could not start (a file cannot be read, an address is taken), could not write the last audit records, or was
      ended before it had started or drained; the same command may succeed later
  64  wrong usage, configuration or policy; nothing was bound, and trying again does not help

Example:
  postern run --config postern.yaml`

const CONSEQUENCE = 'nothing was bound'

export function runCommand(): Command {
  return new Command('run')
    .description('run the proxy until a signal ends it')
    .requiredOption('-c, --config <file>', 'configuration, YAML or JSON', process.env['POSTERN_CONFIG'])
    .option('--wait', 'wait for files that are not there yet, with /readyz saying which, instead of ending')
    .addHelpText('after', HELP)
    .action((options: { config: string; wait?: boolean }) => run(options.config, options.wait === true))
}

async function run(file: string, wait: boolean): Promise<void> {
  tuneMemory()
  if (wait) await waitForFiles(file)
  const loaded = await readConfig(file, CONSEQUENCE)
  if (loaded === undefined) return
  const app = appOf(loaded.config)
  for (const warning of loaded.warnings) app.logger.warn({ warning: problemLine(warning) }, 'configuration')
  const tooFew = fileLimitWarning(
    { connections: loaded.config.limits.connections, workers: loaded.config.workers },
    ownLimits(),
  )
  if (tooFew !== undefined) app.logger.warn({ warning: tooFew }, 'open files')
  let isRunning = false
  process.on('SIGHUP', () => void app.reload())
  const end = (signal: string): void => {
    if (!isRunning) process.exit(EXIT.FAILED)
    isRunning = false
    void drain(app, signal)
  }
  process.on('SIGTERM', end)
  process.on('SIGINT', end)
  try {
    await app.start()
    isRunning = true
  } catch (error) {
    await reportStartFailure(error, loaded.config)
  }
}

/** With several workers, the sessions are in their processes. */
function appOf(config: Config): App {
  if (config.workers === 1) return new App(config, { version })
  const logger = createLogger({ level: config.log.level, clock: systemClock })
  // Sources have another suffix than what is made of them.
  const entry = fileURLToPath(new URL(`./worker${extname(import.meta.url)}`, import.meta.url))
  const write = (bytes: Buffer): Promise<void> =>
    new Promise((resolve, reject) => {
      process.stdout.write(bytes, (error) => (error ? reject(error) : resolve()))
    })
  const crew = new Workers(config, { entry, clock: systemClock, logger, version, write })
  return new App(config, { version, logger, crew })
}

/** The process ends by itself when the last socket has taken what was sent to it. */
async function drain(app: App, signal: string): Promise<void> {
  app.logger.info({ signal, connections: app.connections }, 'draining')
  try {
    await app.stop()
  } catch (error) {
    app.logger.error({ err: error }, 'audit records are lost')
    process.exitCode = EXIT.FAILED
  }
}

async function reportStartFailure(error: unknown, config: Config): Promise<void> {
  if (error instanceof PolicyError) {
    const { keys } = filesOf(config)
    const others = await problemsIn({ policy: undefined, keys })
    return refuse([...error.problems, ...others], CONSEQUENCE)
  }
  if (!(error instanceof PosternError)) throw error
  console.error(`postern: ${sentenceOf(error)}`)
  process.exitCode = EXIT.FAILED
}
