// What all sessions of a process share: ports, settings, the policy in force, and the memory of MQTT sessions.

import type { AuditEvent, AuditSink, DigestPort } from '../audit/event.ts'
import type { Clock } from '../clock.ts'
import type { Config } from '../config/config.ts'
import type { Take } from '../grants/used-grants.ts'
import type { TlsEvidence } from '../identity/confirmation.ts'
import type { Grant, GrantAnswer } from '../identity/grant-token.ts'
import type { Principal } from '../identity/principal.ts'
import type { BindOptions, Policy } from '../policy/policy.ts'
import type { Logger } from '../telemetry/logger.ts'
import type { Tally } from '../telemetry/tally.ts'
import type { ConnectHead } from '../wire/heads.ts'
import type { Dial, Peer } from './ports.ts'
import type { SessionSlots } from './recorder.ts'
import type { Memory } from './session-memory.ts'
import type { WakeCoalescing } from './wake-coalescing.ts'

/** The policy in force. `epoch` grows with every change, so that a decision can be told to be of yesterday. */
export interface PolicyInForce {
  readonly policy: Policy
  readonly epoch: number
}

/** A verified CONNECT, or why it is refused. */
export type Admission =
  | {
      ok: true
      principal: Principal
      clientId: string
      /** The client sent an empty Client Identifier. */
      assigned: boolean
      /** Set when the token came in Authentication Data: the CONNACK must repeat it [MQTT-4.12.0-5]. */
      authenticationMethod: string | undefined
    }
  | {
      ok: false
      /** Stable name, precise: audit and metrics only. */
      reason: string
      detail: string | undefined
      reasonCode: number
      /** Coarse: for the peer (TOK-20). */
      reasonString: string
      /** Whose token it is, when the token was good and something else was not; for audit. */
      token?: Omit<Principal, 'clientId'> | undefined
    }

/** The token is good; its key is to be proved by the answer to `data`, which goes out in AUTH 0x18. */
export interface AdmissionChallenge {
  ok: 'challenge'
  authenticationMethod: string
  data: Buffer
  answer(proof: Buffer): Promise<Admission>
}

/** Verifies the credential in a CONNECT and binds the Client Identifier. Never rejects. */
export type Admit = (
  source: Buffer,
  connect: ConnectHead,
  peerAddress: string,
  tls: TlsEvidence | undefined,
  /** Name of the listener by which it came. */
  listener: string,
) => Promise<Admission | AdmissionChallenge>

/** A fresh token for a connection: the principal that takes over, or why not. */
export type Renewed =
  | { ok: true; principal: Principal }
  | {
      ok: false
      /** As for an Admission. */
      reason: string
      detail: string | undefined
    }

/** A fresh token is good; its key is to be proved by the answer to `data`, which goes out in AUTH 0x18. */
export interface RenewalChallenge {
  ok: 'challenge'
  data: Buffer
  answer(proof: Buffer): Promise<Renewed>
}

/**
 * Verifies a fresh token and that it is of the same bearer as `current`. Never rejects.
 *
 * @param data the token; by AUTH, Authentication Data
 * @param method by AUTH 0x19: its Authentication Method
 */
export type Renew = (
  data: Buffer,
  current: Principal,
  peerAddress: string,
  method?: string,
) => Promise<Renewed | RenewalChallenge>

/** The token that Postern holds for the agents of a listener, which bring none. */
export interface HeldToken {
  /** SHA-256 of the compact form, hex, as in a Principal; undefined: none that is good is at hand. */
  readonly digest: string | undefined
  /** Verifies it for a connection that exists. Never rejects. */
  renew(current: Principal): Promise<Renewed>
}

/** Verifies the token that a message carries, for a connection of `current`. Never rejects. */
export type VerifyCarried = (token: Buffer, current: Principal, peer: Peer) => Promise<Renewed>

export type Barred = 'revoked' | 'disabled' | 'events_silent' | 'store_unavailable'

/** Who is kept out, and who is to be found when that changes. Satisfied by revocation/revocations.ts. */
export interface Standing {
  /** Takes a connection in, or its renewed principal; or says why it is barred. */
  enter(who: { revoke(because?: AuditEvent['cause']): () => void }, principal: Principal): Barred | undefined
  /** As `enter`, for a just-in-time grant in the hands of a connection. */
  enterGrant(who: { revoke(because?: AuditEvent['cause']): () => void }, grant: Grant): Barred | undefined
  leave(who: { revoke(): () => void }): void
  /** Grows with every order. */
  readonly version: number
  /** Why a principal that was let in is barred now. */
  barOf(principal: Principal): Barred | undefined
}

/** Just-in-time grants: verified, and counted. Neither rejects. Satisfied by grants/grants.ts. */
export interface GrantDesk {
  /** Takes no use. */
  check(token: Buffer, bearer: Principal): Promise<GrantAnswer>
  take(grant: Grant): Promise<Take>
}

export interface SessionContext {
  readonly config: Config
  readonly clock: Clock
  readonly audit: AuditSink
  /** Of payloads and Correlation Data in records; undefined: none. */
  readonly digest: DigestPort | undefined
  /** Names a human in records; undefined: as in the token. */
  readonly pseudonym: ((issuer: string, name: string) => string) | undefined
  readonly tally: Tally
  readonly slots: SessionSlots
  readonly logger: Logger
  readonly admit: Admit
  readonly renew: Renew
  /** By name of a listener; undefined: its agents bring their own credential. */
  heldToken(listener: string): HeldToken | undefined
  readonly verifyCarried: VerifyCarried
  readonly revocations: Standing
  /** Topic Name on which agents hand in fresh tokens; never forwarded. undefined: none. */
  readonly tokenTopic: Buffer | undefined
  /** undefined: no grants are taken. */
  readonly grants: GrantDesk | undefined
  /** Topic Name on which agents hand in grants; never forwarded. undefined: none. */
  readonly grantTopic: Buffer | undefined
  readonly dial: Dial
  readonly memory: Memory
  /** By issuer of the token and name of the listener. */
  bindOptionsOf(issuer: string, listener: string): BindOptions
  policyInForce: PolicyInForce
  /** true while the process drains: new CONNECTs are refused. */
  draining: boolean
  /** How many connections there are, or how many of them have not finished CONNECT, has changed. */
  counted?(): void
  observeDecisions(seconds: number, count: number): void
  readonly wakes: WakeCoalescing
}
