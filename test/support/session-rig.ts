// One Session with everything around it in memory: two peers, a fake clock, a recording audit log, a real policy. The
// token check alone is a stub.
import { hash } from 'node:crypto'
import { payloadDigest } from '../../src/audit/digest.ts'
import type { AuditEvent } from '../../src/audit/event.ts'
import type { Config } from '../../src/config/config.ts'
import { loadConfig } from '../../src/config/load.ts'
import { AUTH_FAILURES } from '../../src/identity/auth-failure.ts'
import { GRANT_FAULTS } from '../../src/identity/grant-token.ts'
import type { Principal } from '../../src/identity/principal.ts'
import { loadPolicy } from '../../src/policy/document.ts'
import type { Policy } from '../../src/policy/policy.ts'
import type { HeldToken, RenewalChallenge, Renewed, SessionContext } from '../../src/session/context.ts'
import {
  CARRIED_REFUSALS,
  CONNECT_REFUSALS,
  END_CAUSES,
  GRANT_REFUSALS,
  OUTCOME_NAMES,
  RENEWAL_REFUSALS,
  SESSION_FAULTS,
} from '../../src/session/outcome.ts'
import type { PeerEvents } from '../../src/session/ports.ts'
import { SHADOWED_ROWS } from '../../src/session/recorder.ts'
import { Session } from '../../src/session/session.ts'
import { SessionMemory } from '../../src/session/session-memory.ts'
import { slotsIn as slotsFrom } from '../../src/session/slots.ts'
import { type EventLoop, WakeCoalescing } from '../../src/session/wake-coalescing.ts'
import { declareCatalogue } from '../../src/telemetry/catalogue.ts'
import { Tally } from '../../src/telemetry/tally.ts'
import { FAULTS } from '../../src/wire/fault.ts'
import { FakeClock } from './fake-clock.ts'
import { type ConnackOptions, type ConnectOptions, connack, connect } from './frames.ts'
import { MemoryPeer } from './memory-peer.ts'
import { RecordingAudit } from './recording-audit.ts'

/** Everything below `ok/` is allowed, at every QoS; nothing else is. */
export const OK_POLICY = `
version: 1
agents: [{ id: agent-ok, allow: publish+subscribe, topic: ok/#, retain: allowed, shareGroups: any }]
users: [{ id: user-ok, allow: publish+subscribe, topic: ok/#, retain: allowed, shareGroups: any }]
`

const NO_LOOP: EventLoop = { afterTurn: () => {}, rest: () => {} }
const NO_WAKES = new WakeCoalescing(NO_LOOP, 0, () => {})

const NO_REVOCATIONS: SessionContext['revocations'] = {
  enter: () => undefined,
  enterGrant: () => undefined,
  leave: () => {},
  barOf: () => undefined,
  version: 0,
}

const policies = new Map<string, Policy>()
const configs = new Map<string, Config>()

export function policyFrom(text: string): Policy {
  let policy = policies.get(text)
  if (policy === undefined) {
    const loaded = loadPolicy(text, 'policy.yaml', (canonical) => hash('sha256', canonical))
    if ('problems' in loaded)
      throw new Error(loaded.problems.map((p) => `${p.line}: ${p.message}`).join('\n'))
    policy = loaded.policy
    policies.set(text, policy)
  }
  return policy
}

