// The demo from beginning to end: story, evidence, verdict. Owns the order and what counts as told.

import { systemClock } from '../../src/clock.ts'
import { proveChain, readCounters, showMoved, showRecords } from './evidence.ts'
import type { Screen } from './screen.ts'
import type { Stage } from './stage.ts'
import { STORY, type Step } from './story.ts'
import { Teller } from './teller.ts'

/** A step that takes longer has gone wrong; the longest one waits about four seconds for a token to expire. */
const STEP_LIMIT_MS = 15_000

/** @returns whether every step came out as told and the evidence holds */
export async function play(stage: Stage, screen: Screen): Promise<boolean> {
  const before = await readCounters(stage)
  let asTold = 0
  for (const [i, step] of STORY.entries()) {
    screen.heading(`${i + 1}  ${step.title}`)
    if (await playStep(step, stage, screen)) asTold++
  }
  await showRecords(stage, screen)
  const proven = await proveChain(stage, screen)
  showMoved(before, await readCounters(stage), screen)
  screen.blank()
  const summary = `${asTold} of ${STORY.length} steps came out as told`
  if (asTold === STORY.length) screen.good(summary)
  else screen.bad(summary)
  return proven && asTold === STORY.length
}

async function playStep(step: Step, stage: Stage, screen: Screen): Promise<boolean> {
  const tell = new Teller(screen)
  const limit = Promise.withResolvers<never>()
  const timer = systemClock.after(STEP_LIMIT_MS, () => limit.reject(new Error('no end within 15 seconds')))
  try {
    await Promise.race([step.play({ stage, tell }), limit.promise])
  } catch (error) {
    screen.bad((error as Error).message)
    return false
  } finally {
    timer.cancel()
  }
  if (tell.asTold) screen.good('as told')
  else screen.bad('not as told')
  return tell.asTold
}
