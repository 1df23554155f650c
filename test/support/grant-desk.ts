// Just-in-time grants by name, for sessions: the "token" is the name. Counts uses as every store must.
import type { Take } from '../../src/grants/used-grants.ts'
import type { Grant, GrantAnswer } from '../../src/identity/grant-token.ts'
import type { Principal } from '../../src/identity/principal.ts'
import { compileFilter, type TopicFilter } from '../../src/policy/topic-filter.ts'
import type { GrantDesk } from '../../src/session/context.ts'
import { type RigOptions, SessionRig } from './session-rig.ts'

export const GRANT_POLICY = `
version: 1
agents:
  - { id: pay, allow: publish+subscribe, topic: pay/#, requiresGrant: true, retain: allowed, shareGroups: any }
  - { id: free, allow: publish+subscribe, topic: free/# }
users:
  - { id: own, allow: publish+subscribe, topic: pay/u1/#, retain: allowed, shareGroups: any }
  - { id: free-u, allow: publish+subscribe, topic: free/# }
`
const GRANTS = { file: 'grants.jsonl', issuers: [{ issuer: 'https://idp.test', audience: 'x' }] }

export class Desk implements GrantDesk {
  readonly uses = new Map<string, number>()
  readonly known = new Map<string, GrantAnswer>()
  /** How often a token was verified. */
  checks = 0
  next: Take | undefined

  put(name: string, grant: Partial<Omit<Grant, 'filter'>> & { topic: string }, expiresAtMs: number): this {
    const { topic, ...rest } = grant
    const made: Grant = {
      issuer: 'https://idp.test',
      tokenId: name,
      keyId: 'k',
      key: name,
      digest: '00',
      human: { iss: 'https://idp.test', sub: 'u1' },
      agent: { iss: 'https://idp.test', sub: 'scout' },
      action: 'publish',
      filter: compileFilter(topic) as TopicFilter,
      maxUses: 1,
      payloadSha256: undefined,
      approver: { iss: 'https://idp.test', sub: 'boss' },
      issuedAtMs: 0,
      expiresAtMs,
      ...rest,
    }
    this.known.set(name, { ok: true, grant: made })
    return this
  }

  /** For whom grants were verified. */
  readonly bearers: string[] = []

  async check(token: Buffer, bearer: Principal): Promise<GrantAnswer> {
    this.checks++
    this.bearers.push(bearer.human.sub)
    return this.known.get(token.toString()) ?? { ok: false, reason: 'malformed_token' }
  }

  async take({ key, maxUses }: Grant): Promise<Take> {
    if (this.next !== undefined) return this.next
    const used = this.uses.get(key) ?? 0
    if (used >= maxUses) return 'spent'
    this.uses.set(key, used + 1)
    return 'taken'
  }
}

/** A session under `GRANT_POLICY` that takes the grants of this desk. */
export async function sessionWith(desk: Desk, options: RigOptions = {}): Promise<SessionRig> {
  const { config, ...rest } = options
  const { grants, ...sections } = config ?? {}
  const it = new SessionRig({
    policy: GRANT_POLICY,
    grants: desk,
    config: { grants: { ...GRANTS, ...(grants as object) }, ...sections },
    ...rest,
  })
  return it.connect()
}
