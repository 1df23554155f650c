// For a denial: the rule of a layer that would have allowed the action if least were different, and in what words
// it differs. The same topic with another limit is nearer than another topic. For explain.ts only.
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

interface Candidate extends Nearest {
  /** 0: the topic fits; 1: another topic; 2: another topic and another action. */
  readonly rank: number
  /** Levels of the topic that the rule does not have. */
  readonly distance: number
}

/** One filter of an allow, whether or not it applies to the subject. */
interface Source {
  readonly rule: string
  readonly filter: string
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
    return allows.map((entry) => ({ ...entry, ...named(entry.grant), obstacles: [] }))
  }
  const rules = rulesOf(acl, layer.name)
  if (rules !== undefined)
    return rules.filter(({ effect }) => effect === 'allow').flatMap((rule) => expand(acl, rule))
  if (!(layer instanceof RuleLayer)) return []
  const { publishAllow, subscribeAllow } = layer.grants
  return [...new Set([...publishAllow, ...subscribeAllow])].map((grant) => ({
    ...named(grant),
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
  if (grants.length > 0) return grants.map((grant) => ({ ...named(grant), publish, subscribe, obstacles }))
  const missing = `needs a usable value for ${attributesOf(rule).join(', ')}`
  return rule.topics.map(({ text }) => ({
    rule: rule.id,
    filter: text,
    grant: undefined,
    publish,
    subscribe,
    obstacles: [...obstacles, missing],
  }))
}

function named(grant: Grant): { grant: Grant; rule: string; filter: string } {
  return { grant, rule: grant.rule, filter: grant.filter.text }
}

function compare(source: Source, question: Question, beaten: readonly string[]): Candidate {
  const differs = [...source.obstacles]
  const isPublish = question.action === 'publish'
  const fitsAction = isPublish ? source.publish : source.subscribe
  if (!fitsAction) differs.push(isPublish ? 'allows subscribing only' : 'allows publishing only')
  const levels = levelDifferences(source.filter, question.text)
  if (levels.length > 0) differs.push(levels.join(', '))
  const limit = source.grant === undefined ? undefined : limitWords(source.grant, question)
  if (limit !== undefined) differs.push(limit)
  return {
    rule: source.rule,
    filter: source.filter,
    differs: [...differs, ...beaten],
    rank: levels.length === 0 ? 0 : fitsAction ? 1 : 2,
    distance: levels.length,
  }
}

function isNearer(a: Candidate, b: Candidate): boolean {
  return (a.rank - b.rank || a.distance - b.distance || a.differs.length - b.differs.length) < 0
}

/** In words, each level that the rule's filter does not cover. */
function levelDifferences(filter: string, asked: string): string[] {
  const have = filter.split('/')
  const want = asked.split('/')
  const differences: string[] = []
  for (let i = 0; i < Math.max(have.length, want.length); i++) {
    const [mine, theirs] = [have[i], want[i]]
    const isDollar = i === 0 && theirs?.startsWith('$') === true
    if (mine === '#' && !isDollar) break
    if (mine === theirs || (mine === '+' && theirs !== undefined && theirs !== '#' && !isDollar)) continue
    if (mine === undefined) differences.push(`has no level ${i + 1}`)
    else
      differences.push(
        `has \`${mine}\` at level ${i + 1}${theirs === undefined ? '' : `, not \`${theirs}\``}`,
      )
  }
  return differences
}

function limitWords(grant: Grant, question: Question): string | undefined {
  if (question.action === 'receive') return undefined
  const { limits } = grant
  if (question.action === 'publish') return publishWords(publishLimit(grant, question.request), grant)
  if (question.group !== undefined && grant.shareGroups !== 'any') {
    const names = grant.shareGroups.map(String)
    if (names.length === 0) return 'allows no shared subscription'
    if (!names.includes(question.group)) return `allows only the share groups ${names.join(', ')}`
  }
  const granted = limits.highestQos[question.qos as 0 | 1 | 2]
  return granted === question.qos ? undefined : qosWords(limits)
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
