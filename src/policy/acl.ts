// The compiled permission of one principal, asked for every packet: the intersection of its layers. Synchronous;
// a decision allocates nothing and makes no string. Hot path: decidePublish, decideDelivery. design.md 3.5-3.9, 4.
import type { Layer } from './layer.ts'
import { type PublishRequest, SubscribeRequest } from './request.ts'
import type { RuleSet } from './rule.ts'
import type { Subject } from './subject.ts'
import { matches, type TopicFilter } from './topic-filter.ts'
import { Verdict } from './verdict.ts'

export { PublishRequest } from './request.ts'

const NONE: readonly TopicFilter[] = []
const NO_PROBLEMS: readonly string[] = []

/** By the options that it is made with: it is filled anew for each decision. */
const requests = new Map<string, SubscribeRequest>()

function requestFor({ overlappingDeny, qosAboveLimit }: AclOptions): SubscribeRequest {
  const key = `${overlappingDeny} ${qosAboveLimit}`
  let request = requests.get(key)
  if (request === undefined) {
    request = new SubscribeRequest(overlappingDeny === 'refuse', qosAboveLimit === 'deny')
    requests.set(key, request)
  }
  return request
}

export interface AclOptions {
  /** SUBSCRIBE above the QoS of the rules: grant the lower one, or deny. */
  readonly qosAboveLimit: 'downgrade' | 'deny'
  /** A filter that shares topics with a deny rule: refuse, or grant and filter the deliveries. */
  readonly overlappingDeny: 'refuse' | 'filter'
  /** Shadow mode of the listener: no layer's denial takes effect. */
  readonly shadow?: boolean | undefined
}

/** Made by `Policy.bind`. What it answers about the last decision holds until the next one. */
export class Acl {
  readonly subject: Subject
  /** The rules that this was made of. */
  readonly rules: RuleSet
  /** In the order in which the first denial names the reason: token, tenant, agent, user, pair. */
  readonly layers: readonly Layer[]
  /** Sentences about rules that could not be bound; no claim values. */
  readonly bindProblems: readonly string[]
  /** Some rule has a longest payload: whether a PUBLISH is allowed, and by which rule, may depend on its length. */
  readonly limitsPayload: boolean
  /** After an ALLOW of `decideSubscribe`: the QoS to ask of the broker. */
  grantedQos = 0
  /** The first layer that denied the last action, be it in shadow mode; -1: none did. */
  decidingLayer = -1
  /** After an ALLOW: what the answer would have been without shadow mode; ALLOW: the same. */
  shadowed: Verdict = Verdict.ALLOW
  /** Filters of subscriptions that just-in-time grants have opened, while they last. */
  openFilters: readonly TopicFilter[] = NONE
  readonly #inShadow: readonly boolean[]
  readonly #verdicts: Verdict[]
  readonly #subscribe: SubscribeRequest

  constructor(
    subject: Subject,
    rules: RuleSet,
    layers: readonly Layer[],
    bindProblems: readonly string[],
    options: AclOptions,
  ) {
    this.subject = subject
    this.rules = rules
    // A copy takes no more room than it needs: there is one for each connection.
    this.layers = layers.slice()
    this.bindProblems = bindProblems.length === 0 ? NO_PROBLEMS : bindProblems
    this.limitsPayload = layers.some((layer) => layer.limitsPayload)
    this.#verdicts = layers.map(() => Verdict.NO_RULE)
    this.#inShadow = layers.map(({ name }) => options.shadow === true || rules.shadow?.has(name) === true)
    this.#subscribe = requestFor(options)
  }

  /**
   * A PUBLISH of the agent, or its Will. The Response Topic must be one that the sender may receive, or a better
   * privileged responder could be made to publish for it. design.md 3.9
   */
  decidePublish(request: PublishRequest): Verdict {
    const { response, responseStart, responseEnd } = request
    const asks = responseStart >= 0
    const receive = asks ? this.decideDelivery(response, responseStart, responseEnd) : Verdict.ALLOW
    const receiveShadowed = asks ? this.shadowed : Verdict.ALLOW
    this.decidingLayer = -1
    for (let i = 0; i < this.layers.length; i++) {
      const verdict = this.layers[i]!.decidePublish(request)
      this.#verdicts[i] = verdict
      if (verdict !== Verdict.ALLOW && this.decidingLayer < 0) this.decidingLayer = i
    }
    const verdict = this.#settle()
    if (verdict !== Verdict.ALLOW) return verdict
    if (receive !== Verdict.ALLOW) {
      this.decideDelivery(response, responseStart, responseEnd)
      return Verdict.RESPONSE_TOPIC_NOT_ALLOWED
    }
    if (receiveShadowed !== Verdict.ALLOW && this.shadowed === Verdict.ALLOW) {
      this.decideDelivery(response, responseStart, responseEnd)
      this.shadowed = Verdict.RESPONSE_TOPIC_NOT_ALLOWED
    }
    return Verdict.ALLOW
  }

