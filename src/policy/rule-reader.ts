// Turns the rules of a document, already of the right shape, into `Rule`s; says what is contradictory, unknown or
// can never match, and what to write instead. Knows no file format: document.ts gives shapes and lines.
import { highestQos, type Limits, type Permission, type Rule, type Selector, UNLIMITED } from './rule.ts'
import { type GroupTemplate, parseGroup, parseTemplate, type Template } from './template.ts'

export type Action = 'publish' | 'subscribe' | 'publish+subscribe'

/** A rule as written. Every key but `id` may be absent. */
export interface RawRule {
  id: string
  allow?: Action | undefined
  deny?: Action | undefined
  topic?: string | undefined
  topics?: string[] | undefined
  maxQos?: number | undefined
  minQos?: number | undefined
  retain?: Permission | undefined
  maxPayload?: number | string | undefined
  shareGroups?: 'any' | string[] | undefined
  responseTopic?: Permission | undefined
  responseFilter?: string | undefined
  requiresGrant?: boolean | undefined
  agents?: string[] | undefined
  users?: string[] | undefined
  when?: Record<string, string | string[]> | undefined
  actingFor?: 'any' | 'user' | 'self' | undefined
}

/** Where a rule stands and what its templates may name. */
export interface RuleContext {
  readonly layer: 'agent' | 'user' | 'tenant'
  readonly line: number
  readonly known: ReadonlySet<string>
  /** `key` is a key of the rule, such as `topics[1]`, or empty. */
  readonly report: (key: string, message: string) => void
  /** What `retain` means where a rule does not say. */
  readonly retain: Permission
  readonly requires: readonly string[]
  /** The rule is about shared subscriptions alone. */
  readonly sharedOnly?: boolean
}

const PUBLISH_LIMITS = ['retain', 'maxPayload', 'responseTopic', 'responseFilter'] as const
const LIMITS = ['maxQos', 'minQos', ...PUBLISH_LIMITS, 'shareGroups', 'requiresGrant'] as const

const SIZE = /^(\d{1,9})(B|KiB|MiB)?$/
const SIZE_UNITS: ReadonlyMap<string, number> = new Map([
  ['B', 1],
  ['KiB', 1024],
  ['MiB', 1024 * 1024],
])

/** @returns the rule, as far as it can be read: use it only when nothing was reported. */
export function readRule(raw: RawRule, context: RuleContext): Rule {
  const { report } = context
  const action = raw.allow ?? raw.deny
  if (raw.allow !== undefined && raw.deny !== undefined)
    report('deny', 'has `allow` and `deny`: write one of them')
  if (action === undefined) report('', 'says neither `allow` nor `deny`: write `allow: publish`, for example')
  const effect = raw.allow === undefined ? 'deny' : 'allow'
  const publish = action !== 'subscribe'
  const subscribe = action !== 'publish'
  reportUselessKeys(raw, effect, publish, subscribe, report)
  return {
    id: raw.id,
    line: context.line,
    layer: context.layer,
    effect,
    publish,
    subscribe,
    topics: readTopics(raw, context),
    limits: effect === 'deny' ? UNLIMITED : readLimits(raw, context),
    shareGroups: raw.shareGroups === 'any' ? 'any' : readGroups(raw.shareGroups ?? [], context),
    responseFilter:
      raw.responseFilter === undefined ? undefined : template(raw.responseFilter, 'responseFilter', context),
    selector: readSelector(raw, context),
  }
}

function readTopics(raw: RawRule, context: RuleContext): Template[] {
  if (raw.topic !== undefined && raw.topics !== undefined) {
    context.report('topics', 'has `topic` and `topics`: write all of them under `topics`')
  }
  if (raw.topic === undefined && raw.topics === undefined) {
    context.report('', 'names no topic: write `topic: ...`')
  }
  const single = raw.topic === undefined ? [] : [template(raw.topic, 'topic', context)]
  const list = (raw.topics ?? []).map((text, i) => template(text, `topics[${i}]`, context))
  return [...single, ...list].filter((topic) => topic !== undefined)
}

