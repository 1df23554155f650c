// One run of the demo: stage, story, playground, and everything cleared away, however it ends. Owns the exit code.

import { EXIT } from '../exit.ts'
import { play } from './play.ts'
import { openPlayground } from './playground.ts'
import type { Screen } from './screen.ts'
import { Cleanups, Stage } from './stage.ts'

export interface DemoOptions {
  /** Text of the policy. */
  policy: string
  /** End after the story. */
  once: boolean
  screen: Screen
  /** Resolves when the person has had enough. */
  interrupted: Promise<void>
}

/** @returns exit code: EXIT.OK when every step came out as told, else EXIT.FAILED */
export async function runDemo(options: DemoOptions): Promise<number> {
  const { once, screen, interrupted } = options
  const cleanups = new Cleanups()
  try {
    const told = await Promise.race([tell(options, cleanups), interrupted.then(() => undefined)])
    if (told === undefined) {
      screen.plain('Interrupted.')
      return EXIT.FAILED
    }
    if (!once) {
      await interrupted
      screen.plain('Draining …')
    }
    return told ? EXIT.OK : EXIT.FAILED
  } catch (error) {
    screen.bad((error as Error).message)
    return EXIT.FAILED
  } finally {
    await cleanups.run()
  }
}

async function tell({ policy, once, screen }: DemoOptions, cleanups: Cleanups): Promise<boolean> {
  const stage = await Stage.open({ policy, log: (line) => screen.plain(line) }, cleanups)
  const { broker, address } = stage
  screen.plain(`A stock Mosquitto listens on ${broker.host}:${broker.port}, Postern in front of it on`)
  screen.plain(
    `${address.host}:${address.port}. Each agent shows a token that names it and the user it acts for.`,
  )
  const told = await play(stage, screen)
  if (!once) {
    await openPlayground(stage, screen)
    screen.blank()
    screen.plain('Ctrl-C ends all of it.')
  }
  return told
}
