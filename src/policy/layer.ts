// The layers whose intersection is the permission, and how one of them decides. A layer is built at CONNECT from
// expanded rules; deciding allocates nothing. Hot path: runs per packet. design.md 3.7, 3.8, 4.

import { GrantIndex } from './grant-index.ts'
import type { PublishRequest, SubscribeRequest } from './request.ts'
import type { Limits } from './rule.ts'
import { covers, equals, matches, overlaps, type TopicFilter } from './topic-filter.ts'
import { Verdict } from './verdict.ts'

const DOLLAR = 0x24

/** One filter of one rule, its placeholders filled. */
export class Grant {
  /** Rule id. */
  readonly rule: string
  readonly filter: TopicFilter
  /** What a delivery is judged by; differs from `filter` only for a literal allow of a wildcard filter. */
  readonly deliveryFilter: TopicFilter
  readonly limits: Limits
  readonly shareGroups: 'any' | readonly Buffer[]
  readonly responseFilter: TopicFilter | undefined

  constructor(
    rule: string,
    filter: TopicFilter,
    limits: Limits,
    shareGroups: 'any' | readonly Buffer[],
    responseFilter?: TopicFilter,
    deliveryFilter: TopicFilter = filter,
  ) {
    this.rule = rule
    this.filter = filter
    this.limits = limits
    this.shareGroups = shareGroups
    this.responseFilter = responseFilter
    this.deliveryFilter = deliveryFilter
  }
}

/** Grants of one layer, by effect and action. */
export interface GrantLists {
  readonly publishAllow: Grant[]
  readonly publishDeny: Grant[]
  readonly subscribeAllow: Grant[]
  readonly subscribeDeny: Grant[]
}

export interface Layer {
  readonly name: string
  /** A grant of `decidePublish` has a longest payload. */
  readonly limitsPayload: boolean
  /** Who decided the last call; for a denial by a limit, the rule that came furthest; undefined: no rule. */
  decided: { readonly rule: string; readonly filter?: TopicFilter } | undefined
  decidePublish(request: PublishRequest): Verdict
  /** Sets `request.grantedQos` on ALLOW. */
  decideSubscribe(request: SubscribeRequest): Verdict
  /**
   * Whether a message on this Topic Name may reach the subscriber, whatever its QoS.
   *
   * @param granted a subscription that a just-in-time grant has opened brings it
   */
  decideReceive(name: Buffer, start: number, end: number, granted: boolean): Verdict
}

interface Indexes {
  readonly publishAllow: GrantIndex
  readonly publishDeny: GrantIndex
  readonly receiveAllow: GrantIndex
  readonly receiveDeny: GrantIndex
}

/** One index for all connections that share the lists. */
const indexes = new WeakMap<GrantLists, Indexes>()

function indexesOf(grants: GrantLists): Indexes {
  let found = indexes.get(grants)
  if (found === undefined) {
    found = {
      publishAllow: new GrantIndex(grants.publishAllow, (grant) => grant.filter),
      publishDeny: new GrantIndex(grants.publishDeny, (grant) => grant.deliveryFilter),
      receiveAllow: new GrantIndex(grants.subscribeAllow, (grant) => grant.deliveryFilter),
      receiveDeny: new GrantIndex(grants.subscribeDeny, (grant) => grant.deliveryFilter),
    }
    indexes.set(grants, found)
  }
  return found
}

/** Agent, user, tenant and most token layers: any allow, and no deny. */
export class RuleLayer implements Layer {
  readonly name: string
  readonly grants: GrantLists
  readonly limitsPayload: boolean
  decided: Grant | undefined = undefined
  /** The answer where no rule speaks. */
  #unmatched: Verdict
  readonly #indexes: Indexes

  constructor(name: string, grants: GrantLists, unmatched: Verdict = Verdict.NO_RULE) {
    this.name = name
    this.grants = grants
    this.limitsPayload = grants.publishAllow.some(
      (grant) => grant.limits.maxPayload !== Number.POSITIVE_INFINITY,
    )
    this.#unmatched = unmatched
    this.#indexes = indexesOf(grants)
  }