function template(text: string, key: string, context: RuleContext): Template | undefined {
  const parsed = parseTemplate(text, context.known)
  if (typeof parsed !== 'string') return parsed
  context.report(key, parsed)
  return undefined
}

function readGroups(texts: readonly string[], context: RuleContext): GroupTemplate[] {
  return texts.flatMap((text, i) => {
    const parsed = parseGroup(text, context.known)
    if (typeof parsed !== 'string') return parsed
    context.report(`shareGroups[${i}]`, parsed)
    return []
  })
}

function readLimits(raw: RawRule, context: RuleContext): Limits {
  const max = raw.maxQos ?? 2
  const min = raw.minQos ?? 0
  if (min > max)
    context.report('minQos', `\`minQos\` ${min} is above \`maxQos\` ${max}: the rule can never match`)
  return {
    highestQos: highestQos([0, 1, 2].filter((qos) => qos >= min && qos <= max)),
    retain: raw.retain ?? context.retain,
    maxPayload: readSize(raw.maxPayload, context),
    responseTopic: raw.responseTopic ?? 'allowed',
    ...(context.sharedOnly ? { sharedOnly: true } : {}),
    ...(raw.requiresGrant ? { requiresGrant: true } : {}),
  }
}

function readSize(size: number | string | undefined, context: RuleContext): number {
  if (size === undefined) return Number.POSITIVE_INFINITY
  const [, digits, unit] = SIZE.exec(String(size)) ?? []
  if (digits !== undefined) return Number(digits) * (SIZE_UNITS.get(unit ?? 'B') ?? 1)
  context.report('maxPayload', '`maxPayload` is no size: write bytes such as `65536`, or `64KiB`, or `1MiB`')
  return 0
}

function readSelector(raw: RawRule, context: RuleContext): Selector {
  const when = new Map<string, ReadonlySet<string>>()
  for (const [name, values] of Object.entries(raw.when ?? {})) {
    when.set(name, new Set(typeof values === 'string' ? [values] : values))
    if (!context.known.has(name)) {
      context.report(`when.${name}`, `\`${name}\` is no known attribute: add it to the list \`attributes\``)
    }
  }
  const agents = raw.agents && new Set(raw.agents)
  const users = raw.users && new Set(raw.users)
  reportDisjoint('agents', agents, 'agent_id', when, context)
  reportDisjoint('users', users, 'user_id', when, context)
  const actingFor = raw.actingFor ?? 'any'
  if (actingFor === 'self' && (context.layer === 'user' || users !== undefined)) {
    context.report('actingFor', '`actingFor: self` never meets a user: the rule can never match')
  }
  return { agents, users, when, requires: context.requires, actingFor }
}

function reportDisjoint(
  key: string,
  ids: ReadonlySet<string> | undefined,
  attribute: string,
  when: ReadonlyMap<string, ReadonlySet<string>>,
  context: RuleContext,
): void {
  const values = when.get(attribute)
  if (ids === undefined || values === undefined || [...ids].some((id) => values.has(id))) return
  context.report(
    `when.${attribute}`,
    `\`when: ${attribute}\` and \`${key}\` have no value in common: the rule can never match`,
  )
}

function reportUselessKeys(
  raw: RawRule,
  effect: 'allow' | 'deny',
  publish: boolean,
  subscribe: boolean,
  report: RuleContext['report'],
): void {
  for (const key of LIMITS) {
    if (raw[key] === undefined) continue
    if (effect === 'deny') report(key, `a deny has no limits: remove \`${key}\`, or allow with that limit`)
    else if (key === 'shareGroups' && !subscribe)
      report(key, '`shareGroups` is about subscribing: the rule only allows publishing')
    else if (PUBLISH_LIMITS.some((limit) => limit === key) && !publish) {
      report(key, `\`${key}\` is about publishing: the rule only allows subscribing`)
    }
  }
  if (raw.responseTopic === 'forbidden' && raw.responseFilter !== undefined) {
    report(
      'responseFilter',
      '`responseFilter` says which Response Topic is allowed, `responseTopic: forbidden` allows none: remove one',
    )
  }
}
