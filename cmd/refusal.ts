// Why a token is refused, in a sentence for the operator who has it at hand: which claim or check it is, and what was
// expected. What it quotes is from the token, of whom nobody knows whether it is genuine.

import { printable } from '../src/audit/format.ts'
import type { Config, IssuerConfig } from '../src/config/config.ts'
import { formatDuration } from '../src/config/fields.ts'
import type { AuthFailure } from '../src/identity/auth-failure.ts'
import { dateMs } from '../src/identity/claim-rules.ts'
import { type CompactJws, parseCompactJws } from '../src/identity/compact-jws.ts'

/** What needs no look into the token. */
const SENTENCES: Partial<Record<AuthFailure, string>> = {
  malformed_token:
    'it is no JWT of three parts: look for `Bearer`, quotes, a line break, an opaque or encrypted token',
  duplicate_claim: 'a JSON name occurs twice in it',
  unsupported_crit: 'its header has `crit`',
  ambiguous_key: 'several keys of the issuer fit: sign with a `kid`, and give each key its own',
  keys_unavailable: 'no key set of the issuer could be loaded',
  bad_signature: 'it was signed with another key than that of its `kid`, or changed on the way',
  proof_required:
    'it is bound to a key (`cnf`), or must be (`requireProof`), and here no key is shown: connect with it',
  actor_missing: 'it has no `act`, which says who the agent is under this `mapping`',
  actor_malformed: 'each `act` must be an object with `iss` and `sub`',
  actor_chain_too_deep: 'it has more actors than `maxActorDepth`',
  actor_is_subject: 'agent and human are the same: `mapping: self` is for agents that act for themselves',
  actor_unexpected: 'it has `act`, which this `mapping` does not read',
  sub_profile: '`sub_profile` must be `user`, and `ai_agent` for the agent (`requireSubProfile`)',
  no_owner: 'nobody answers for the agent in `owners`',
  workload_unknown: 'its `sub` is no account of `kubernetes.agents`, or fits no path of `spiffe.paths`',
  workload_mismatch: 'its `kubernetes.io` is not that of `sub`, `uid` or `pod`, or it is bound to no pod',
  wrong_trust_domain: 'its `sub` is of another trust domain than `spiffe.trustDomain`',
  bad_identifier: 'a claim that names agent, human or tenant is not exactly one topic level',
  status_missing: 'it has no `status.status_list`, which `statusList` asks for',
  status_bad_reference: 'it names a status list outside `statusList.uris`, or an entry that is not there',
  status_not_valid: 'the status list does not say valid',
  status_unavailable: 'the status list cannot be had, or is not to be believed',
  not_active: 'the issuer answers that it is not active (`introspection`)',
  introspection_unavailable: 'the issuer cannot be asked (`introspection`)',
}

/** @returns undefined: there is nothing to add to the reason */
export function whyRefused(
  { reason, issuer: name }: { reason: AuthFailure; issuer?: string },
  token: string,
  config: Pick<Config, 'issuers' | 'token'>,
  nowMs: number,
): string | undefined {
  if (reason === 'token_too_large')
    return `it has ${Buffer.byteLength(token)} bytes, \`token.maxBytes\` is ${config.token.maxBytes}`
  const jws = parseCompactJws(token, config.token.maxBytes)
  if (!jws.ok) return SENTENCES[reason]
  const issuer = config.issuers.find((one) => one.issuer === name)
  return (issuer && ofIssuer(reason, jws, issuer, nowMs)) ?? ofAny(reason, jws, config) ?? SENTENCES[reason]
}

function ofAny(
  reason: AuthFailure,
  { header, claims }: CompactJws,
  { issuers }: Pick<Config, 'issuers'>,
): string | undefined {
  if (reason === 'wrong_token_type') {
    return `\`typ\` in its header is ${shown(header.get('typ'))}, and must be "at+jwt" for an access token`
  }
  if (reason !== 'unknown_issuer') return undefined
  const known = issuers.map(({ issuer }) => shown(issuer)).join(', ')
  return `\`iss\` is ${shown(claims.get('iss'))}; configured: ${known}`
}

function ofIssuer(
  reason: AuthFailure,
  { header, claims }: CompactJws,
  issuer: IssuerConfig,
  nowMs: number,
): string | undefined {
  const leeway = `\`leeway\` is ${formatDuration(issuer.leeway)}`
  const apart = (name: string): string => {
    const ms = dateMs(claims.get(name)) ?? nowMs
    const distance = formatDuration(Math.round(Math.abs(nowMs - ms) / 1000) * 1000)
    return `\`${name}\` is ${new Date(ms).toISOString()}, ${ms > nowMs ? `${distance} ahead` : `${distance} ago`}`
  }
  switch (reason) {
    case 'expired':
      return `${apart('exp')}; ${leeway}`
    case 'not_yet_valid':
      return `${apart('nbf')}; ${leeway}`
    case 'issued_in_future':
      return `${apart('iat')}; ${leeway}`
    case 'lifetime_too_long': {
      const lifetime = Number(claims.get('exp')) - Number(claims.get('iat'))
      return `\`exp\` is ${formatDuration(Math.round(lifetime) * 1000)} after \`iat\`; \`maxLifetime\` is ${formatDuration(issuer.maxLifetime)}`
    }
    case 'wrong_audience':
      return `\`aud\` is ${shown(claims.get('aud'))}; expected: ${issuer.audience.map(shown).join(', ')}`
    case 'algorithm_not_allowed':
      return `\`alg\` is ${shown(header.get('alg'))}; \`algorithms\`: ${issuer.algorithms.join(', ')}`
    case 'unknown_key':
      return `no key of the issuer has \`kid\` ${shown(header.get('kid'))} for \`alg\` ${shown(header.get('alg'))}`
    case 'missing_claim':
      return missing(claims, issuer)
    case 'bad_claim':
      return bad(claims)
    default:
      return undefined
  }
}

function missing(claims: ReadonlyMap<string, unknown>, issuer: IssuerConfig): string {
  const { agentId, userId, tenant } = issuer.claims
  const wanted = ['exp', 'iat', 'sub', 'jti', ...(issuer.requireClientId ? ['client_id'] : [])]
  const named = [agentId, userId, tenant].filter((name) => name !== undefined)
  const absent = [...wanted, ...named].filter((name) => !claims.has(name))
  if (absent.length === 0) return `a claim that \`mapping: ${issuer.mapping}\` reads is not there`
  return `it has no ${absent.map((name) => `\`${name}\``).join(', ')}`
}

function bad(claims: ReadonlyMap<string, unknown>): string {
  for (const name of ['exp', 'iat', 'nbf']) {
    if (claims.has(name) && dateMs(claims.get(name)) === undefined) return `\`${name}\` is no time in seconds`
  }
  for (const name of ['sub', 'jti', 'client_id', 'txn']) {
    const value = claims.get(name)
    if (claims.has(name) && (typeof value !== 'string' || value === '')) return `\`${name}\` is no text`
  }
  if (Number(claims.get('exp')) <= Number(claims.get('iat'))) return '`exp` is not after `iat`'
  return 'an attribute, a ceiling or an id in it has another form than it must; docs/tokens.md has them'
}

const LONGEST = 200

function shown(value: unknown): string {
  if (value === undefined) return 'missing'
  const text = printable(JSON.stringify(value))
  return text.length > LONGEST ? `${text.slice(0, LONGEST)}…` : text
}
