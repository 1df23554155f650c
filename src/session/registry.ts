// All sessions of the process: connection limits, changes of policy, and the drain.

import type { Policy } from '../policy/policy.ts'
import type { SessionContext } from './context.ts'
import type { Peer } from './ports.ts'
import { Roll } from './roll.ts'
import { Session } from './session.ts'

/** Sessions re-judged between two turns of the event loop after a change of policy. */
const SWEEP_BATCH = 50

/** Connections that other processes hold. */
export interface Elsewhere {
  connections: number
  /** Of these, those that have not finished CONNECT. */
  unauthenticated: number
}

export class SessionRegistry {
  readonly #context: SessionContext
  readonly #sessions = new Roll<Session>()
  readonly #onEnd = (session: Session): void => this.#ended(session)
  /** As last told. */
  elsewhere: Elsewhere = { connections: 0, unauthenticated: 0 }
  /** Connections of which there is no session yet. */
  #reserved = 0
  #onEmpty: (() => void) | undefined

  constructor(context: SessionContext) {
    this.#context = context
  }

  get size(): number {
    return this.#sessions.size
  }

  /** Connections that the broker has not accepted yet. */
  get unauthenticated(): number {
    return this.#context.tally.get(this.#context.slots.connections) + this.#reserved
  }

  /** Those that it has accepted. */
  get established(): number {
    return this.#context.tally.get(this.#context.slots.connections + 1)
  }

  /**
   * A place among the unauthenticated for a connection that is no session yet: its TLS handshake, or the header of its
   * load balancer, is waited for.
   *
   * @returns gives the place back, once; undefined: there is none
   */
  reserve(): (() => void) | undefined {
    if (this.#isFull) return undefined
    this.#reserved++
    this.#context.wakes.stayAwake(this.#context.clock.monotonic())
    this.#context.counted?.()
    let isHeld = true
    return () => {
      if (!isHeld) return
      isHeld = false
      this.#reserved--
      this.#context.counted?.()
    }
  }

  get #isFull(): boolean {
    const { draining, config } = this.#context
    return (
      draining ||
      this.#sessions.size + this.elsewhere.connections >= config.limits.connections ||
      this.unauthenticated + this.elsewhere.unauthenticated >= config.limits.unauthenticated
    )
  }

  /** A session for an accepted connection, or undefined: a limit is reached, and the connection is closed. */
  open(client: Peer, connection: { id: string; listener: string }): Session | undefined {
    this.#context.wakes.stayAwake(this.#context.clock.monotonic())
    const full = this.#isFull
    const session = new Session(this.#context, client, connection, this.#onEnd)
    if (full) {
      session.turnAway()
      return undefined
    }
    this.#sessions.add(session)
    this.#context.tally.add(this.#context.slots.connections)
    this.#context.counted?.()
    return session
  }

  /**
   * Puts a policy in force. From this call on no packet is judged by the former one; subscriptions that were lost
   * are taken away in batches, so that ten thousand sessions do not hold up the others.
   */
  usePolicy(policy: Policy): void {
    const context = this.#context
    context.policyInForce = { policy, epoch: context.policyInForce.epoch + 1 }
    const waiting = this.#sessions.all
    const sweep = (): void => {
      for (const session of waiting.splice(0, SWEEP_BATCH)) session.refreshRights()
      if (waiting.length > 0) setImmediate(sweep)
    }
    sweep()
  }

  /** Renews the sessions of a listener whose agents bring no credential, by the token that is now held for them. */
  renewHeld(listener: string): void {
    for (const session of this.#sessions.all)
      if (session.recorder.listener === listener) session.renewal.takeHeld()
  }

  /**
   * Ends every session, spread evenly over `withinMs` so that the agents do not come back all at once.
   *
   * @returns when the last one has ended
   */
  drain(withinMs: number): Promise<void> {
    this.#context.draining = true
    const sessions = this.#sessions.all
    const { clock } = this.#context
    sessions.forEach((session, i) => {
      clock.after((withinMs * i) / sessions.length, () => session.shutDown())
    })
    return new Promise((resolve) => {
      if (this.#sessions.size === 0) return resolve()
      this.#onEmpty = resolve
    })
  }

  #ended(session: Session): void {
    if (!this.#sessions.remove(session)) return
    const { tally, slots } = this.#context
    tally.add(session.wasEstablished ? slots.connections + 1 : slots.connections, -1)
    this.#context.counted?.()
    if (this.#sessions.size === 0) this.#onEmpty?.()
  }
}