  /**
   * One filter of a SUBSCRIBE, with its `$share/{group}/` if it has one. One rule of each layer must cover all of
   * it; nothing is narrowed but the QoS. RFC 9431 §3.2, ACL-04
   *
   * @param granted a just-in-time grant speaks of it
   */
  decideSubscribe(buf: Buffer, start: number, end: number, qos: number, granted = false): Verdict {
    const request = this.#subscribe
    this.grantedQos = 0
    request.granted = granted
    if (!request.read(buf, start, end)) return this.#denyMalformed()
    request.qos = qos
    for (;;) {
      let granted = request.qos
      this.decidingLayer = -1
      for (let i = 0; i < this.layers.length; i++) {
        const verdict = this.layers[i]!.decideSubscribe(request)
        this.#verdicts[i] = verdict
        if (verdict !== Verdict.ALLOW) {
          if (this.decidingLayer < 0) this.decidingLayer = i
        } else if (!this.#inShadow[i]) granted = Math.min(granted, request.grantedQos)
      }
      const verdict = this.#settle()
      if (verdict !== Verdict.ALLOW) return verdict
      if (granted === request.qos) {
        this.grantedQos = granted
        return Verdict.ALLOW
      }
      // Another layer allows less: ask again with that, for a rule may have a lowest QoS too.
      request.qos = granted
    }
  }

  /** A message of the broker: allowed if a subscription to exactly this Topic Name were, at some QoS. */
  decideDelivery(name: Buffer, start: number, end: number): Verdict {
    this.decidingLayer = -1
    const granted = this.#isOpen(name, start, end)
    for (let i = 0; i < this.layers.length; i++) {
      const verdict = this.layers[i]!.decideReceive(name, start, end, granted)
      this.#verdicts[i] = verdict
      if (verdict !== Verdict.ALLOW && this.decidingLayer < 0) this.decidingLayer = i
    }
    return this.#settle()
  }

  /**
   * By layer name, the rule that decided the last action: every layer's after an ALLOW, else those of the layers
   * that denied, also when shadow mode let it through. `-`: no rule of the layer speaks of the topic.
   */
  decidedRules(): Record<string, string> {
    const rules: Record<string, string> = {}
    for (const [i, layer] of this.layers.entries()) {
      if (this.decidingLayer < 0 || this.#verdicts[i] !== Verdict.ALLOW)
        rules[layer.name] = layer.decided?.rule ?? '-'
    }
    return rules
  }

  /** The last decision of one layer, by its place in `layers`. */
  verdictOf(layer: number): Verdict {
    return this.#verdicts[layer] ?? Verdict.NO_RULE
  }

  #isOpen(name: Buffer, start: number, end: number): boolean {
    const open = this.openFilters
    for (let i = 0; i < open.length; i++) if (matches(open[i]!, name, start, end)) return true
    return false
  }

  /** The answer to what the layers said: a denial counts unless every layer that denies is in shadow mode. */
  #settle(): Verdict {
    this.shadowed = Verdict.ALLOW
    const first = this.decidingLayer
    if (first < 0) return Verdict.ALLOW
    for (let i = first; i < this.layers.length; i++) {
      if (this.#verdicts[i] === Verdict.ALLOW || this.#inShadow[i]) continue
      this.decidingLayer = i
      return this.#verdicts[i]!
    }
    this.shadowed = this.#verdicts[first]!
    return Verdict.ALLOW
  }

  #denyMalformed(): Verdict {
    this.shadowed = Verdict.ALLOW
    this.#verdicts.fill(Verdict.NO_RULE)
    for (const layer of this.layers) if (layer.name !== 'pair') layer.decided = undefined
    this.decidingLayer = 0
    return Verdict.NO_RULE
  }
}
