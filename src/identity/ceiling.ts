// Permission ceilings that the token itself carries. Each format found is a layer of its own; what is not understood
// grants nothing. ACL-15; RFC 9237 and RFC 9431 §3.1 (AIF), RFC 9396, EMQX `acl` claim (emqx-acl.ts).

import type { IssuerConfig } from '../config/config.ts'
import type { Ceiling, CeilingRule } from '../policy/subject.ts'
import { bindAcl, readAcl } from './emqx-acl.ts'
import { isTopicFilter } from './identifier.ts'

/** `type` of the `authorization_details` entries that Postern reads. */
export const MQTT_DETAILS_TYPE = 'urn:postern:mqtt'

const DETAILS_MEMBERS = new Set(['type', 'actions', 'locations', 'topics', 'max_qos', 'retain'])

/**
 * Reads every format that the issuer's configuration names and the token holds.
 *
 * @returns undefined when the token holds a deny rule that cannot be read, which must not be left out
 */
export function readCeilings(
  claims: ReadonlyMap<string, unknown>,
  issuer: IssuerConfig,
): readonly Ceiling[] | undefined {
  const ceilings: Ceiling[] = []
  for (const format of issuer.ceilings) {
    if (!claims.has(format)) continue
    const ceiling = readCeiling(format, claims.get(format), issuer.audience)
    if (ceiling === undefined) return undefined
    ceilings.push(Object.freeze(ceiling))
  }
  if (ceilings.length === 0 && issuer.missingCeiling === 'deny') {
    ceilings.push({ format: issuer.ceilings[0] ?? 'scope', firstMatch: false, rules: [] })
  }
  return Object.freeze(ceilings)
}

/**
 * Puts the bound MQTT Client Identifier in the place of `${clientid}`.
 *
 * @returns undefined when it is needed and is not one topic level
 */
export function bindCeilings(ceilings: readonly Ceiling[], clientId: string): readonly Ceiling[] | undefined {
  const bound: Ceiling[] = []
  for (const ceiling of ceilings) {
    const rules = ceiling.format === 'acl' ? bindAcl(ceiling.rules, clientId) : ceiling.rules
    if (rules === undefined) return undefined
    bound.push({ ...ceiling, rules })
  }
  return bound
}

function readCeiling(
  format: Ceiling['format'],
  claim: unknown,
  audience: readonly string[],
): Ceiling | undefined {
  switch (format) {
    case 'scope':
      return { format, firstMatch: false, rules: readAif(claim) }
    case 'authorization_details':
      return { format, firstMatch: false, rules: readDetails(claim, audience) }
    case 'acl':
      return readAcl(claim)
  }
}

/**
 * AIF with topic filters: `[[filter, ["pub", "sub"]], …]`, as base64url of that JSON or as the JSON itself. Anything
 * else, such as `openid profile`, grants nothing.
 */
export function readAif(claim: unknown): CeilingRule[] {
  const entries = typeof claim === 'string' ? decodeAif(claim) : claim
  if (!Array.isArray(entries)) return []
  const rules: CeilingRule[] = []
  for (const entry of entries as unknown[]) {
    if (!Array.isArray(entry) || entry.length !== 2) return []
    const [filter, permissions] = entry as unknown[]
    if (!isTopicFilter(filter) || !Array.isArray(permissions)) return []
    const publish = permissions.includes('pub')
    const subscribe = permissions.includes('sub')
    if (publish || subscribe) rules.push({ effect: 'allow', publish, subscribe, filter })
  }
  return rules
}

function decodeAif(scope: string): unknown {
  if (!/^[A-Za-z0-9_-]+$/.test(scope)) return undefined
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(Buffer.from(scope, 'base64url')))
  } catch {
    return undefined
  }
}

/**
 * Entries of type `urn:postern:mqtt`: `actions` (`publish`, `subscribe`), `topics` (filters), and optionally
 * `locations` (one must be an audience of this proxy), `max_qos`, `retain` (`false`: never retained). An entry with
 * any other member is not understood and gives nothing.
 */
function readDetails(claim: unknown, audience: readonly string[]): CeilingRule[] {
  const entries: unknown[] = Array.isArray(claim) ? claim : []
  return entries.flatMap((entry) =>
    typeof entry === 'object' && entry !== null && !Array.isArray(entry)
      ? readDetail(new Map<string, unknown>(Object.entries(entry)), audience)
      : [],
  )
}

function readDetail(entry: ReadonlyMap<string, unknown>, audience: readonly string[]): CeilingRule[] {
  if (entry.get('type') !== MQTT_DETAILS_TYPE) return []
  if (![...entry.keys()].every((name) => DETAILS_MEMBERS.has(name))) return []
  const actions = entry.get('actions')
  const topics = entry.get('topics')
  // A member that is `null` is not absent: it is not understood.
  const locations = entry.has('locations') ? entry.get('locations') : audience
  const maxQos = entry.has('max_qos') ? entry.get('max_qos') : 2
  const retain = entry.has('retain') ? entry.get('retain') : true
  if (!Array.isArray(actions) || !Array.isArray(topics) || !topics.every(isTopicFilter)) return []
  if (!Array.isArray(locations) || !locations.some((location) => audience.includes(location))) return []
  if ((maxQos !== 0 && maxQos !== 1 && maxQos !== 2) || typeof retain !== 'boolean') return []
  const publish = actions.includes('publish')
  const subscribe = actions.includes('subscribe')
  if (!publish && !subscribe) return []
  return topics.map((filter) => ({
    effect: 'allow',
    publish,
    subscribe,
    filter,
    maxQos,
    ...(retain ? {} : { retain }),
  }))
}
