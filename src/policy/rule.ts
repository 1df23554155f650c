// What a rule is after loading, and whether it is meant for a subject. Values only: document.ts makes rules,
// bind.ts fills their placeholders, layer.ts evaluates them. design.md 5.
import type { Subject } from './subject.ts'
import type { GroupTemplate, Template } from './template.ts'

export type Permission = 'allowed' | 'required' | 'forbidden'

/** Limits that a topic match alone does not satisfy. */
export interface Limits {
  /** By requested QoS: the highest allowed level that does not exceed it, or -1. */
  readonly highestQos: readonly [number, number, number]
  readonly retain: Permission
  /** Bytes; Infinity: no limit. */
  readonly maxPayload: number
  readonly responseTopic: Permission
  /** Only behind `$share/{group}/`, never as a plain filter (MQTT.Agent rules on a `$share` topic). */
  readonly sharedOnly?: true
  /** Only with a just-in-time grant for the action (JIT-01). */
  readonly requiresGrant?: true
}

/** One rule of the agent or the user layer, or the tenant's topics as one rule. `line` is 1-based. */
export interface Rule {
  readonly id: string
  readonly line: number
  readonly layer: 'agent' | 'user' | 'tenant'
  readonly effect: 'allow' | 'deny'
  readonly publish: boolean
  readonly subscribe: boolean
  readonly topics: readonly Template[]
  readonly limits: Limits
  /** Share groups that a subscriber may join; empty: none. */
  readonly shareGroups: 'any' | readonly GroupTemplate[]
  /** A Response Topic, when there is one, must match this. */
  readonly responseFilter: Template | undefined
  readonly selector: Selector
}

/** For whom a rule is. An absent member selects everyone. */
export interface Selector {
  readonly agents: ReadonlySet<string> | undefined
  readonly users: ReadonlySet<string> | undefined
  /** By attribute name: the subject must have one of the values. */
  readonly when: ReadonlyMap<string, ReadonlySet<string>>
  /** Attributes that must have a value (`binding` of an MQTT.Agent rule without `{$self}`). */
  readonly requires: readonly string[]
  readonly actingFor: 'any' | 'user' | 'self'
}

/** A pair of user and agent that may, or may not, act together at all. DEL-08 */
export interface Pair {
  readonly id: string
  readonly line: number
  readonly effect: 'allow' | 'deny'
  readonly users: ReadonlySet<string> | undefined
  readonly agents: ReadonlySet<string> | undefined
}

/** Rules by layer. An undefined `tenant` or `pairs` means that the layer does not exist. */
export interface RuleSet {
  /** Attributes that the document declares beyond the built-in ones. */
  readonly attributes: readonly string[]
  readonly tenant: Rule | undefined
  readonly agents: readonly Rule[]
  readonly users: readonly Rule[]
  readonly pairs: readonly Pair[] | undefined
  /** Names of the layers in shadow mode: their denials are recorded and let through. Absent: none. */
  readonly shadow?: ReadonlySet<string> | undefined
}

export const UNLIMITED: Limits = {
  highestQos: [0, 1, 2],
  retain: 'allowed',
  maxPayload: Number.POSITIVE_INFINITY,
  responseTopic: 'allowed',
}

/** `Limits.highestQos` for a list of allowed levels. */
export function highestQos(allowed: readonly number[]): [number, number, number] {
  const highest = (requested: number) => Math.max(-1, ...allowed.filter((qos) => qos <= requested))
  return [highest(0), highest(1), highest(2)]
}

/**
 * Why the rule is not for this subject, as words that follow "the rule"; undefined: it is. An allow needs what it
 * names. A deny whose attribute the subject lacks applies all the same: a claim left out must not open a way.
 */
export function whyNotFor(
  effect: 'allow' | 'deny',
  selector: Selector,
  subject: Subject,
): string | undefined {
  if (selector.actingFor === 'user' && !subject.delegated) return 'is only for agents that act for a user'
  if (selector.actingFor === 'self' && subject.delegated) return 'is only for agents that act for themselves'
  if (selector.agents !== undefined && !selector.agents.has(subject.agent.id)) {
    return `is only for the agents ${[...selector.agents].join(', ')}`
  }
  if (selector.users !== undefined && !(subject.delegated && selector.users.has(subject.human.id))) {
    return `is only for the users ${[...selector.users].join(', ')}`
  }
  for (const [name, wanted] of selector.when) {
    const values = subject.attributes.get(name) ?? []
    if (values.length === 0 && effect === 'deny') continue
    if (!values.some((value) => wanted.has(value))) return `needs ${name} to be ${[...wanted].join(' or ')}`
  }
  for (const name of selector.requires) {
    if ((subject.attributes.get(name) ?? []).length === 0) return `needs a value for ${name}`
  }
  return undefined
}

/** Whether the pair is about this user and agent. */
export function isAbout(pair: Pair, subject: Subject): boolean {
  return (pair.users?.has(subject.human.id) ?? true) && (pair.agents?.has(subject.agent.id) ?? true)
}
