// The User Properties of a PUBLISH that are Postern's business: the token and the grant that it carries, which are taken
// out, and the names of who it is from, which Postern alone may set. MQTT 5.0 §3.3.2.3.7.

import type { AuditIdentity } from '../audit/event.ts'
import type { Principal } from '../identity/principal.ts'
import type { PacketReader } from '../wire/packet-reader.ts'
import type { NamedProperties } from '../wire/user-properties.ts'
import type { Waiter } from './agent-input.ts'
import { CarriedTokens } from './carried-tokens.ts'
import type { MessageRights } from './message-rights.ts'
import type { Session } from './session.ts'
import { stampsOf, type Taken, takenBy } from './stamps.ts'

export class MessageProperties {
  /** After a `read`: what the message is judged by in place of the connection's rights. */
  rights: MessageRights | undefined
  /** After a `read`: why the message is refused. */
  refusal: string | undefined
  /** After a `read`: whose token it carries, if that is authentic. */
  identity: AuditIdentity | undefined
  /** After a `read`: properties that are left out of the message; undefined: none. */
  without: NamedProperties | undefined
  /** After a `read`: properties that the message gets; undefined: none. */
  added: Buffer | undefined
  readonly #session: Session
  /** After a `read`: how many just-in-time grants it carries. */
  grants = 0
  /** After a `read` that found one: where in the source it is. */
  readonly grant: [start: number, end: number] = [0, 0]
  readonly #taken: Taken | undefined
  readonly #tokens: CarriedTokens | undefined
  readonly #stampsAll: boolean
  #stamped: Principal | undefined
  #stamps: Buffer | undefined

  /** @param waiter told when a message can be judged */
  constructor(session: Session, waiter: Waiter) {
    const { config } = session.context
    const { delegation } = config
    this.#session = session
    this.#stampsAll = delegation.stamp
    this.#taken = takenBy(config)
    if (delegation.property !== undefined) this.#tokens = new CarriedTokens(session, waiter)
  }

  /**
   * Looks at the PUBLISH whose head `reader` has just read.
   *
   * @returns false: it cannot be judged yet, and the waiter will be told
   */
  read(reader: PacketReader, nowMs: number): boolean {
    this.rights = undefined
    this.refusal = undefined
    this.identity = undefined
    this.without = undefined
    this.grants = 0
    const taken = this.#taken
    if (taken === undefined) return true
    const { properties: named, token, grant } = taken
    const { source, publish } = reader
    named.find(source, publish.propertiesStart, publish.propertiesEnd)
    if (named.count > 0) this.without = named
    if (grant >= 0 && named.countOf(grant) > 0) {
      this.grants = named.countOf(grant)
      this.grant[0] = named.startOf(grant)
      this.grant[1] = named.endOf(grant)
    }
    const tokens = this.#tokens
    if (tokens !== undefined && named.countOf(token) > 0) {
      if (named.countOf(token) > 1) this.refusal = 'two_tokens'
      else {
        if (!tokens.read(source, named.startOf(token), named.endOf(token), nowMs)) return false
        this.rights = tokens.rights
        this.refusal = tokens.refusal
        this.identity = tokens.identity
      }
    }
    this.added =
      this.rights !== undefined ? this.rights.stamps : this.#stampsAll ? this.#connectionStamps() : undefined
    return true
  }

  /** The connection has ended. */
  close(): void {
    this.#tokens?.close()
  }

  /** Names who the connection belongs to. */
  #connectionStamps(): Buffer {
    const principal = this.#session.principal!
    if (this.#stamped !== principal) {
      this.#stamped = principal
      this.#stamps = stampsOf(principal, this.#session.context.config.delegation)
    }
    return this.#stamps!
  }
}
