// For a denial: the rule of a layer that would have allowed the action if least were different, and in what words
// it differs. The same topic with another limit is nearest; then the same rule for another bearer (only levels that
// are bound to claims differ); then another action; then another topic. For explain.ts only.
import type { Acl } from './acl.ts'
import { attributesOf, expandRule } from './bind.ts'
import { OrderedLayer } from './ceiling.ts'
import { type Grant, type Layer, publishLimit, RuleLayer } from './layer.ts'
import type { PublishRequest } from './request.ts'
import { type Limits, type Rule, whyNotFor } from './rule.ts'
import { Verdict } from './verdict.ts'

export type Question =
  | { readonly action: 'publish'; readonly text: string; readonly request: PublishRequest }
  | {
      readonly action: 'subscribe'
      readonly text: string
      readonly qos: number
      readonly group: string | undefined
      readonly granted: boolean
    }
  | { readonly action: 'receive'; readonly text: string }

export interface Nearest {
  /** Rule id. */
  readonly rule: string
  /** Its filter with placeholders filled, or its template while one has no value. */
  readonly filter: string
  /** What keeps it from allowing the action; each follows the words "the rule". */
  readonly differs: readonly string[]
}

const NEEDS_GRANT = 'requires a just-in-time grant'

const Rank = { SAME_TOPIC: 0, OTHER_BEARER: 1, OTHER_ACTION: 2, OTHER_TOPIC: 3, OTHER_BOTH: 4 } as const
type Rank = (typeof Rank)[keyof typeof Rank]

interface Candidate extends Nearest {
  readonly rank: Rank
  /** Levels of the topic that the rule does not have. */
  readonly distance: number
}

/** One filter of an allow, whether or not it applies to the subject. */
interface Source {
  readonly rule: string
  readonly filter: string
  /** Attributes that fill levels of the filter, by index. */
  readonly placeholders: ReadonlyMap<number, string>
  /** undefined: a placeholder has no value. */
  readonly grant: Grant | undefined
  readonly publish: boolean
  readonly subscribe: boolean
  /** Why it does not apply to the subject. */
  readonly obstacles: readonly string[]
}

/** The nearest allow of a layer that denied; undefined when it has none. */
export function nearestRule(
  acl: Acl,
  layer: Layer,
  verdict: Verdict,
  question: Question,
): Nearest | undefined {
  const beaten = verdict === Verdict.DENY_RULE ? [`is beaten by the deny ${layer.decided?.rule ?? '-'}`] : []
  let best: Candidate | undefined
  for (const source of sourcesOf(acl, layer)) {
    const candidate = compare(source, question, beaten)
    if (best === undefined || isNearer(candidate, best)) best = candidate
  }
  return best && { rule: best.rule, filter: best.filter, differs: best.differs }
}

/** The first pair that allows, with the users and agents that it is for. */
export function nearestPair(acl: Acl): Nearest | undefined {
  const pair = acl.rules.pairs?.find(({ effect }) => effect === 'allow')
  if (pair === undefined) return undefined
  const users = pair.users === undefined ? 'any user' : `the users ${[...pair.users].join(', ')}`
  const agents = pair.agents === undefined ? 'any agent' : `the agents ${[...pair.agents].join(', ')}`
  return { rule: pair.id, filter: '', differs: [`is for ${users} with ${agents}`] }
}

function sourcesOf(acl: Acl, layer: Layer): Source[] {
  if (layer instanceof OrderedLayer) {
    const allows = layer.entries.filter((entry) => entry.allow)
    return allows.map((entry) => ({
      ...entry,
      ...named(entry.grant),
      placeholders: new Map(),
      obstacles: [],
    }))
  }
  const rules = rulesOf(acl, layer.name)
  if (rules !== undefined)
    return rules.filter(({ effect }) => effect === 'allow').flatMap((rule) => expand(acl, rule))
  if (!(layer instanceof RuleLayer)) return []
  const { publishAllow, subscribeAllow } = layer.grants
  return [...new Set([...publishAllow, ...subscribeAllow])].map((grant) => ({
    ...named(grant),
    placeholders: new Map(),
    publish: publishAllow.includes(grant),
    subscribe: subscribeAllow.includes(grant),
    obstacles: [],
  }))
}

function rulesOf(acl: Acl, layer: string): readonly Rule[] | undefined {
  if (layer === 'agent') return acl.rules.agents
  if (layer === 'user') return acl.rules.users
  return layer === 'tenant' && acl.rules.tenant ? [acl.rules.tenant] : undefined
}

function expand(acl: Acl, rule: Rule): Source[] {
  const { publish, subscribe } = rule
  const obstacle = whyNotFor('allow', rule.selector, acl.subject)
  const obstacles = obstacle === undefined ? [] : [obstacle]
  const grants = expandRule(rule, acl.subject, [])
  if (grants.length > 0) {
    return grants.map((grant) => {
      const placeholders = placeholdersOf(rule, grant.filter.text)
      return { ...named(grant), placeholders, publish, subscribe, obstacles }
    })
  }
  const missing = `needs a usable value for ${attributesOf(rule).join(', ')}`
  return rule.topics.map(({ text }) => ({
    rule: rule.id,
    filter: text,
    placeholders: placeholdersOf(rule, text),
    grant: undefined,
    publish,
    subscribe,
    obstacles: [...obstacles, missing],
  }))
}

