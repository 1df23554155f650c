// `npm run demo`: a stock Mosquitto, Postern in front of it, and a story played with real clients. Owns arguments and
// signals; the parts are in cmd/demo.

import { readFile } from 'node:fs/promises'
import { Command } from 'commander'
import { runDemo } from './demo/run.ts'
import { Screen } from './demo/screen.ts'
import { EXIT } from './exit.ts'

const POLICY = new URL('../deploy/examples/policy-tools.yaml', import.meta.url)

const HELP = `
Mosquitto is looked for on the PATH, and installed by apt-get or brew if it is missing. Everything else lives in a
temporary directory and on free ports of 127.0.0.1, and is gone after the end. The policy is
deploy/examples/policy-tools.yaml.

Exit codes: 0 every step came out as told, 1 one did not, or the demo could not start or was interrupted,
64 wrong usage.`

await new Command('demo')
  .description('Play what Postern allows and denies, then stay up to be played with, until Ctrl-C.')
  .option('--once', 'end after the story')
  .addHelpText('after', HELP)
  .showHelpAfterError('(add --help for the options)')
  .exitOverride((error) => process.exit(error.exitCode === 0 ? EXIT.OK : EXIT.USAGE))
  .action(async ({ once = false }: { once?: boolean }) => {
    const policy = await readFile(POLICY, 'utf8')
    process.exitCode = await runDemo({ policy, once, screen: terminal(), interrupted: signals() })
  })
  .parseAsync()

function terminal(): Screen {
  const { stdout } = process
  const isTerminal = stdout.isTTY === true
  return new Screen((text) => stdout.write(text), {
    colours: isTerminal && stdout.hasColors(),
    rewrites: isTerminal,
  })
}

/** A second signal means nothing: the end is near, whatever happens. */
function signals(): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => resolve())
  })
}
