// Parts of a record as canonical JSON (RFC 8785). Members are written in sorted order, so that no sorting is needed.

import canonicalize from 'canonicalize'
import type { AuditEvent, AuditIdentity } from './event.ts'

/** Characters that stand for themselves in JSON; most strings have no others, and the test is cheaper than quoting. */
const PLAIN = /^[ !#-[\]-~]*$/

/** RFC 8785 §3.2.2.2 strings are those of JSON.stringify, except that lone surrogates are an error there. */
export function quote(text: string): string {
  return PLAIN.test(text) ? `"${text}"` : JSON.stringify(text.toWellFormed())
}

/** Claim values may hold lone surrogates (`"\ud800"` is legal JSON); canonical JSON cannot. */
export function wellFormed(value: unknown): unknown {
  if (typeof value === 'string') return value.toWellFormed()
  if (Array.isArray(value)) return value.map(wellFormed)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value).map(([name, member]) => [name.toWellFormed(), wellFormed(member)]),
  )
}

export function connectionJson({
  client_id,
  id,
  listener,
  peer,
}: NonNullable<AuditEvent['connection']>): string {
  let json = ''
  if (client_id !== undefined) json += `,"client_id":${quote(client_id)}`
  json += `,"id":${quote(id)}`
  if (listener !== undefined) json += `,"listener":${quote(listener)}`
  if (peer !== undefined) json += `,"peer":${quote(peer)}`
  return `{${json.slice(1)}}`
}

export function identityJson({ actors, agent, human, tenant, token, txn }: AuditIdentity): string {
  let json = ''
  if (actors !== undefined) json += `,"actors":[${actors.map(partyJson).join()}]`
  if (agent !== undefined) json += `,"agent":${partyJson(agent)}`
  if (human !== undefined) json += `,"human":${partyJson(human)}`
  if (tenant !== undefined) json += `,"tenant":${quote(tenant)}`
  if (token !== undefined) {
    const { exp, iss, jti, kid, sha256 } = token
    const key = kid === undefined ? '' : `,"kid":${quote(kid)}`
    json += `,"token":{"exp":${quote(exp)},"iss":${quote(iss)},"jti":${quote(jti)}${key},"sha256":${quote(sha256)}}`
  }
  if (txn !== undefined) json += `,"txn":${quote(txn)}`
  return `{${json.slice(1)}}`
}

function partyJson({ id, iss, sub, via }: { id?: string; iss: string; sub: string; via?: string }): string {
  let json = ''
  if (id !== undefined) json += `"id":${quote(id)},`
  json += `"iss":${quote(iss)},"sub":${quote(sub)}`
  if (via !== undefined) json += `,"via":${quote(via)}`
  return `{${json}}`
}

export function payloadJson(payload: NonNullable<AuditEvent['payload']>): string {
  if (payload.hmac_sha256 !== undefined) {
    return `{"hmac_sha256":${quote(payload.hmac_sha256)},"length":${payload.length}}`
  }
  if (payload.sha256 === undefined) return `{"length":${payload.length}}`
  return `{"length":${payload.length},"sha256":${quote(payload.sha256)}}`
}

export function resourceJson(resource: NonNullable<AuditEvent['resource']>): string {
  let json = ''
  if (resource.correlation_hmac_sha256 !== undefined) {
    json += `,"correlation_hmac_sha256":${quote(resource.correlation_hmac_sha256)}`
  }
  if (resource.correlation_sha256 !== undefined) {
    json += `,"correlation_sha256":${quote(resource.correlation_sha256)}`
  }
  if (resource.filter !== undefined) json += `,"filter":${quote(resource.filter)}`
  if (resource.qos !== undefined) json += `,"qos":${resource.qos}`
  if (resource.response_topic !== undefined) json += `,"response_topic":${quote(resource.response_topic)}`
  if (resource.retain !== undefined) json += `,"retain":${resource.retain}`
  if (resource.topic !== undefined) json += `,"topic":${quote(resource.topic)}`
  return `{${json.slice(1)}}`
}

export function rulesJson(rules: Readonly<Record<string, string>>): string {
  const layers = Object.keys(rules)
  // Mended names could be equal, or sort elsewhere.
  if (!layers.every((layer) => layer.isWellFormed())) return canonicalize(wellFormed(rules))!
  let json = ''
  for (const layer of layers.sort()) json += `,${quote(layer)}:${quote(rules[layer]!)}`
  return `{${json.slice(1)}}`
}
