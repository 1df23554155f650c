// Who acts for whom: from verified claims to the parties of a Subject, by the issuer's mapping mode. Nothing is
// guessed: a claim that a mode does not name is not an identity. RFC 8693 §4.1, DEL-01 to DEL-07.

import type { IssuerConfig } from '../config/config.ts'
import type { Party } from '../policy/subject.ts'
import type { AuthFailure } from './auth-failure.ts'
import { isIdentity, isTopicLevel } from './identifier.ts'
import { kubernetesWorkload, spiffeWorkload, type Workload } from './workload.ts'

type Claims = ReadonlyMap<string, unknown>
type Actor = { iss: string; sub: string; profile: unknown }

export interface Parties {
  ok: true
  agent: Party
  human: Party
  delegated: boolean
  /** From the mode itself; undefined: from a claim, if one is configured. */
  tenant?: string | undefined
  /** Outermost first; empty when self-acting. */
  actorChain: readonly { iss: string; sub: string }[]
}

export interface MappingFault {
  ok: false
  reason: AuthFailure
}

/**
 * Finds agent and human. Every id that topics are made of is exactly one topic level.
 *
 * All issuers share one name space of agent ids and user ids: configure only issuers that agree on it.
 *
 * @param subject `iss` and `sub` of the token
 */
export function mapParties(
  claims: Claims,
  subject: { iss: string; sub: string },
  issuer: IssuerConfig,
): Parties | MappingFault {
  switch (issuer.mapping) {
    case 'act':
      return mapActor(claims, subject, issuer)
    case 'client':
      return mapClient(claims, subject, issuer)
    case 'claims':
      return mapNamedClaims(claims, subject, issuer)
    case 'self':
      return mapSelf(claims, subject, issuer)
    case 'kubernetes':
      return mapWorkload(kubernetesWorkload(claims, subject.sub, issuer.kubernetes!), claims, subject, issuer)
    case 'spiffe':
      return mapWorkload(spiffeWorkload(subject.sub, issuer.spiffe!), claims, subject, issuer)
  }
}

/** Mode `act`: human = (`iss`, `sub`), agent = (`act.iss`, `act.sub`). Never self-acting (DEL-03). */
function mapActor(
  claims: Claims,
  subject: { iss: string; sub: string },
  issuer: IssuerConfig,
): Parties | MappingFault {
  const chain = readActorChain(claims.get('act'), issuer.maxActorDepth)
  if (!Array.isArray(chain)) return fault(chain)
  const actor = chain[0]!
  if (actor.iss === subject.iss && actor.sub === subject.sub) return fault('actor_is_subject')
  if (issuer.requireSubProfile && (claims.get('sub_profile') !== 'user' || actor.profile !== 'ai_agent')) {
    return fault('sub_profile')
  }
  const actorChain = chain.map(({ iss, sub }) => ({ iss, sub }))
  return delegation(actorChain[0]!, subject, claims, issuer, actorChain)
}

/** Mode `client`: the OAuth client is the agent. An actor in the token is never ignored. */
function mapClient(
  claims: Claims,
  subject: { iss: string; sub: string },
  issuer: IssuerConfig,
): Parties | MappingFault {
  if (claims.has('act')) return fault('actor_unexpected')
  const client = claims.get('client_id') ?? claims.get('azp')
  if (client === undefined) return fault('actor_missing')
  if (!isIdentity(client)) return fault('bad_identifier')
  if (client === subject.sub) return fault('actor_is_subject')
  if (issuer.requireSubProfile && claims.get('sub_profile') !== 'user') return fault('sub_profile')
  return delegation({ iss: subject.iss, sub: client }, subject, claims, issuer, [])
}

/** Mode `claims`: both are named by claims of their own, whatever `sub` is. */
function mapNamedClaims(
  claims: Claims,
  subject: { iss: string; sub: string },
  issuer: IssuerConfig,
): Parties | MappingFault {
  if (claims.has('act')) return fault('actor_unexpected')
  const agent = claims.get(issuer.claims.agentId ?? 'agent_id')
  const user = claims.get(issuer.claims.userId ?? 'user_id')
  if (agent === undefined || user === undefined) return fault('missing_claim')
  if (!isTopicLevel(agent) || !isTopicLevel(user)) return fault('bad_identifier')
  if (agent === user) return fault('actor_is_subject')
  if (issuer.requireSubProfile && claims.get('sub_profile') !== 'user') return fault('sub_profile')
  return {
    ok: true,
    agent: { iss: subject.iss, sub: agent, id: agent },
    human: { iss: subject.iss, sub: user, id: user },
    delegated: true,
    actorChain: [],
  }
}

