// `npm run demo`: a stock Mosquitto, Postern in front of it, and a story played with real clients. Owns arguments,
// signals and the exit code; the parts are in cmd/demo.

import { readFile } from 'node:fs/promises'
import { Command } from 'commander'
import { play } from './demo/play.ts'
import { openPlayground } from './demo/playground.ts'
import { Screen } from './demo/screen.ts'
import { Cleanups, Stage } from './demo/stage.ts'
import { EXIT } from './exit.ts'

const POLICY = new URL('../deploy/examples/policy-tools.yaml', import.meta.url)

const HELP = `
Mosquitto is looked for on the PATH, and installed by apt-get or brew if it is missing. Everything else lives in a
temporary directory and on free ports of 127.0.0.1, and is gone after the end. The policy is
deploy/examples/policy-tools.yaml.

Exit codes: 0 every step came out as told, 1 one did not, or the demo could not start or was interrupted,
64 wrong usage.`

const program = new Command('demo')
  .description('Plays what Postern allows and denies, then stays up to be played with, until Ctrl-C.')
  .option('--once', 'end after the story')
  .addHelpText('after', HELP)
  .showHelpAfterError()
  .exitOverride((error) => process.exit(error.exitCode === 0 ? EXIT.OK : EXIT.USAGE))
  .action(async ({ once = false }: { once?: boolean }) => {
    process.exitCode = await demo(once)
  })
await program.parseAsync()

async function demo(once: boolean): Promise<number> {
  const { stdout } = process
  const terminal = stdout.isTTY === true
  const screen = new Screen((text) => stdout.write(text), {
    colours: terminal && stdout.hasColors(),
    rewrites: terminal,
  })
  const cleanups = new Cleanups()
  // npm hands on the Ctrl-C that the terminal has sent already: a second signal means nothing.
  const interrupted = new Promise<'interrupted'>((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => resolve('interrupted'))
  })
  try {
    const told = await Promise.race([tell(screen, cleanups, once), interrupted])
    if (told === 'interrupted') return EXIT.FAILED
    if (!once) {
      await interrupted
      screen.blank()
      screen.plain('Draining …')
    }
    return told ? EXIT.OK : EXIT.FAILED
  } catch (error) {
    console.error(`demo: ${(error as Error).message}`)
    return EXIT.FAILED
  } finally {
    await cleanups.run()
  }
}

async function tell(screen: Screen, cleanups: Cleanups, once: boolean): Promise<boolean> {
  const policy = await readFile(POLICY, 'utf8')
  const stage = await Stage.open({ policy, log: (line) => screen.plain(line) }, cleanups)
  const told = await play(stage, screen)
  if (!once) {
    await openPlayground(stage, screen)
    screen.blank()
    screen.plain('Ctrl-C ends all of it.')
  }
  return told
}
