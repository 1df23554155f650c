// Plays scenarios on both sides and compares the transcripts.
import { type Pair, type SideName, startPair } from './pair.ts'
import { type Scenario, Stage, type Transcript } from './stage.ts'

export interface Outcome {
  transcript: Transcript
  /** Why the scenario could not be played to its end on this side. */
  error: string | undefined
}

export interface Difference {
  /** As in a Transcript; `direct` or `postern` when the scenario could not be played there. */
  place: string
  /** To read, lines of both sides marked. */
  text: string
}

export interface Result {
  /** Lines of the transcript of the direct side: packets, and ends of connections. */
  lines: number
  sides: Record<SideName, Outcome>
  /** Differences that `differs` of the scenario does not tell; a known one that is gone is one too. */
  unexpected: readonly Difference[]
}

/** @param shared used unless the scenario wants brokers of its own */
export async function playBoth(scenario: Scenario, prefix: string, shared: Pair): Promise<Result> {
  const own = scenario.conf !== undefined || scenario.persistent === true
  const pair = own ? await startPair(scenario) : shared
  try {
    const [direct, postern] = await Promise.all([
      play(scenario, new Stage(pair.direct, pair, prefix)),
      play(scenario, new Stage(pair.postern, pair, prefix)),
    ])
    const known = scenario.differs?.at ?? []
    const found = compare(direct, postern)
    const missing = known.filter(
      (place) => pair.isKnown && !found.some((difference) => difference.place === place),
    )
    return {
      lines: [...direct.transcript.values()].reduce((sum, lines) => sum + lines.length, 0),
      sides: { direct, postern },
      unexpected: [
        ...found.filter((difference) => !known.includes(difference.place)),
        ...missing.map((place) => ({ place, text: `${place}: the known difference is gone` })),
      ],
    }
  } finally {
    if (own) await pair.stop()
  }
}

async function play(scenario: Scenario, stage: Stage): Promise<Outcome> {
  let error: string | undefined
  const failed = (cause: unknown): void => {
    error ??= cause instanceof Error ? cause.message : String(cause)
  }
  await scenario.play(stage).catch(failed)
  await stage.end().catch(failed)
  return { transcript: stage.transcript(), error }
}

/** What differs; empty when nothing does and both sides were played to the end. */
export function compare(direct: Outcome, postern: Outcome): Difference[] {
  const differences: Difference[] = []
  for (const [place, { error }] of Object.entries({ direct, postern })) {
    if (error !== undefined) differences.push({ place, text: `${place}: ${error}` })
  }
  for (const place of new Set([...direct.transcript.keys(), ...postern.transcript.keys()])) {
    const left = direct.transcript.get(place) ?? []
    const right = postern.transcript.get(place) ?? []
    if (left.length === right.length && left.every((line, i) => line === right[i])) continue
    const lines = diff(left, right).join('\n')
    differences.push({ place, text: `at ${place} (- direct, + through Postern)\n${lines}` })
  }
  return differences
}

/** Equal lines around a difference that are shown, and different lines of one side. */
const CONTEXT = 2
const SHOWN = 20

/** From the first to the last line that differs; what is equal before and after is left out. */
function diff(left: readonly string[], right: readonly string[]): string[] {
  let start = 0
  while (start < left.length && start < right.length && left[start] === right[start]) start++
  let end = 0
  const longest = Math.min(left.length, right.length) - start
  while (end < longest && left.at(-1 - end) === right.at(-1 - end)) end++
  const mark = (lines: readonly string[], sign: string): string[] => [
    ...lines.slice(0, SHOWN).map((line) => `  ${sign} ${line}`),
    ...(lines.length > SHOWN ? [`  ${sign} … ${lines.length - SHOWN} more`] : []),
  ]
  return [
    ...(start > CONTEXT ? [`    … ${start - CONTEXT} equal`] : []),
    ...mark(left.slice(Math.max(0, start - CONTEXT), start), ' '),
    ...mark(left.slice(start, left.length - end), '-'),
    ...mark(right.slice(start, right.length - end), '+'),
    ...mark(left.slice(left.length - end).slice(0, CONTEXT), ' '),
    ...(end > CONTEXT ? [`    … ${end - CONTEXT} equal`] : []),
  ]
}
