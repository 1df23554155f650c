// Tokens of workloads as the identity of an agent: Kubernetes' projected service-account tokens (DEL-15) and SPIFFE's
// JWT-SVIDs (DEL-16). Neither has a human in it: the agent acts for itself, and its owner answers for it (DEL-04).

import type { IssuerConfig, KubernetesConfig, SpiffeConfig } from '../config/config.ts'
import type { AuthFailure } from './auth-failure.ts'
import { isTopicLevel } from './identifier.ts'

type Claims = ReadonlyMap<string, unknown>

/** The agent of a workload, by its short name. */
export type Workload =
  | { ok: true; agentId: string; tenant: string | undefined }
  | { ok: false; reason: AuthFailure }

/** Trust domain and path of a SPIFFE ID. */
export interface SpiffeId {
  trustDomain: string
  /** Not empty. */
  segments: readonly string[]
}

const LONGEST_SPIFFE_ID = 2048
const SERVICE_ACCOUNT = /^system:serviceaccount:([a-z0-9-]{1,63}):([a-z0-9.-]{1,253})$/
const SVID_HEADER = new Set(['alg', 'kid', 'typ'])

/** Whether an issuer's tokens are those of workloads: untyped, without client, not always with an id. */
export function isWorkloadIssuer({ mapping }: Pick<IssuerConfig, 'mapping'>): boolean {
  return mapping === 'kubernetes' || mapping === 'spiffe'
}

/** A JWT-SVID has no header member but these (JWT-SVID §2). */
export function isSvidHeader(header: Claims): boolean {
  return [...header.keys()].every((name) => SVID_HEADER.has(name))
}

/**
 * The claims in the form of an access token. Neither a JWT-SVID nor a token of an older Kubernetes has an id: its
 * digest names it in records and revocations.
 */
export function withTokenId(claims: Claims, digest: string): Claims {
  return claims.has('jti') ? claims : new Map([...claims, ['jti', `sha256:${digest}`]])
}

/**
 * Finds the agent of a service account. Namespace and name stand in `sub` and once more in `kubernetes.io`, and a token
 * that is bound to no pod outlives whoever asked for it.
 *
 * @param sub of the token
 */
export function kubernetesWorkload(claims: Claims, sub: string, config: KubernetesConfig): Workload {
  const [, namespace, name] = SERVICE_ACCOUNT.exec(sub) ?? []
  if (namespace === undefined || name === undefined) return fault('workload_unknown')
  const known = config.agents.find((one) => one.namespace === namespace && one.serviceAccount === name)
  if (known === undefined) return fault('workload_unknown')
  const details = membersOf(claims.get('kubernetes.io'))
  const account = membersOf(details?.get('serviceaccount'))
  const pod = membersOf(details?.get('pod'))
  const podName = pod?.get('name')
  const podUid = pod?.get('uid')
  if (
    details?.get('namespace') !== namespace ||
    account?.get('name') !== name ||
    (known.uid !== undefined && account.get('uid') !== known.uid) ||
    typeof podUid !== 'string' ||
    podUid === '' ||
    typeof podName !== 'string' ||
    !fitsPod(podName, known.pod)
  ) {
    return fault('workload_mismatch')
  }
  return named(known.agent, config.tenant === 'namespace' ? namespace : undefined)
}

/**
 * Finds the agent in the path of a SPIFFE ID, by the first template that fits it whole.
 *
 * @param sub of the token
 */
export function spiffeWorkload(sub: string, config: SpiffeConfig): Workload {
  const id = readSpiffeId(sub)
  if (id === undefined) return fault('workload_unknown')
  if (id.trustDomain !== config.trustDomain) return fault('wrong_trust_domain')
  for (const template of config.paths) {
    const values = matchPath(id.segments, template)
    if (values !== undefined) return named(values.get('agent_id'), values.get('org_id'))
  }
  return fault('workload_unknown')
}

/** @returns undefined for anything but a SPIFFE ID of a workload (SPIFFE-ID §2) */
export function readSpiffeId(text: string): SpiffeId | undefined {
  if (text.length > LONGEST_SPIFFE_ID) return undefined
  const [, trustDomain, path] = /^spiffe:\/\/([a-z0-9._-]{1,255})\/(.+)$/.exec(text) ?? []
  if (trustDomain === undefined || path === undefined) return undefined
  const segments = path.split('/')
  const isClean = segments.every((one) => /^[A-Za-z0-9._-]+$/.test(one) && one !== '.' && one !== '..')
  return isClean ? { trustDomain, segments } : undefined
}

function matchPath(segments: readonly string[], template: string): Map<string, string> | undefined {
  const parts = template.split('/').slice(1)
  if (parts.length !== segments.length) return undefined
  const values = new Map<string, string>()
  for (const [i, part] of parts.entries()) {
    const [, name] = /^\{(.+)\}$/.exec(part) ?? []
    if (name !== undefined) values.set(name, segments[i]!)
    else if (part !== '*' && part !== segments[i]) return undefined
  }
  return values
}

/** `*` stands for the letters, digits and `-` that a controller adds to a name. */
function fitsPod(name: string, pattern: string | undefined): boolean {
  if (pattern === undefined) return true
  const parts = pattern.split('*').map((part) => part.replaceAll('.', '\\.'))
  return new RegExp(`^${parts.join('[a-z0-9-]+')}$`).test(name)
}

function membersOf(value: unknown): Claims | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? new Map(Object.entries(value))
    : undefined
}

function named(agentId: string | undefined, tenant: string | undefined): Workload {
  if (!isTopicLevel(agentId) || (tenant !== undefined && !isTopicLevel(tenant)))
    return fault('bad_identifier')
  return { ok: true, agentId, tenant }
}

function fault(reason: AuthFailure): Workload {
  return { ok: false, reason }
}
