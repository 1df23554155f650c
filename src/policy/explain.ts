// Why an action is allowed or denied, in words for a person: every layer with its deciding rule, and for a denial
// the rule that came nearest. For `postern explain` and tests; may be slow, and shows claim values: never logged.
import type { Acl } from './acl.ts'
import type { Layer } from './layer.ts'
import { type Nearest, nearestPair, nearestRule, placeholdersOf, type Question } from './nearest.ts'
import { PublishRequest, SubscribeRequest } from './request.ts'
import { VERDICT_NAMES, Verdict } from './verdict.ts'

export interface PublishQuestion {
  readonly topic: string
  readonly qos: number
  readonly retain: boolean
  /** Bytes. */
  readonly payloadLength: number
  readonly responseTopic?: string | undefined
  /** As if a just-in-time grant for it were there. */
  readonly granted?: boolean | undefined
}

export interface SubscribeQuestion {
  /** With `$share/{group}/` if it has one. */
  readonly filter: string
  readonly qos: number
  /** As if a just-in-time grant for it were there. */
  readonly granted?: boolean | undefined
}

export interface LayerExplanation {
  readonly layer: string
  readonly verdict: Verdict
  /** Rule id, or `-`. */
  readonly rule: string
  /** The rule's filter with its placeholders filled. */
  readonly filter: string | undefined
  /** What filled them, by attribute name. */
  readonly bound: ReadonlyMap<string, string>
  /** For a denial. */
  readonly nearest: Nearest | undefined
}

export interface Explanation {
  /** As without shadow mode. */
  readonly verdict: Verdict
  /** A denial that shadow mode lets through. */
  readonly shadowed: boolean
  /** Name of the verdict, as in audit records. */
  readonly reason: string
  /** After an allowed SUBSCRIBE. */
  readonly grantedQos: number | undefined
  /** What the layers speak of: the action, or receiving on its Response Topic when that is what was denied. */
  readonly about: 'action' | 'response topic'
  readonly layers: readonly LayerExplanation[]
  /** Set when the packet is refused before any rule is asked. */
  readonly malformed: string | undefined
}

export function explainPublish(acl: Acl, question: PublishQuestion): Explanation {
  const malformed =
    nameProblem(question.topic) ?? (question.responseTopic && nameProblem(question.responseTopic))
  const request = requestOf(question)
  const verdict = malformed ? Verdict.NO_RULE : acl.decidePublish(request) || acl.shadowed
  const isResponse =
    verdict === Verdict.RESPONSE_TOPIC_NOT_ALLOWED && acl.verdictOf(acl.decidingLayer) !== verdict
  const asked: Question = isResponse
    ? { action: 'receive', text: question.responseTopic ?? '' }
    : { action: 'publish', text: question.topic, request }
  return {
    verdict,
    shadowed: !malformed && acl.shadowed !== Verdict.ALLOW,
    reason: VERDICT_NAMES[verdict],
    grantedQos: undefined,
    about: isResponse ? 'response topic' : 'action',
    layers: malformed ? [] : explainLayers(acl, asked),
    malformed: malformed || undefined,
  }
}

export function explainSubscribe(acl: Acl, question: SubscribeQuestion): Explanation {
  const { filter, qos, granted = false } = question
  const bytes = Buffer.from(filter)
  const verdict = acl.decideSubscribe(bytes, 0, bytes.length, qos, granted) || acl.shadowed
  const shadowed = acl.shadowed !== Verdict.ALLOW
  const request = new SubscribeRequest(true, true)
  const isWellFormed = request.read(bytes, 0, bytes.length)
  const text = bytes.toString('utf8', request.start, request.end)
  const group =
    request.groupStart < 0 ? undefined : bytes.toString('utf8', request.groupStart, request.groupEnd)
  return {
    verdict,
    shadowed,
    reason: VERDICT_NAMES[verdict],
    grantedQos: verdict === Verdict.ALLOW ? acl.grantedQos : undefined,
    about: 'action',
    layers: isWellFormed ? explainLayers(acl, { action: 'subscribe', text, qos, group, granted }) : [],
    malformed: isWellFormed
      ? undefined
      : 'not a Topic Filter: such a SUBSCRIBE is refused before any rule is asked',
  }
}

function explainLayers(acl: Acl, question: Question): LayerExplanation[] {
  return acl.layers.map((layer, i) => {
    const verdict = acl.verdictOf(i)
    const decided = layer.decided
    return {
      layer: layer.name,
      verdict,
      rule: decided?.rule ?? '-',
      filter: decided?.filter?.text,
      bound: decided === undefined ? new Map() : boundValues(acl, decided.rule, decided.filter?.text ?? ''),
      nearest: verdict === Verdict.ALLOW ? undefined : nearestOf(acl, layer, verdict, question),
    }
  })
}

function nearestOf(acl: Acl, layer: Layer, verdict: Verdict, question: Question): Nearest | undefined {
  return layer.name === 'pair' ? nearestPair(acl) : nearestRule(acl, layer, verdict, question)
}

/** Reads the values back from the filled filter: of an array claim it holds one. */
function boundValues(acl: Acl, id: string, filter: string): Map<string, string> {
  const { tenant, agents, users } = acl.rules
  const rule = [...agents, ...users, ...(tenant ? [tenant] : [])].find((each) => each.id === id)
  if (rule === undefined) return new Map()
  const filled = filter.split('/')
  return new Map([...placeholdersOf(rule, filter)].map(([i, name]) => [name, filled[i]!]))
}

function requestOf(question: PublishQuestion): PublishRequest {
  const request = new PublishRequest()
  request.topic = Buffer.from(question.topic)
  request.topicEnd = request.topic.length
  request.qos = question.qos
  request.retain = question.retain
  request.payloadLength = question.payloadLength
  request.granted = question.granted === true
  if (question.responseTopic !== undefined) {
    request.response = Buffer.from(question.responseTopic)
    request.responseStart = 0
    request.responseEnd = request.response.length
  }
  return request
}

function nameProblem(topic: string): string | undefined {
  if (topic !== '' && !/[+#]/.test(topic)) return undefined
  return 'a Topic Name is not empty and has no wildcard: such a PUBLISH is refused before any rule is asked'
}
