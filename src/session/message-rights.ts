// What an agent may do in single messages for one human: the rights that the token in the message gives, as if the agent
// had connected with it. What they are is looked at for each message; nothing of yesterday's policy, token or
// revocations is ever applied.

import type { AuditIdentity } from '../audit/event.ts'
import type { Principal } from '../identity/principal.ts'
import type { Acl } from '../policy/acl.ts'
import { identityOf } from './audit-identity.ts'
import type { Barred } from './context.ts'
import type { Session } from './session.ts'
import { stampsOf } from './stamps.ts'

export class MessageRights {
  readonly principal: Principal
  readonly identity: AuditIdentity
  /** User Properties that name agent, human and tenant. */
  readonly stamps: Buffer
  /** A message came with them since this was last cleared. */
  used = false
  /** The token is not among the known ones any more. */
  forgotten = false
  #acl: Acl | undefined
  /** `Rights.serial` of the connection for which `#acl` was made. */
  #serial = -1
  /** Revocations under which `#bar` was found. */
  #version = -1
  #bar: Barred | undefined

  constructor(session: Session, principal: Principal) {
    this.principal = principal
    this.identity = identityOf(principal, session.context.pseudonym)
    this.stamps = stampsOf(principal, session.context.config.delegation)
  }

  /** Why they are not in force at this moment; undefined: they are, and `acl` is that of now. Hot path. */
  refusalAt(session: Session, nowMs: number): 'expired' | Barred | undefined {
    const { principal } = this
    if (nowMs >= principal.endsAtMs) return 'expired'
    const { revocations } = session.context
    if (this.#version !== revocations.version) {
      this.#version = revocations.version
      this.#bar = revocations.barOf(principal)
    }
    if (this.#bar !== undefined) return this.#bar
    if (this.#serial !== session.rights) this.#bind(session)
    return undefined
  }

  /** After a `refusalAt` that found nothing. */
  get acl(): Acl {
    return this.#acl!
  }

  /** Whether a message that was allowed by them before may pass again. Hot path. */
  mayPass(session: Session, nowMs: number): boolean {
    this.used = true
    return !this.forgotten && this.refusalAt(session, nowMs) === undefined
  }

  /** Of a revocation that meets the token: the next `refusalAt` finds it. */
  revoke(): () => void {
    return () => {}
  }

  #bind(session: Session): void {
    const { context, recorder } = session
    const options = context.bindOptionsOf(this.principal.issuer, recorder.listener)
    this.#acl = context.policyInForce.policy.bind(this.principal, options)
    this.#serial = session.rights
  }
}
