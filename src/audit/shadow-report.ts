// What shadow mode let through, gathered from audit records: which agents would have been denied, by which rule, how
// often. Pure; shadow-fix.ts says what to change.

import { SHADOWED } from './event.ts'
import type { AuditRecord } from './record.ts'

/** Different denials that are kept apart; agents choose topics, so there is no natural bound. */
const MOST_DENIALS = 10_000
/** The order in which layers are asked; formats of the token come before. */
const LAYERS = ['tenant', 'agent', 'user', 'pair']

/** Equal denials, counted. */
export interface ShadowedDenial {
  agent: string
  /** undefined: the agent acted for itself. */
  user: string | undefined
  tenant: string | undefined
  action: 'publish' | 'subscribe' | 'deliver' | 'will'
  /** Topic Name or Topic Filter. */
  place: string
  /** Why the first layer of `rules` denied. */
  reason: string
  /** The layers that denied, with the rule of each; `-`: none speaks of the topic. In the order of the layers. */
  rules: readonly (readonly [layer: string, rule: string])[]
  responseTopic: string | undefined
  count: number
  /** Of all equal ones. */
  maxQos: number
  retain: boolean
  maxPayload: number
  first: string
  last: string
}

export class ShadowReport {
  /** Denials that were one too many to be kept apart. */
  dropped = 0
  readonly #denials = new Map<string, ShadowedDenial>()

  /** Most frequent first. */
  get denials(): ShadowedDenial[] {
    return [...this.#denials.values()].sort((a, b) => b.count - a.count)
  }

  add(record: AuditRecord): void {
    const { action, identity, resource, time } = record
    if (record.effect !== SHADOWED || identity?.agent === undefined) return
    if (action !== 'publish' && action !== 'subscribe' && action !== 'deliver' && action !== 'will') return
    const denial: ShadowedDenial = {
      agent: identity.agent.id,
      user: identity.human?.via === 'delegation' ? identity.human.id : undefined,
      tenant: identity.tenant,
      action,
      place: resource?.topic ?? resource?.filter ?? '',
      reason: record.reason,
      rules: inOrder(Object.entries(record.rules ?? {})),
      responseTopic: resource?.response_topic,
      count: 1,
      maxQos: resource?.qos ?? 0,
      retain: resource?.retain === true,
      maxPayload: record.payload?.length ?? 0,
      first: time,
      last: time,
    }
    const { agent, user, tenant, place, reason, rules, responseTopic } = denial
    const key = JSON.stringify([agent, user, tenant, action, place, reason, rules, responseTopic])
    const known = this.#denials.get(key)
    if (known !== undefined) merge(known, denial)
    else if (this.#denials.size < MOST_DENIALS) this.#denials.set(key, denial)
    else this.dropped++
  }
}

function merge(known: ShadowedDenial, other: ShadowedDenial): void {
  known.count++
  known.maxQos = Math.max(known.maxQos, other.maxQos)
  known.maxPayload = Math.max(known.maxPayload, other.maxPayload)
  known.retain ||= other.retain
  if (other.first < known.first) known.first = other.first
  if (other.last > known.last) known.last = other.last
}

function inOrder(rules: [string, string][]): [string, string][] {
  return rules.sort(([a], [b]) => LAYERS.indexOf(a) - LAYERS.indexOf(b))
}