  decidePublish(request: PublishRequest): Verdict {
    const { topic, topicStart, topicEnd } = request
    const deny = this.#indexes.publishDeny.firstMatch(topic, topicStart, topicEnd)
    this.decided = deny
    if (deny !== undefined) return Verdict.DENY_RULE
    let furthest: Verdict = Verdict.ALLOW
    const allow = this.#indexes.publishAllow.candidates(topic, topicStart, topicEnd)
    for (let i = 0; i < allow.length; i++) {
      const grant = allow[i]!
      if (!matches(grant.filter, topic, topicStart, topicEnd)) continue
      const limit = publishLimit(grant, request)
      if (limit === Verdict.ALLOW || limit > furthest) {
        furthest = limit
        this.decided = grant
        if (limit === Verdict.ALLOW) return limit
      }
    }
    return furthest === Verdict.ALLOW ? noRule(topic, topicStart, this.#unmatched) : furthest
  }

  decideSubscribe(request: SubscribeRequest): Verdict {
    const { buf, start, end } = request
    this.decided = undefined
    const deny = this.grants.subscribeDeny
    for (let i = 0; i < deny.length; i++) {
      const grant = deny[i]!
      if (!deniesFilter(grant, request)) continue
      this.decided = grant
      return Verdict.DENY_RULE
    }
    let furthest: Verdict = Verdict.ALLOW
    let best = -1
    const allow = this.grants.subscribeAllow
    for (let i = 0; i < allow.length && best < request.qos; i++) {
      const grant = allow[i]!
      if (grant.limits.sharedOnly && request.groupStart < 0) continue
      if (!covers(grant.filter, buf, start, end)) continue
      const limit = subscribeLimit(grant, request)
      if (limit === Verdict.ALLOW) {
        const granted = grant.limits.highestQos[request.qos]!
        if (granted <= best) continue
        best = granted
        this.decided = grant
      } else if (best < 0 && limit > furthest) {
        furthest = limit
        this.decided = grant
      }
    }
    request.grantedQos = best
    if (best >= 0) return Verdict.ALLOW
    return furthest === Verdict.ALLOW ? noRule(buf, start, this.#unmatched) : furthest
  }

  decideReceive(name: Buffer, start: number, end: number, granted: boolean): Verdict {
    const deny = this.#indexes.receiveDeny.firstMatch(name, start, end)
    this.decided = deny
    if (deny !== undefined) return Verdict.DENY_RULE
    const allow = this.#indexes.receiveAllow.candidates(name, start, end)
    for (let i = 0; i < allow.length; i++) {
      const grant = allow[i]!
      if (!matches(grant.deliveryFilter, name, start, end)) continue
      this.decided ??= grant
      if (grant.limits.requiresGrant && !granted) continue
      this.decided = grant
      return Verdict.ALLOW
    }
    return this.decided === undefined ? noRule(name, start, this.#unmatched) : Verdict.GRANT_REQUIRED
  }
}

/** The pair of user and agent: one answer for every action, known at CONNECT. */
export class PairLayer implements Layer {
  readonly name = 'pair'
  readonly limitsPayload = false
  decided: { readonly rule: string } | undefined
  #verdict: Verdict

  constructor(verdict: Verdict, rule: string | undefined) {
    this.#verdict = verdict
    this.decided = rule === undefined ? undefined : { rule }
  }

  decidePublish(): Verdict {
    return this.#verdict
  }

  decideSubscribe(request: SubscribeRequest): Verdict {
    request.grantedQos = request.qos
    return this.#verdict
  }

  decideReceive(): Verdict {
    return this.#verdict
  }
}

/**
 * The first limit of the grant that the PUBLISH breaks, or ALLOW. Limits are tried in the order of the verdicts'
 * numbers, so that of several grants the one with the largest verdict came furthest.
 */
export function publishLimit(grant: Grant, request: PublishRequest): Verdict {
  const limits = grant.limits
  const granted = limits.highestQos[request.qos]!
  if (granted >= 0 && granted < request.qos) return Verdict.QOS_ABOVE_LIMIT
  if (request.retain) {
    if (limits.retain === 'forbidden') return Verdict.RETAIN_NOT_ALLOWED
  } else if (limits.retain === 'required') return Verdict.RETAIN_REQUIRED
  if (request.payloadLength > limits.maxPayload) return Verdict.PAYLOAD_TOO_LARGE
  if (request.responseStart < 0) {
    if (limits.responseTopic === 'required') return Verdict.RESPONSE_TOPIC_REQUIRED
  } else {
    if (limits.responseTopic === 'forbidden') return Verdict.RESPONSE_TOPIC_NOT_ALLOWED
    const filter = grant.responseFilter
    if (
      filter !== undefined &&
      !matches(filter, request.response, request.responseStart, request.responseEnd)
    ) {
      return Verdict.RESPONSE_TOPIC_NOT_ALLOWED
    }
  }
  if (granted < 0) return Verdict.QOS_BELOW_LIMIT
  return limits.requiresGrant && !request.granted ? Verdict.GRANT_REQUIRED : Verdict.ALLOW
}

/** As `publishLimit`, for a filter that the grant covers. */
export function subscribeLimit(grant: Grant, request: SubscribeRequest): Verdict {
  const granted = grant.limits.highestQos[request.qos]!
  if (granted >= 0 && granted < request.qos && request.refuseHigherQos) return Verdict.QOS_ABOVE_LIMIT
  if (request.groupStart >= 0 && !mayJoin(grant, request)) return Verdict.SHARE_GROUP_NOT_ALLOWED
  if (granted < 0) return Verdict.QOS_BELOW_LIMIT
  return grant.limits.requiresGrant && !request.granted ? Verdict.GRANT_REQUIRED : Verdict.ALLOW
}

/**
 * Whether a deny stops the subscription: any shared topic does, or, where deliveries are filtered instead, only a
 * deny that leaves nothing to deliver.
 */
export function deniesFilter(deny: Grant, request: SubscribeRequest): boolean {
  const { buf, start, end } = request
  return request.refuseOverlap ? overlaps(deny.filter, buf, start, end) : covers(deny.filter, buf, start, end)
}

/** The verdict where no rule of a layer speaks of the topic: a `$`-topic has a name of its own. */
export function noRule(topic: Buffer, start: number, otherwise: Verdict): Verdict {
  return topic[start] === DOLLAR ? Verdict.RESERVED_TOPIC : otherwise
}

function mayJoin(grant: Grant, request: SubscribeRequest): boolean {
  const groups = grant.shareGroups
  if (groups === 'any') return true
  for (let i = 0; i < groups.length; i++) {
    if (equals(groups[i]!, request.buf, request.groupStart, request.groupEnd)) return true
  }
  return false
}
