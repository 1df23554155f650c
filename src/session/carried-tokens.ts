// Tokens that single messages carry: each is verified once, and then known by its bytes. A message with one that is not
// known waits, and with it all that the agent sends behind it. Bounded, per connection; what is known of a token is never
// an answer by itself, see message-rights.ts.
//
// Hot path: `read` runs for each PUBLISH whose head is not known.

import type { AuditIdentity } from '../audit/event.ts'
import type { Waiter } from './agent-input.ts'
import type { Renewed } from './context.ts'
import { MessageRights } from './message-rights.ts'
import type { Session } from './session.ts'

/** A refused token is not verified again within this, milliseconds: the cause may pass, such as keys that cannot be had. */
const REFUSED_FOR_MS = 1000
/** Bytes of a token that its place in the table is made of. */
const SAMPLES = 32

interface Entry {
  token: Buffer
  /** undefined: refused. */
  rights: MessageRights | undefined
  /** Whose it is, if it is authentic. */
  identity: AuditIdentity | undefined
  refusal: string
  /** Refused: until then. */
  untilMs: number
}

export class CarriedTokens {
  /** After a `read` that knows: what the message is judged by; undefined: the token is refused. */
  rights: MessageRights | undefined
  refusal: string | undefined
  /** After a `read`: whose token it is, if it is authentic. */
  identity: AuditIdentity | undefined
  readonly #session: Session
  readonly #most: number
  readonly #waiter: Waiter
  /** By a digest of some of their bytes; of two with the same one the later stays. Oldest first. */
  readonly #entries = new Map<number, Entry>()

  /** @param waiter told when a message can be judged */
  constructor(session: Session, waiter: Waiter) {
    this.#session = session
    this.#most = session.context.config.delegation.tokens
    this.#waiter = waiter
  }

  /**
   * Looks for the token in `source[start, end)`.
   *
   * @returns false: it is being verified, and the waiter will be told
   */
  read(source: Buffer, start: number, end: number, nowMs: number): boolean {
    this.rights = undefined
    this.identity = undefined
    const session = this.#session
    if (end - start > session.context.config.token.maxBytes) return this.#refuse('token_too_large')
    if (end === start) return this.#refuse('malformed_token')
    const key = placeOf(source, start, end)
    const entry = this.#entries.get(key)
    if (
      entry === undefined ||
      entry.token.length !== end - start ||
      entry.token.compare(source, start, end) !== 0 ||
      (entry.rights === undefined && nowMs >= entry.untilMs)
    ) {
      this.#verify(key, Buffer.from(source.subarray(start, end)))
      return false
    }
    this.identity = entry.identity
    if (entry.rights === undefined) return this.#refuse(entry.refusal)
    entry.rights.used = true
    const refusal = entry.rights.refusalAt(session, nowMs)
    if (refusal !== undefined) return this.#refuse(refusal)
    this.rights = entry.rights
    this.refusal = undefined
    return true
  }

  #refuse(why: string): true {
    this.refusal = why
    return true
  }

  #verify(key: number, token: Buffer): void {
    const session = this.#session
    const { context, principal, towardsClient } = session
    context
      .verifyCarried(token, principal!, towardsClient.peer)
      .then((verified) => {
        if (!session.relaying) return
        this.#learn(key, token, verified)
        this.#waiter.proceed()
      })
      .catch((error: unknown) => session.onPanic(error))
  }

  #learn(key: number, token: Buffer, verified: Renewed): void {
    const session = this.#session
    const { revocations, clock } = session.context
    const rights = verified.ok ? new MessageRights(session, verified.principal) : undefined
    // From here on a revocation finds it: there is no moment between the two (REV-18).
    const refusal = verified.ok ? revocations.enter(rights!, verified.principal) : verified.reason
    session.recorder.carried(refusal ?? 'ok')
    this.#forget(key)
    if (this.#entries.size >= this.#most) this.#forgetOne()
    this.#entries.set(key, {
      token,
      rights: refusal === undefined ? rights : undefined,
      identity: rights?.identity,
      refusal: refusal ?? '',
      untilMs: clock.now() + REFUSED_FOR_MS,
    })
  }

  /** The oldest that was not used since it was last spared. */
  #forgetOne(): void {
    for (const [key, entry] of this.#entries) {
      if (entry.rights?.used !== true) return this.#forget(key)
      entry.rights.used = false
      this.#entries.delete(key)
      this.#entries.set(key, entry)
    }
  }

  #forget(key: number): void {
    const rights = this.#entries.get(key)?.rights
    if (rights !== undefined) {
      rights.forgotten = true
      this.#session.context.revocations.leave(rights)
    }
    this.#entries.delete(key)
  }

  /** The connection has ended. */
  close(): void {
    for (const key of [...this.#entries.keys()]) this.#forget(key)
  }
}

/** The bytes are taken from all over the token: those of one issuer begin alike. */
function placeOf(source: Buffer, start: number, end: number): number {
  const step = Math.max(1, Math.floor((end - start) / SAMPLES))
  let hash = end - start
  for (let at = end - 1; at >= start; at -= step) hash = (Math.imul(hash, 31) + source[at]!) | 0
  return hash
}
