// Makes policies, subjects and decisions short to write in tests. Decisions are verdict names.
import { createHash } from 'node:crypto'
import { type Acl, PublishRequest } from '../../src/policy/acl.ts'
import { loadPolicy } from '../../src/policy/document.ts'
import type { BindOptions, Policy } from '../../src/policy/policy.ts'
import type { Ceiling, Subject } from '../../src/policy/subject.ts'
import { VERDICT_NAMES } from '../../src/policy/verdict.ts'

export const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex')

export function policyOf(text: string): Policy {
  const loaded = loadPolicy(text, 'policy.yaml', sha256)
  if ('policy' in loaded) return loaded.policy
  throw new Error(loaded.problems.map(({ line, message }) => `${line}: ${message}`).join('\n'))
}

/** `line: message` of every problem; empty when the text loads. */
export function problemsOf(text: string): string[] {
  const loaded = loadPolicy(text, 'policy.yaml', sha256)
  return 'policy' in loaded ? [] : loaded.problems.map(({ line, message }) => `${line}: ${message}`)
}

export interface SubjectOptions {
  agent?: string
  /** The user that the agent acts for; undefined: self-acting, owned by `owner`. */
  user?: string | undefined
  org?: string
  attributes?: Iterable<readonly [string, readonly string[]]>
  ceilings?: readonly Ceiling[]
}

export function subjectOf({
  agent = 'scout',
  user,
  org,
  attributes = [],
  ceilings = [],
}: SubjectOptions = {}): Subject {
  return {
    agent: { iss: 'https://issuer.test', sub: agent, id: agent },
    human: { iss: 'https://issuer.test', sub: user ?? 'owner', id: user ?? 'owner' },
    delegated: user !== undefined,
    tenant: org,
    clientId: agent,
    attributes: new Map([
      ['agent_id', [agent]],
      ['user_id', [user ?? 'owner']],
      ['client_id', [agent]],
      ...(org === undefined ? [] : [['org_id', [org]] as const]),
      ...attributes,
    ]),
    ceilings,
  }
}

export const DEFAULTS: BindOptions = {
  userLayer: 'required',
  missingCeiling: 'none',
  qosAboveLimit: 'downgrade',
  overlappingDeny: 'refuse',
}

export function aclOf(
  policy: Policy | string,
  who: SubjectOptions = {},
  options: Partial<BindOptions> = {},
): Acl {
  const loaded = typeof policy === 'string' ? policyOf(policy) : policy
  return loaded.bind(subjectOf(who), { ...DEFAULTS, ...options })
}

export interface PublishOptions {
  qos?: number
  retain?: boolean
  payload?: number
  response?: string
}

/** The ranges lie between other bytes, so that a read past them shows. */
export function publish(acl: Acl, topic: string, options: PublishOptions = {}): string {
  const request = new PublishRequest()
  request.topic = Buffer.from(`/${topic}/`)
  request.topicStart = 1
  request.topicEnd = request.topic.length - 1
  request.qos = options.qos ?? 1
  request.retain = options.retain ?? false
  request.payloadLength = options.payload ?? 0
  if (options.response !== undefined) {
    request.response = Buffer.from(`+${options.response}#`)
    request.responseStart = 1
    request.responseEnd = request.response.length - 1
  }
  return VERDICT_NAMES[acl.decidePublish(request)]
}

/** The granted QoS, or why not. */
export function subscribe(acl: Acl, filter: string, qos = 1): number | string {
  const bytes = Buffer.from(`/${filter}#`)
  const verdict = acl.decideSubscribe(bytes, 1, bytes.length - 1, qos)
  return verdict === 0 ? acl.grantedQos : VERDICT_NAMES[verdict]
}

export function deliver(acl: Acl, topic: string): string {
  const bytes = Buffer.from(`/${topic}/`)
  return VERDICT_NAMES[acl.decideDelivery(bytes, 1, bytes.length - 1)]
}
