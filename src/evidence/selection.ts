// Which records somebody asks for: by human, agent, topic, decision, action and time.

import type { AuditAction } from '../audit/event.ts'
import { Models, missingFrom } from '../audit/models.ts'
import type { AuditRecord } from '../audit/record.ts'
import { compileFilter, matches, overlaps, type TopicFilter } from '../policy/topic-filter.ts'
import type { Chain } from './chains.ts'
import { linesOf, looseRecord } from './log-files.ts'

export interface Selection {
  /** `id` or `sub`, exactly; for a log with keyed subjects their `hmac:` form. */
  human?: readonly string[] | undefined
  agent?: string | undefined
  /** Topic Filter: records whose topic it matches, or whose filter it overlaps. */
  topic?: TopicFilter | undefined
  decision?: 'allow' | 'deny' | undefined
  action?: AuditAction | undefined
  /** UTC, inclusive and exclusive, milliseconds since the epoch. */
  sinceMs?: number | undefined
  untilMs?: number | undefined
}

/** @returns what is wrong with the text, as a sentence, when it is no Topic Filter */
export function parseTopic(text: string): TopicFilter | string {
  return compileFilter(text)
}

export function isSelected(record: AuditRecord, selection: Selection): boolean {
  const { human, agent, topic, decision, action, sinceMs, untilMs } = selection
  const { identity } = record
  if (action !== undefined && record.action !== action) return false
  if (decision !== undefined && record.decision !== decision) return false
  if (human !== undefined && !(isOneOf(identity?.human?.id, human) || isOneOf(identity?.human?.sub, human)))
    return false
  if (agent !== undefined && identity?.agent?.id !== agent && identity?.agent?.sub !== agent) return false
  if (topic !== undefined && !touches(record, topic)) return false
  return isWithin(record, sinceMs, untilMs)
}

function isWithin(
  record: Pick<AuditRecord, 'time' | 'repeated'>,
  sinceMs: number | undefined,
  untilMs: number | undefined,
): boolean {
  if (sinceMs === undefined && untilMs === undefined) return true
  // A counted record stands for all the time from its first to its last action.
  const first = Date.parse(record.repeated?.first ?? record.time)
  const last = Date.parse(record.repeated?.last ?? record.time)
  return last >= (sinceMs ?? Number.NEGATIVE_INFINITY) && first < (untilMs ?? Number.POSITIVE_INFINITY)
}

function isOneOf(value: string | undefined, names: readonly string[]): boolean {
  return value !== undefined && names.includes(value)
}

function touches({ resource }: AuditRecord, filter: TopicFilter): boolean {
  const { topic, filter: asked, response_topic } = resource ?? {}
  const isMatch = (name: string | undefined): boolean => {
    if (name === undefined) return false
    const bytes = Buffer.from(name)
    return matches(filter, bytes, 0, bytes.length)
  }
  if (isMatch(topic) || isMatch(response_topic)) return true
  if (asked === undefined) return false
  const bytes = Buffer.from(shareless(asked))
  return overlaps(filter, bytes, 0, bytes.length)
}

/** `$share/group/filter` asks for what `filter` does. MQTT 5.0 §4.8.2 */
function shareless(filter: string): string {
  return /^\$share\/[^/]+\/(.+)$/s.exec(filter)?.[1] ?? filter
}

/**
 * The records asked for, each whole, also those that are entries of a batch; in the order of time, within a chain as they
 * stand there.
 *
 * @param onMissing told of how many entries of a batch, at a time that is asked for, nobody knows what they say: the
 *   records that they are like are not in the file
 */
export async function* select(
  chains: readonly Chain[],
  selection: Selection,
  onMissing?: (entries: number) => void,
): AsyncGenerator<AuditRecord> {
  const sources = chains.map(({ files }) => selectIn(files, selection, onMissing))
  const heads = await Promise.all(sources.map((source) => source.next()))
  for (;;) {
    let first = -1
    for (const [i, head] of heads.entries()) {
      if (head.done) continue
      if (first < 0 || head.value.time < (heads[first]!.value as AuditRecord).time) first = i
    }
    if (first < 0) return
    yield heads[first]!.value as AuditRecord
    heads[first] = await sources[first]!.next()
  }
}

/** Those of one chain. Lines that are no records are passed over. */
async function* selectIn(
  files: readonly string[],
  selection: Selection,
  onMissing?: (entries: number) => void,
): AsyncGenerator<AuditRecord> {
  const { sinceMs, untilMs } = selection
  for (const file of files) {
    const models = new Models()
    for await (const line of linesOf(file)) {
      const written = looseRecord(line)
      if (written === undefined) continue
      const records = models.records(written)
      const missing = missingFrom(records, written)
      if (missing > 0 && isWithin(written, sinceMs, untilMs)) onMissing?.(missing)
      for (const record of records) if (isSelected(record, selection)) yield record
    }
  }
}

/** How many actions a record stands for. */
export function actionsIn(record: AuditRecord): number {
  return record.repeated?.count ?? 1
}