/** Mode `self`: the subject is the agent; the human is its registered owner, and without one there is no access. */
function mapSelf(
  claims: Claims,
  subject: { iss: string; sub: string },
  issuer: IssuerConfig,
): Parties | MappingFault {
  if (claims.has('act')) return fault('actor_unexpected')
  if (issuer.requireSubProfile && claims.get('sub_profile') !== 'ai_agent') return fault('sub_profile')
  const id = shortName(claims, issuer.claims.agentId, subject.sub)
  return typeof id === 'string' ? selfActing(id, subject, issuer) : id
}

/** Modes `kubernetes` and `spiffe`: the workload is the agent, under the name that the configuration gives it. */
function mapWorkload(
  workload: Workload,
  claims: Claims,
  subject: { iss: string; sub: string },
  issuer: IssuerConfig,
): Parties | MappingFault {
  if (claims.has('act')) return fault('actor_unexpected')
  if (!workload.ok) return workload
  const parties = selfActing(workload.agentId, subject, issuer)
  return parties.ok ? { ...parties, tenant: workload.tenant } : parties
}

function selfActing(
  id: string,
  subject: { iss: string; sub: string },
  issuer: IssuerConfig,
): Parties | MappingFault {
  if (!Object.hasOwn(issuer.owners, id)) return fault('no_owner')
  const owner = issuer.owners[id]
  if (!isTopicLevel(owner)) return fault('bad_identifier')
  return {
    ok: true,
    agent: { ...subject, id },
    human: { iss: subject.iss, sub: owner, id: owner },
    delegated: false,
    actorChain: [],
  }
}

function delegation(
  actor: { iss: string; sub: string },
  subject: { iss: string; sub: string },
  claims: Claims,
  issuer: IssuerConfig,
  actorChain: readonly { iss: string; sub: string }[],
): Parties | MappingFault {
  const agentId = shortName(claims, issuer.claims.agentId, actor.sub)
  if (typeof agentId !== 'string') return agentId
  const userId = shortName(claims, issuer.claims.userId, subject.sub)
  if (typeof userId !== 'string') return userId
  return {
    ok: true,
    agent: { ...actor, id: agentId },
    human: { ...subject, id: userId },
    delegated: true,
    actorChain,
  }
}

/**
 * The name used in topics: the configured claim, which must then be there; otherwise the identity itself, which must
 * then be one topic level (a SPIFFE URI is not). No other claim renames anybody.
 */
function shortName(claims: Claims, configured: string | undefined, identity: string): string | MappingFault {
  if (configured === undefined) return isTopicLevel(identity) ? identity : fault('bad_identifier')
  const value = claims.get(configured)
  if (value === undefined) return fault('missing_claim')
  return isTopicLevel(value) ? value : fault('bad_identifier')
}

/**
 * `act` inside `act`, outermost first. Inner actors decide nothing, but a chain that cannot be read whole is refused,
 * and so is one that is too deep: it is never cut (DEL-05).
 */
function readActorChain(act: unknown, maxDepth: number): Actor[] | AuthFailure {
  if (act === undefined) return 'actor_missing'
  const chain: Actor[] = []
  let next: unknown = act
  while (next !== undefined) {
    if (typeof next !== 'object' || next === null || Array.isArray(next)) return 'actor_malformed'
    const actor = new Map<string, unknown>(Object.entries(next))
    const iss = actor.get('iss')
    const sub = actor.get('sub')
    if (!isIdentity(iss) || !isIdentity(sub)) return 'actor_malformed'
    chain.push({ iss, sub, profile: actor.get('sub_profile') })
    if (chain.length > maxDepth) return 'actor_chain_too_deep'
    next = actor.get('act')
  }
  return chain
}

function fault(reason: AuthFailure): MappingFault {
  return { ok: false, reason }
}
