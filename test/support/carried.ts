// A session whose messages may carry tokens: a token is the text `human.x.y`, and is good unless told otherwise.
import type { Principal } from '../../src/identity/principal.ts'
import type { Renewed, SessionContext } from '../../src/session/context.ts'
import { prop } from './frames.ts'
import { type RigOptions, SessionRig } from './session-rig.ts'

/** What `human` may do, besides `ok/all`, is below `ok/{human}/`. */
export const CARRIED_POLICY = `
version: 1
agents: [{ id: agent, allow: publish+subscribe, topic: 'ok/#', retain: allowed, responseTopic: allowed }]
users:
  - { id: all, allow: publish+subscribe, topic: ok/all, retain: allowed, responseTopic: allowed }
  - { id: own, allow: publish+subscribe, topic: 'ok/{user_id}/#', retain: allowed, responseTopic: allowed }
`

export const carry = (token: string): Buffer => prop.userProperty('postern-token', token)
export const stamps = (human?: string, tenant?: string): Buffer[] => [
  prop.userProperty('postern-agent', 'scout'),
  ...(human === undefined ? [] : [prop.userProperty('postern-human', human)]),
  ...(tenant === undefined ? [] : [prop.userProperty('postern-tenant', tenant)]),
]

/** Revocations by human, in hand. */
export class Barred implements NonNullable<SessionContext['revocations']> {
  version = 0
  isBlind = false
  readonly #humans = new Set<string>()

  enter(_: unknown, principal: Principal): 'revoked' | 'events_silent' | undefined {
    return this.isBlind ? 'events_silent' : this.barOf(principal)
  }

  enterGrant(): 'events_silent' | undefined {
    return this.isBlind ? 'events_silent' : undefined
  }

  leave(): void {}

  bar(human: string): void {
    this.#humans.add(human)
    this.version++
  }

  barOf(principal: Principal): 'revoked' | undefined {
    return this.#humans.has(principal.human.id) ? 'revoked' : undefined
  }
}

export class CarriedRig extends SessionRig {
  /** Tokens verified, in order. */
  readonly verified: string[]

  constructor(options: RigOptions = {}, verdict?: (token: string, rig: SessionRig) => Renewed | undefined) {
    const verified: string[] = []
    super({
      policy: CARRIED_POLICY,
      ...options,
      config: { delegation: { property: 'postern-token' }, ...options.config },
      verifyCarried: (token, rig) => {
        verified.push(token)
        return verdict?.(token, rig) ?? { ok: true, principal: humanOf(token, rig) }
      },
    })
    this.verified = verified
  }

  /** Sends, and waits until what it carries is verified. */
  async send(...parts: Buffer[]): Promise<void> {
    this.fromClient(...parts)
    await this.settle()
  }
}

/** The principal of a carried token: the connection's agent for this human. */
export function humanOf(token: string, rig: SessionRig, changes: Partial<Principal> = {}): Principal {
  const id = token.split('.')[0]!
  const current = rig.session.principal!
  return {
    ...current,
    human: { iss: 'https://idp.test', sub: id, id },
    delegated: true,
    attributes: new Map([...current.attributes, ['user_id', [id]]]),
    tokenId: `jti-${token}`,
    tokenDigest: `digest-${token}`,
    txn: `txn-${id}`,
    ...changes,
  }
}