export interface RigOptions {
  policy?: string
  /** Sections of the configuration file. */
  config?: Record<string, unknown>
  clock?: FakeClock
  /** Token lifetime, milliseconds. */
  lifetimeMs?: number
  delegated?: boolean
  /** Whose session it is, beyond the agent `scout`. */
  bearer?: Partial<Pick<Principal, 'human' | 'tenant' | 'issuer'>>
  memory?: SessionMemory
  audit?: RecordingAudit
  /** The token came in Authentication Data of this method. */
  authenticationMethod?: string
  revocations?: SessionContext['revocations']
  wakes?: WakeCoalescing
  grants?: SessionContext['grants']
  /** What becomes of a fresh token; default: it is refused. */
  renew?: (token: string, rig: SessionRig) => Renewed | RenewalChallenge | Promise<Renewed | RenewalChallenge>
  /** What becomes of a token that a message carries; default: it is refused. */
  verifyCarried?: (token: string, rig: SessionRig) => Renewed | Promise<Renewed>
  /** What Postern holds for agents that bring no credential; default: they bring their own. */
  heldToken?: (rig: SessionRig) => HeldToken
  /** Runs between a good token and the connection to the broker; may throw as a failed connection does. */
  beforeDial?: (rig: SessionRig) => void
}

export class SessionRig {
  readonly clock: FakeClock
  readonly audit: RecordingAudit
  readonly client: MemoryPeer
  /** Exists once the session has dialed. */
  server: MemoryPeer | undefined
  readonly session: Session
  readonly context: SessionContext
  readonly log: string[] = []
  ended = false

  constructor(options: RigOptions = {}) {
    this.clock = options.clock ?? new FakeClock()
    this.audit = options.audit ?? new RecordingAudit()
    this.client = new MemoryPeer('agent', () => this.session)
    this.context = this.#makeContext(options)
    this.session = new Session(this.context, this.client, { id: 'c1', listener: 'agents' }, () => {
      this.ended = true
    })
  }

  /** Lets pending promises run. */
  async settle(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve))
  }

  /** Up to the CONNACK; what both sides got until then is forgotten. */
  async connect(options: ConnectOptions = {}, answer: ConnackOptions = {}): Promise<this> {
    this.fromClient(connect({ password: 'a.b.c', ...options }))
    await this.settle()
    this.fromServer(connack(answer))
    await this.settle()
    this.forget()
    return this
  }

  fromClient(...parts: Buffer[]): void {
    this.session.onBytes(Buffer.concat(parts))
  }

  fromServer(...parts: Buffer[]): void {
    this.session.onServerBytes(Buffer.concat(parts))
  }

  get toClient(): Buffer {
    return this.client.bytes
  }

  get toServer(): Buffer {
    return this.server?.bytes ?? Buffer.alloc(0)
  }

  forget(): void {
    this.client.writes.length = 0
    if (this.server !== undefined) this.server.writes.length = 0
    this.audit.events.length = 0
  }

  /** Puts a policy in force, as the registry does. */
  usePolicy(text: string): void {
    const { policyInForce } = this.context
    this.context.policyInForce = { policy: policyFrom(text), epoch: policyInForce.epoch + 1 }
    this.session.refreshRights()
  }

  /** `action reason effect` of the records so far. */
  get decisions(): string[] {
    return this.audit.events.map(({ action, reason, effect }) => `${action} ${reason} ${effect}`)
  }

  event(action: AuditEvent['action']): AuditEvent | undefined {
    return this.audit.events.findLast((event) => event.action === action)
  }

  #makeContext(options: RigOptions): SessionContext {
    const config = configFrom(options.config)
    const tally = new Tally()
    const log = (fields: object, message: string): void => {
      const fault = 'err' in fields ? `: ${(fields.err as Error).stack}` : ''
      this.log.push(`${message}${fault}`)
    }
    const logger = { debug: log, info: log, warn: log, error: log, child: () => logger }
    return {
      config,
      clock: this.clock,
      audit: this.audit,
      digest: payloadDigest(undefined),
      pseudonym: undefined,
      tally,
      slots: slotsIn(tally),
      logger,
      heldToken: () => options.heldToken?.(this),
      admit: async () => ({
        ok: true,
        principal: {
          ...principal(this.clock.now() + (options.lifetimeMs ?? 600_000), options.delegated ?? true),
          ...options.bearer,
        },
        clientId: 'scout',
        assigned: false,
        authenticationMethod: options.authenticationMethod,
      }),
      renew: async (token) =>
        options.renew?.(token.toString(), this) ?? { ok: false, reason: 'expired', detail: undefined },
      verifyCarried: async (token) =>
        options.verifyCarried?.(token.toString(), this) ?? {
          ok: false,
          reason: 'expired',
          detail: undefined,
        },
      tokenTopic: config.token.topic === undefined ? undefined : Buffer.from(config.token.topic),
      grants: options.grants,
      grantTopic: options.grants === undefined ? undefined : Buffer.from('$postern/grant'),
      dial: async (events: PeerEvents) => {
        options.beforeDial?.(this)
        this.server = new MemoryPeer('broker', () => events)
        return this.server
      },
      revocations: options.revocations ?? NO_REVOCATIONS,
      memory: options.memory ?? new SessionMemory(this.clock, 100),
      bindOptionsOf: () => ({
        userLayer: config.policy.userLayer,
        missingCeiling: 'none',
        qosAboveLimit: config.denial.qosAboveLimit,
        overlappingDeny: config.denial.overlappingDeny,
        shadow: config.listeners[0]!.mode === 'shadow',
      }),
      policyInForce: { policy: policyFrom(options.policy ?? OK_POLICY), epoch: 1 },
      draining: false,
      observeDecisions: () => {},
      wakes: options.wakes ?? NO_WAKES,
    }
  }
}

