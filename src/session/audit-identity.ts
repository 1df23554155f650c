// Who a session belongs to, as text: for its audit records, and to tell one owner of an MQTT session from another.

import type { AuditEvent, AuditIdentity } from '../audit/event.ts'
import type { Grant } from '../identity/grant-token.ts'
import type { Principal } from '../identity/principal.ts'
import type { SessionContext } from './context.ts'

/** Whose a session is: issuer, agent, human and tenant, as one text. */
export function ownerOf({ issuer, agent, human, tenant }: Principal): string {
  return JSON.stringify([
    issuer,
    agent.iss,
    agent.sub,
    agent.id,
    human.iss,
    human.sub,
    human.id,
    tenant ?? null,
  ])
}

/** The identity part of every record of the connection. */
export function identityOf(
  principal: Omit<Principal, 'clientId'>,
  pseudonym: SessionContext['pseudonym'] = (_, name) => name,
): AuditIdentity {
  const { agent, human, delegated, tenant, txn, actorChain } = principal
  return {
    agent: { iss: agent.iss, sub: agent.sub, id: agent.id },
    human: {
      iss: human.iss,
      sub: pseudonym(human.iss, human.sub),
      id: pseudonym(human.iss, human.id),
      via: delegated ? 'delegation' : 'owner',
    },
    ...(tenant === undefined ? {} : { tenant }),
    token: {
      iss: principal.issuer,
      jti: principal.tokenId,
      sha256: principal.tokenDigest,
      ...(principal.keyId === undefined ? {} : { kid: principal.keyId }),
      exp: new Date(principal.expiresAtMs).toISOString(),
    },
    ...(actorChain.length > 1 ? { actors: actorChain } : {}),
    ...(txn === undefined ? {} : { txn }),
  }
}

/** What a record says of a grant; of one that was refused, only what is known to be authentic. */
export function grantEvidence(
  grant: Grant | Pick<Grant, 'issuer' | 'tokenId'> | undefined,
  pseudonym: SessionContext['pseudonym'] = (_, name) => name,
): AuditEvent['grant'] {
  if (grant === undefined) return undefined
  const { issuer: iss, tokenId: jti } = grant
  if (!('approver' in grant)) return { iss, jti }
  const { approver, digest, action, filter, expiresAtMs } = grant
  return {
    iss,
    jti,
    sha256: digest,
    action,
    topic: filter.text,
    exp: new Date(expiresAtMs).toISOString(),
    approver: { iss: approver.iss, sub: pseudonym(approver.iss, approver.sub) },
  }
}
