// The smallest change of a policy under which denials that shadow mode let through would be allowed: new rules for
// exactly what was seen and by whom, or a limit of an existing rule. A person decides; nothing is changed. Pure.

import type { ShadowedDenial } from './shadow-report.ts'

/** One change. `yaml` is an entry for the list `under` of the policy; without it, `text` says what to do by hand. */
export type ShadowFix =
  | { under: 'agents' | 'users' | 'pairs'; yaml: string; denials: readonly ShadowedDenial[] }
  | { text: string; denials: readonly ShadowedDenial[] }

interface NewRule {
  under: 'agents' | 'users'
  allow: 'publish' | 'subscribe'
  topic: string
  maxQos: number
  retain: boolean
  group: string | undefined
  who: Set<string>
  denials: ShadowedDenial[]
}

export function proposeFixes(denials: readonly ShadowedDenial[]): ShadowFix[] {
  const rules = new Map<string, NewRule>()
  const pairs = new Map<string, ShadowedDenial[]>()
  const byHand = new Map<string, ShadowedDenial[]>()
  for (const denial of denials) {
    for (const [i, [layer, rule]] of denial.rules.entries()) {
      // The record names the reason of the first layer only; of the others, a missing rule can be told.
      const isResponse = denial.reason.startsWith('response_topic')
      const reason = i === 0 || isResponse ? denial.reason : rule === '-' ? 'no_rule' : 'unknown'
      // A Response Topic that the sender may not read is not mended by a rule for the topic.
      const isNew = rule === '-' && !isResponse && (layer === 'agent' || layer === 'user')
      if (isNew && !/[{}]/.test(denial.place)) addRule(rules, layer, denial)
      else if (layer === 'pair' && rule === '-') push(pairs, denial.user ?? '', denial)
      else push(byHand, sentence(layer, rule, reason, denial), denial)
    }
    const next = behind(denial)
    if (next !== undefined) push(byHand, next, denial)
  }
  return [
    ...join([...rules.values()]).map((rule, i) => ({
      under: rule.under,
      yaml: ruleText(rule, i + 1),
      denials: rule.denials,
    })),
    ...[...pairs].map(([user, found], i) => ({
      under: 'pairs' as const,
      yaml: `- { id: shadow-pair-${i + 1}, allow: { users: ${list([user])}, agents: ${list(found.map((d) => d.agent))} } }`,
      denials: found,
    })),
    ...[...byHand].map(([text, found]) => ({ text, denials: found })),
  ]
}

/** What a record cannot say, since only the first reason stands in it: what would deny once that is mended. */
function behind({ action, agent, reason, responseTopic }: ShadowedDenial): string | undefined {
  const asks = responseTopic !== undefined && (action === 'publish' || action === 'will')
  if (!asks || reason.startsWith('response_topic')) return undefined
  return `agent ${quoted(agent)} must be allowed to subscribe to its Response Topic ${quoted(responseTopic)} too, if it is not yet`
}

function addRule(rules: Map<string, NewRule>, layer: 'agent' | 'user', denial: ShadowedDenial): void {
  const under = layer === 'agent' ? 'agents' : 'users'
  const allow = denial.action === 'publish' || denial.action === 'will' ? 'publish' : 'subscribe'
  const share = /^\$share\/([^/]+)\/(.*)$/.exec(denial.place)
  const topic = templateOf(share === null ? denial.place : share[2]!, denial)
  const key = JSON.stringify([under, allow, topic, share?.[1]])
  const rule = rules.get(key) ?? {
    ...{ under, allow, topic, maxQos: 0, retain: false, group: share?.[1] },
    who: new Set<string>(),
    denials: [],
  }
  rules.set(key, rule as NewRule)
  rule.maxQos = Math.max(rule.maxQos, denial.maxQos)
  rule.retain ||= denial.retain && allow === 'publish'
  rule.who.add(layer === 'agent' ? denial.agent : (denial.user ?? ''))
  rule.denials.push(denial)
}