function configFrom(sections: Record<string, unknown> = {}): Config {
  const text = JSON.stringify({
    listeners: [{ address: '127.0.0.1:0' }],
    upstream: { address: '127.0.0.1:1883' },
    issuers: [{ issuer: 'https://idp.test', audience: 'x', jwks: { file: 'jwks.json' } }],
    policy: { file: 'policy.yaml' },
    audit: { file: 'audit.jsonl' },
    ...sections,
  })
  let config = configs.get(text)
  if (config === undefined) {
    const loaded = loadConfig(text, '/postern.json', {})
    if ('problems' in loaded)
      throw new Error(loaded.problems.map((p) => `${p.path}: ${p.message}`).join('\n'))
    config = loaded.config
    configs.set(text, config)
  }
  return config
}

function slotsIn(tally: Tally): SessionContext['slots'] {
  const c = declareCatalogue(tally, {
    verdicts: OUTCOME_NAMES,
    shadowed: SHADOWED_ROWS,
    authFailures: [...AUTH_FAILURES, ...Object.keys(CONNECT_REFUSALS)],
    renewalFailures: [...AUTH_FAILURES, ...RENEWAL_REFUSALS],
    grantFailures: [...GRANT_FAULTS, ...GRANT_REFUSALS],
    carriedFailures: [...AUTH_FAILURES, ...CARRIED_REFUSALS],
    revocationSources: [],
    securityEvents: [],
    eventStreams: [],
    faults: [...FAULTS, ...SESSION_FAULTS].map((fault) => fault.name),
    endCauses: Object.keys(END_CAUSES),
    hasStore: false,
    issuers: [],
    brokeredListeners: [],
  })
  return slotsFrom(c)
}

function principal(endsAtMs: number, delegated: boolean): Principal {
  const agent = { iss: 'https://idp.test', sub: 'scout', id: 'scout' }
  const human = { iss: 'https://idp.test', sub: 'u1', id: 'u1' }
  return {
    agent,
    human,
    delegated,
    tenant: undefined,
    clientId: 'scout',
    attributes: new Map([
      ['agent_id', ['scout']],
      ['user_id', ['u1']],
      ['client_id', ['scout']],
    ]),
    ceilings: [],
    issuer: 'https://idp.test',
    tokenId: 't1',
    tokenDigest: '00',
    keyId: undefined,
    oauthClientId: undefined,
    issuedAtMs: 0,
    expiresAtMs: endsAtMs,
    endsAtMs,
    actorChain: [],
    txn: undefined,
  }
}
