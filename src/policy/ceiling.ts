// The permission that the token itself carries, as layers: a scope (AIF, RFC 9237, RFC 9431 §3), authorization
// details (RFC 9396) or the `acl` claim of EMQX. identity reads the claims; here they are only evaluated.
import { deniesFilter, Grant, type Layer, noRule, publishLimit, RuleLayer } from './layer.ts'
import type { PublishRequest, SubscribeRequest } from './request.ts'
import { highestQos, type Limits } from './rule.ts'
import type { Ceiling, CeilingRule } from './subject.ts'
import { compileFilter, covers, literalFilter, matches, type TopicFilter } from './topic-filter.ts'
import { Verdict } from './verdict.ts'

/** One entry of a list in which the first match decides. */
export interface OrderedGrant {
  readonly grant: Grant
  readonly allow: boolean
  readonly publish: boolean
  readonly subscribe: boolean
}

/**
 * The layer of one ceiling. An entry covers the shared form of every filter that it covers: the formats know no
 * share groups. An entry that is no filter gives nothing; a deny that is none closes the layer.
 *
 * @param problems gets a sentence for each such entry; never its text
 */
export function ceilingLayer(ceiling: Ceiling, problems: string[]): Layer {
  const name = `token:${ceiling.format}`
  const ordered: OrderedGrant[] = []
  for (const [index, rule] of ceiling.rules.entries()) {
    const grant = readRule(`${ceiling.format}[${index}]`, rule)
    const { publish, subscribe } = rule
    if (grant !== undefined) ordered.push({ grant, allow: rule.effect === 'allow', publish, subscribe })
    else {
      problems.push(`${name}: entry ${index} has no valid Topic Filter`)
      if (rule.effect === 'deny') return new OrderedLayer(name, [])
    }
  }
  if (ceiling.firstMatch) return new OrderedLayer(name, ordered)
  const pick = (allow: boolean, action: 'publish' | 'subscribe') =>
    ordered.filter((entry) => entry.allow === allow && entry[action]).map((entry) => entry.grant)
  return new RuleLayer(name, {
    publishAllow: pick(true, 'publish'),
    publishDeny: pick(false, 'publish'),
    subscribeAllow: pick(true, 'subscribe'),
    subscribeDeny: pick(false, 'subscribe'),
  })
}

/** The array form of the EMQX claim: the first entry that fits the whole action decides. */
export class OrderedLayer implements Layer {
  readonly name: string
  /** The formats have no such limit. */
  readonly limitsPayload = false
  readonly entries: readonly OrderedGrant[]
  decided: Grant | undefined = undefined

  constructor(name: string, entries: readonly OrderedGrant[]) {
    this.name = name
    this.entries = entries
  }

  decidePublish(request: PublishRequest): Verdict {
    const { topic, topicStart, topicEnd } = request
    this.decided = undefined
    let furthest: Verdict = Verdict.ALLOW
    for (let i = 0; i < this.entries.length; i++) {
      const { grant, allow, publish } = this.entries[i]!
      if (!publish || !matches(grant.filter, topic, topicStart, topicEnd)) continue
      const limit = publishLimit(grant, request)
      if (limit === Verdict.ALLOW) {
        this.decided = grant
        return allow ? Verdict.ALLOW : Verdict.DENY_RULE
      }
      if (allow && limit > furthest) {
        furthest = limit
        this.decided = grant
      }
    }
    return furthest === Verdict.ALLOW ? noRule(topic, topicStart, Verdict.NO_RULE) : furthest
  }

  decideSubscribe(request: SubscribeRequest): Verdict {
    for (let qos = request.qos; qos > 0; qos--) {
      const verdict = this.#decideSubscribeAt(request, qos)
      request.grantedQos = qos
      if (verdict !== Verdict.QOS_ABOVE_LIMIT || request.refuseHigherQos) return verdict
    }
    request.grantedQos = 0
    return this.#decideSubscribeAt(request, 0)
  }

  /** A deny that speaks of some QoS levels only says nothing about receiving. */
  decideReceive(name: Buffer, start: number, end: number): Verdict {
    this.decided = undefined
    for (let i = 0; i < this.entries.length; i++) {
      const { grant, allow, subscribe } = this.entries[i]!
      if (!subscribe || !matches(grant.deliveryFilter, name, start, end)) continue
      if (!allow && !isForEveryQos(grant.limits)) continue
      this.decided = grant
      return allow ? Verdict.ALLOW : Verdict.DENY_RULE
    }
    return noRule(name, start, Verdict.NO_RULE)
  }

  #decideSubscribeAt(request: SubscribeRequest, qos: number): Verdict {
    const { buf, start, end } = request
    this.decided = undefined
    let furthest: Verdict = Verdict.ALLOW
    for (let i = 0; i < this.entries.length; i++) {
      const { grant, allow, subscribe } = this.entries[i]!
      if (!subscribe || !(allow ? covers(grant.filter, buf, start, end) : deniesFilter(grant, request)))
        continue
      const granted = grant.limits.highestQos[qos as 0 | 1 | 2]
      if (granted === qos) {
        this.decided = grant
        return allow ? Verdict.ALLOW : Verdict.DENY_RULE
      }
      if (!allow || furthest === Verdict.QOS_ABOVE_LIMIT) continue
      furthest = granted < 0 ? Verdict.QOS_BELOW_LIMIT : Verdict.QOS_ABOVE_LIMIT
      this.decided = grant
    }
    return furthest === Verdict.ALLOW ? noRule(buf, start, Verdict.NO_RULE) : furthest
  }
}

function readRule(name: string, rule: CeilingRule): Grant | undefined {
  const limits: Limits = {
    highestQos: highestQos((rule.qos ?? [0, 1, 2]).filter((qos) => qos <= (rule.maxQos ?? 2))),
    retain: rule.retain === undefined ? 'allowed' : rule.retain ? 'required' : 'forbidden',
    maxPayload: Number.POSITIVE_INFINITY,
    responseTopic: 'allowed',
  }
  // A deny on the shared form denies the filter: requests are judged behind `$share/{group}/`.
  const text = rule.effect === 'deny' ? rule.filter.replace(/^\$share\/[^/]*\//, '') : rule.filter
  if (rule.literal === true) {
    const literal = literalFilter(text)
    return new Grant(name, literal, limits, 'any', undefined, deliveries(rule, literal))
  }
  const filter = compileFilter(text)
  return typeof filter === 'string' ? undefined : new Grant(name, filter, limits, 'any')
}

/** Who may subscribe to the very filter `t/#` may be sent what it brings; a literal deny stops that filter only. */
function deliveries(rule: CeilingRule, literal: TopicFilter): TopicFilter {
  const filter = rule.effect === 'allow' ? compileFilter(literal.text) : literal
  return typeof filter === 'string' ? literal : filter
}

function isForEveryQos(limits: Limits): boolean {
  return limits.highestQos.every((highest, qos) => highest === qos)
}