/** Levels that are the agent's or the user's own name, as placeholders: one rule for many. */
function templateOf(place: string, { agent, user, tenant }: ShadowedDenial): string {
  const placeholder = (level: string): string => {
    if (level === agent) return '{agent_id}'
    if (level === user) return '{user_id}'
    return level === tenant ? '{org_id}' : level
  }
  return place.split('/').map(placeholder).join('/')
}

/** Rules that differ in their topic alone become one. */
function join(rules: NewRule[]): (NewRule & { topics: string[] })[] {
  const joined = new Map<string, NewRule & { topics: string[] }>()
  for (const rule of rules) {
    const { under, allow, maxQos, retain, group } = rule
    const key = JSON.stringify([under, allow, maxQos, retain, group, [...rule.who].sort()])
    const known = joined.get(key)
    if (known === undefined) joined.set(key, { ...rule, topics: [rule.topic] })
    else {
      known.topics.push(rule.topic)
      known.denials.push(...rule.denials)
    }
  }
  return [...joined.values()]
}

function ruleText(rule: NewRule & { topics: string[] }, number: number): string {
  const { topics, under, allow, maxQos, retain, group, who } = rule
  const lines = [
    `- id: shadow-${number}`,
    `  allow: ${allow}`,
    topics.length === 1 ? `  topic: ${quoted(topics[0]!)}` : `  topics: ${list(topics)}`,
    `  ${under}: ${list([...who])}`,
  ]
  if (maxQos < 2) lines.push(`  maxQos: ${maxQos}`)
  if (retain) lines.push('  retain: allowed')
  if (group !== undefined) lines.push(`  shareGroups: ${list([group])}`)
  return lines.join('\n')
}

function sentence(layer: string, rule: string, reason: string, denial: ShadowedDenial): string {
  const { maxQos, maxPayload, place, responseTopic } = denial
  switch (reason) {
    case 'deny_rule':
      return `rule ${rule} denies this and beats every allow: narrow it, or leave it and mend the agent`
    case 'qos_above_limit':
      return `rule ${rule}: write maxQos: ${maxQos}`
    case 'qos_below_limit':
      return `rule ${rule}: remove minQos`
    case 'retain_not_allowed':
    case 'retain_required':
      return `rule ${rule}: write retain: allowed`
    case 'payload_too_large':
      return `rule ${rule}: write maxPayload: ${maxPayload}`
    case 'response_topic_required':
      return `rule ${rule}: write responseTopic: allowed`
    case 'response_topic_not_allowed':
      return rule === '-'
        ? `agent ${quoted(denial.agent)} must be allowed to subscribe to its Response Topic ${quoted(responseTopic ?? '')}`
        : `rule ${rule}: it allows no Response Topic, or its responseFilter does not match ${quoted(responseTopic ?? '')}`
    case 'grant_required':
      return `rule ${rule}: it asks for a just-in-time grant, have one given or remove requiresGrant`
    case 'share_group_not_allowed':
      return `rule ${rule}: add ${quoted(place.split('/')[1] ?? '')} to shareGroups`
  }
  if (layer === 'tenant') return `tenant.topics does not reach ${quoted(place)}`
  if (rule !== '-')
    return `rule ${rule} (${layer}) denies too: ask \`postern explain\`, or look again after the other changes`
  if (layer === 'agent' || layer === 'user')
    return `${layer}s: write a rule by hand, the topic holds a brace: ${quoted(place)}`
  return `the token itself (${layer}) does not allow ${denial.action} ${quoted(place)}: have it issued with more`
}

/** What YAML and JSON read back as the same text, without marks that change how a terminal shows it. */
export function quoted(text: string): string {
  return JSON.stringify(text).replace(
    /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu,
    (mark) =>
      `\\u${mark.charCodeAt(0).toString(16).padStart(4, '0')}${mark.length > 1 ? `\\u${mark.charCodeAt(1).toString(16)}` : ''}`,
  )
}

function list(values: readonly string[]): string {
  return `[${[...new Set(values)].sort().map(quoted).join(', ')}]`
}

function push<T>(map: Map<string, T[]>, key: string, value: T): void {
  const values = map.get(key)
  if (values === undefined) map.set(key, [value])
  else values.push(value)
}
