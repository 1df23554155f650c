// Principals for tests that need no token: agent `scout` for `alice` of `org_a`, with changes.
import type { Principal } from '../../src/identity/principal.ts'
import { TEST_ISSUER } from './tokens.ts'

export interface PrincipalChanges
  extends Partial<
    Pick<
      Principal,
      'issuer' | 'tokenId' | 'tenant' | 'keyId' | 'confirmation' | 'oauthClientId' | 'issuedAtMs'
    >
  > {
  human?: string
  agent?: string
}

export function principalOf(changes: PrincipalChanges = {}): Principal {
  const { human = 'alice', agent = 'scout', issuer = TEST_ISSUER, ...rest } = changes
  return {
    agent: { iss: issuer, sub: agent, id: agent },
    human: { iss: issuer, sub: human, id: human },
    delegated: true,
    tenant: 'org_a',
    clientId: agent,
    attributes: new Map(),
    ceilings: [],
    issuer,
    tokenId: 't1',
    tokenDigest: '00',
    keyId: undefined,
    oauthClientId: undefined,
    issuedAtMs: 0,
    expiresAtMs: 900_000,
    endsAtMs: 900_000,
    actorChain: [],
    txn: undefined,
    ...rest,
  }
}