/** Which attributes fill which levels of a rule's filter, by index. */
export function placeholdersOf(rule: Rule, filter: string): Map<number, string> {
  const filled = filter.split('/')
  const template = rule.topics.find(
    ({ levels }) =>
      levels.length === filled.length &&
      levels.every((level, i) => typeof level !== 'string' || level === filled[i]),
  )
  const found = new Map<number, string>()
  template?.levels.forEach((level, i) => {
    if (typeof level !== 'string') found.set(i, level.name)
  })
  return found
}

function named(grant: Grant): { grant: Grant; rule: string; filter: string } {
  return { grant, rule: grant.rule, filter: grant.filter.text }
}

function compare(source: Source, question: Question, beaten: readonly string[]): Candidate {
  const differs = [...source.obstacles]
  const isPublish = question.action === 'publish'
  const fitsAction = isPublish ? source.publish : source.subscribe
  if (!fitsAction) differs.push(isPublish ? 'allows subscribing only' : 'allows publishing only')
  const levels = levelDifferences(source, question.text)
  if (levels.length > 0) differs.push(levels.map(({ words }) => words).join(', '))
  const limit = source.grant === undefined ? undefined : limitWords(source.grant, question)
  if (limit !== undefined) differs.push(limit)
  return {
    rule: source.rule,
    filter: source.filter,
    differs: [...differs, ...beaten],
    rank: rankOf(fitsAction, levels),
    distance: levels.length,
  }
}

function rankOf(fitsAction: boolean, levels: readonly LevelDifference[]): Rank {
  if (levels.length === 0) return fitsAction ? Rank.SAME_TOPIC : Rank.OTHER_ACTION
  if (!fitsAction) return Rank.OTHER_BOTH
  return levels.every(({ isBound }) => isBound) ? Rank.OTHER_BEARER : Rank.OTHER_TOPIC
}

function isNearer(a: Candidate, b: Candidate): boolean {
  return (a.rank - b.rank || a.distance - b.distance || a.differs.length - b.differs.length) < 0
}

interface LevelDifference {
  readonly words: string
  /** A claim of the bearer stands there, and another value is asked for. */
  readonly isBound: boolean
}

/** Each level that the rule's filter does not cover. */
function levelDifferences({ filter, placeholders }: Source, asked: string): LevelDifference[] {
  const have = filter.split('/')
  const want = asked.split('/')
  const differences: LevelDifference[] = []
  for (let i = 0; i < Math.max(have.length, want.length); i++) {
    const [mine, theirs] = [have[i], want[i]]
    const isDollar = i === 0 && theirs?.startsWith('$') === true
    if (mine === '#' && !isDollar) break
    if (mine === theirs || (mine === '+' && theirs !== undefined && theirs !== '#' && !isDollar)) continue
    const name = placeholders.get(i)
    const from = name === undefined || mine === `{${name}}` ? '' : ` ({${name}})`
    const instead = theirs === undefined ? '' : `, not \`${theirs}\``
    differences.push({
      words:
        mine === undefined ? `has no level ${i + 1}` : `has \`${mine}\`${from} at level ${i + 1}${instead}`,
      isBound: name !== undefined && theirs !== undefined,
    })
  }
  return differences
}

function limitWords(grant: Grant, question: Question): string | undefined {
  const { limits } = grant
  if (question.action === 'receive') return limits.requiresGrant ? NEEDS_GRANT : undefined
  if (question.action === 'publish') return publishWords(publishLimit(grant, question.request), grant)
  if (question.group === undefined && limits.sharedOnly) return 'allows only a shared subscription'
  if (question.group !== undefined && grant.shareGroups !== 'any') {
    const names = grant.shareGroups.map(String)
    if (names.length === 0) return 'allows no shared subscription'
    if (!names.includes(question.group)) return `allows only the share groups ${names.join(', ')}`
  }
  const granted = limits.highestQos[question.qos as 0 | 1 | 2]
  if (granted !== question.qos) return qosWords(limits)
  return limits.requiresGrant && !question.granted ? NEEDS_GRANT : undefined
}

function publishWords(limit: Verdict, { limits, responseFilter }: Grant): string | undefined {
  switch (limit) {
    case Verdict.QOS_ABOVE_LIMIT:
    case Verdict.QOS_BELOW_LIMIT:
      return qosWords(limits)
    case Verdict.RETAIN_NOT_ALLOWED:
      return 'allows no retained message'
    case Verdict.RETAIN_REQUIRED:
      return 'allows retained messages only'
    case Verdict.PAYLOAD_TOO_LARGE:
      return `allows at most ${limits.maxPayload} bytes of payload`
    case Verdict.GRANT_REQUIRED:
      return NEEDS_GRANT
    case Verdict.RESPONSE_TOPIC_REQUIRED:
      return 'requires a Response Topic'
    case Verdict.RESPONSE_TOPIC_NOT_ALLOWED:
      return responseFilter
        ? `allows only a Response Topic that \`${responseFilter.text}\` matches`
        : 'allows no Response Topic'
    default:
      return undefined
  }
}

function qosWords(limits: Limits): string {
  const levels = [0, 1, 2].filter((qos) => limits.highestQos[qos as 0 | 1 | 2] === qos)
  return `allows QoS ${levels.join(' or ') || '-'} only`
}
