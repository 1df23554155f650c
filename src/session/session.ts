// One agent's connection: its life from accept to close. The relays enforce; this file holds what they share, the
// timers, and the one way to end.

import type { AuditEvent } from '../audit/event.ts'
import type { Timer } from '../clock.ts'
import type { Principal } from '../identity/principal.ts'
import type { Acl } from '../policy/acl.ts'
import { PacketType } from '../wire/control-packet.ts'
import type { PacketReader } from '../wire/packet-reader.ts'
import { ReasonCode } from '../wire/reason-code.ts'
import { disconnect } from '../wire/reply.ts'
import { identityOf } from './audit-identity.ts'
import type { SessionContext } from './context.ts'
import { hex } from './effect.ts'
import { disconnectOf, type EndOptions, endServer, farewellOf, stuckPeers } from './farewell.ts'
import { Handshake } from './handshake.ts'
import { KeepAlive } from './keep-alive.ts'
import { Outbox } from './outbox.ts'
import { ALL_FAULTS, END_CAUSES, type EndCause, faultOf, Outcome, type SessionFault } from './outcome.ts'
import { PacketIds } from './packet-ids.ts'
import { NOWHERE, type Peer, type PeerEvents } from './ports.ts'
import { Pump } from './pump.ts'
import { Recorder } from './recorder.ts'
import { Renewal } from './renewal.ts'
import { Rights } from './rights.ts'
import { SessionGrants } from './session-grants.ts'
import { SessionState } from './session-memory.ts'
import { State } from './state.ts'
import { Subscriptions } from './subscriptions.ts'

/** After this a side that does not take its last bytes, or does not close in its turn, is cut. */
const LINGER_MS = 2_000
const NOTHING = (): void => {}

export class Session implements PeerEvents {
  readonly context: SessionContext
  place = -1
  readonly recorder: Recorder
  readonly towardsClient: Outbox
  readonly packetIds = new PacketIds()
  readonly subscriptions = new Subscriptions(this)
  readonly keepAlive = new KeepAlive()
  readonly renewal = new Renewal(this)
  readonly grants = new SessionGrants(this)
  readonly standing: Rights
  memory = new SessionState()
  /** Seconds; in force when the connection ends. */
  sessionExpiryInterval = 0
  authenticationMethod: string | undefined
  wasEstablished = false
  forcedFresh = false
  serverMaximumPacketSize = Number.POSITIVE_INFINITY

  readonly #handshake: Handshake
  readonly #onEnd: (session: Session) => void
  readonly #pump: Pump
  #state: State = State.AWAIT_CONNECT
  #server = new Outbox(NOWHERE)
  #clientId = ''
  /** Set when the agent sends no more, to the cause of the end that is to come. */
  #leaving: 'client_disconnected' | 'client_closed' | undefined
  #leaveTimer: Timer | undefined
  #linger: Timer | undefined
  /** Sides whose connection is gone, or never was. */
  readonly #gone = { client: false, server: true }

  /** @param onEnd called once, when the session is closed */
  constructor(
    context: SessionContext,
    client: Peer,
    connection: { id: string; listener: string },
    onEnd: (session: Session) => void,
  ) {
    this.context = context
    this.standing = new Rights(context, connection.listener, this.grants.openFilters, () =>
      this.end('expired'),
    )
    this.#onEnd = onEnd
    // Not at once: whoever answers is in the middle of a chunk.
    this.towardsClient = new Outbox(client, () => queueMicrotask(() => this.end('answer_too_large')))
    this.recorder = new Recorder(
      context.audit,
      context.tally,
      context.slots,
      context.digest,
      context.pseudonym,
      {
        ...connection,
        peer: client.name,
      },
    )
    this.#pump = new Pump(this)
    this.#handshake = new Handshake(this)
  }

  get state(): State {
    return this.#state
  }
  get relaying(): boolean {
    return this.#state === State.RELAYING
  }
  /** The agent's packets are still read. */
  get receiving(): boolean {
    return this.#state === State.RELAYING && this.#leaving === undefined
  }
  get acl(): Acl {
    return this.standing.acl!
  }
  get principal(): Principal | undefined {
    return this.standing.principal
  }
  get rights(): number {
    return this.standing.serial
  }
  get clientId(): string {
    return this.#clientId
  }
  get towardsServer(): Outbox {
    return this.#server
  }
  get clientReader(): PacketReader {
    return this.#pump.clientToServer.reader
  }

  /** A CONNECT, or the AUTH that answers its challenge; what follows it in the chunk waits. */
  onOpening(type: number, chunk: Buffer): void {
    this.#state = State.ADMITTING
    this.#pump.holdClient()
    const held = chunk.subarray(this.#pump.clientToServer.reader.pos)
    if (type === PacketType.CONNECT) this.#handshake.begin(held)
    else this.#handshake.onProof(held)
  }

  /** The client is read again, for its AUTH. */
  challenged(held: Buffer): void {
    this.#state = State.CHALLENGED
    this.#pump.releaseClient()
    if (held.length > 0) this.onBytes(held)
  }

  admitted(principal: Principal, clientId: string, authenticationMethod: string | undefined): void {
    this.#clientId = clientId
    this.authenticationMethod = authenticationMethod
    this.#state = State.DIALING
    this.standing.use(principal)
  }

  dialed(server: Peer): void {
    this.#server = new Outbox(server)
    this.#gone.server = false
    this.#state = State.AWAIT_CONNACK
  }

  /** The CONNACK as the agent gets it, or undefined when the connection ends with it. */
  onConnack(reader: PacketReader): Buffer | undefined {
    return this.#handshake.onConnack(reader)
  }

  /** The broker accepted: from here on both directions are relayed. */
  established(settings: {
    keepAliveS: number
    aliasesToServer: number
    aliasesToClient: number
    clientMaximumPacketSize: number
  }): void {
    this.#state = State.RELAYING
    this.wasEstablished = true
    const { tally, slots } = this.context
    tally.add(slots.connections, -1)
    tally.add(slots.connections + 1)
    this.context.counted?.()
    const now = this.context.clock.now()
    this.towardsClient.maximumPacketSize = settings.clientMaximumPacketSize
    this.keepAlive.start(settings.keepAliveS, now)
    this.#pump.clientToServer.aliases.maximum = settings.aliasesToServer
    this.#pump.serverToClient.aliases.maximum = settings.aliasesToClient
    this.standing.arm()
    this.subscriptions.judgeAgain()
    this.renewal.takeHeld()
  }

  /** Reads on after the CONNACK, starting with what the agent sent before it. */
  resumeClient(held: Buffer): void {
    if (held.length > 0) this.onBytes(held)
    this.#pump.applyBackpressure()
  }

  /** Between admission and CONNACK: the policy may have changed meanwhile. Judges the Will again if so. */
  refreshAdmitted(): Outcome {
    if (this.standing.isCurrent) return Outcome.ALLOW
    this.standing.bind()
    return this.#handshake.judgeWill()
  }

  /** EXP-02: a fresh token of the same bearer; `applyRights` must follow. */
  renewed(principal: Principal): void {
    this.recorder.identify(identityOf(principal, this.context.pseudonym), this.#clientId)
    this.standing.use(principal)
    this.standing.arm()
  }

  clientFault(what: SessionFault | number): void {
    const fault = faultOf(what)
    const { name, reasonCode } = ALL_FAULTS[fault]!
    this.recorder.clientFault(fault)
    if (this.#state === State.RELAYING) this.end('client_fault', { detail: name, reasonCode })
    else this.#handshake.clientFault(name, reasonCode, fault)
  }

  serverFault(what: SessionFault | number): void {
    const fault = faultOf(what)
    const { name } = ALL_FAULTS[fault]!
    this.recorder.serverFault(fault)
    if (this.#state !== State.RELAYING) return this.#handshake.serverFault(name)
    const server = this.towardsServer
    if (server.atBoundary) server.send(disconnect(ReasonCode.PROTOCOL_ERROR))
    this.end('server_fault', { detail: name })
  }

  /** Bytes from the agent. */
  onBytes(chunk: Buffer): void {
    if (this.#state === State.CLOSED || this.#leaving !== undefined) return
    this.context.tally.add(this.context.slots.bytes, chunk.length)
    if (this.#state === State.AWAIT_CONNECT || this.#state === State.CHALLENGED) {
      return this.#pump.opening(chunk)
    }
    if (this.#state !== State.RELAYING) {
      if (!this.#handshake.hold(chunk)) this.clientFault('too_much_before_connack')
      return
    }
    this.#pump.fromAgent(chunk)
  }

  onServerBytes(chunk: Buffer): void {
    if (this.#state !== State.AWAIT_CONNACK && this.#state !== State.RELAYING) return
    this.context.tally.add(this.context.slots.bytes + 1, chunk.length)
    const handshaking = this.#state === State.AWAIT_CONNACK
    this.#pump.fromServer(chunk)
    if (this.#state !== State.RELAYING) return
    if (handshaking) this.resumeClient(this.#handshake.takeHeld())
    this.#pump.applyBackpressure()
  }

  onDrain(): void {
    this.#pump.applyBackpressure()
  }

  onFin(): void {
    if (this.#state === State.RELAYING) this.#pump.finish()
    else if (this.#state !== State.CLOSED) this.#handshake.clientClosed()
  }

  onClose(): void {
    this.#gone.client = true
    if (this.#state === State.RELAYING) this.end('client_closed')
    else if (this.#state !== State.CLOSED) this.#handshake.clientClosed()
    else this.#onGone()
  }

  onPanic(error: unknown): void {
    this.context.logger.error({ err: error }, 'a mistake of ours ended one connection')
    this.end('internal_error')
  }

  /** The broker sends no more. */
  onServerClose(): void {
    if (this.#state === State.RELAYING) this.end('server_closed')
    else if (this.#state === State.AWAIT_CONNACK) this.#handshake.serverClosed()
  }

  /** The connection to the broker is gone. */
  onServerGone(): void {
    this.#gone.server = true
    if (this.#state === State.CLOSED) this.#onGone()
    else this.onServerClose()
  }

  /** Applies the policy in force to this connection, if it is newer than the one last applied. */
  refreshRights(): void {
    if (this.#state !== State.RELAYING || this.standing.isCurrent) return
    this.standing.bind()
    this.applyRights()
  }

  turnAway(): void {
    this.#handshake.refuse('too_many_connections')
  }

  /**
   * Nothing of this agent passes from here on, in either direction (REV-01).
   *
   * @returns what is left, which may follow when all who are cut together have been told
   */
  revoke(because?: AuditEvent['cause']): () => void {
    if (this.#state === State.RELAYING) return this.#cut('revoked', { because })
    if (this.#state !== State.CLOSED) this.#handshake.revoke()
    return NOTHING
  }

  /** SIGTERM: the agent is told, the broker sees the connection close. */
  shutDown(): void {
    if (this.#state === State.RELAYING) this.end('shutdown')
    else if (this.#state !== State.CLOSED) this.#handshake.refuse('shutting_down')
  }

  /** The agent sends no more; answers to what it sent before are relayed until the broker closes. Idempotent. */
  leave(cause: 'client_disconnected' | 'client_closed'): void {
    if (this.#state !== State.RELAYING || this.#leaving !== undefined) return
    this.#leaving = cause
    this.#pump.clientToServer.abandon()
    if (!this.recorder.commit()) return this.discard()
    this.#server.peer.finish()
    this.context.memory.close(this.#clientId, this.memory, this.sessionExpiryInterval)
    this.#leaveTimer = this.context.clock.after(LINGER_MS, () => this.end(cause))
  }

  /**
   * Ends the connection on both sides; what was forwarded before still goes out. Idempotent.
   *
   * @param options.reasonCode replaces the DISCONNECT Reason Code of the cause
   */
  end(cause: EndCause, options: EndOptions = {}): void {
    if (this.#state === State.CLOSED) return
    if (this.#state !== State.RELAYING) return this.#handshake.refuse('internal_error')
    this.#cut(cause, options)()
  }

  /** The agent's side of the end: nothing passes any more. Returns the rest: the broker's side, record and tidying. */
  #cut(cause: EndCause, options: EndOptions = {}): () => void {
    const why = this.#leaving ?? cause
    const row = END_CAUSES[why]
    const code = this.#leaving === undefined ? (options.reasonCode ?? row.client) : row.client
    const client = this.towardsClient
    const server = this.#server
    const farewell = farewellOf(why, this.context.config)
    const stuck = stuckPeers(cause, [client, server])
    let effect = 'closed'
    this.#pump.clientToServer.abandon()
    // Within a chunk: closing would let go what is still held back.
    if (!this.recorder.commit()) {
      this.discard()
      return NOTHING
    }
    if (code >= 0 && client.atBoundary) {
      if (client.send(disconnectOf(code))) effect = `disconnect ${hex(code)}`
    }
    // In the middle of a packet nothing can be said, but whole ones before it are still on their way.
    client.peer.end()
    for (const peer of stuck) peer.destroy()
    this.#state = State.CLOSED
    return () => {
      endServer(server, farewell)
      if (farewell === 'discard' || farewell === 'forget') this.sessionExpiryInterval = 0
      this.recorder.ended(why, effect, options.detail, options.because)
      this.#tidy()
    }
  }

  /** Last step of every end: no timer, no state, and no socket outlives the linger time. */
  close(): void {
    if (this.#state === State.CLOSED) return
    this.#state = State.CLOSED
    this.#tidy()
  }

  #tidy(): void {
    this.standing.disarm()
    this.grants.close()
    this.#leaveTimer?.cancel()
    this.#handshake.dispose()
    this.renewal.cancelTimers()
    this.context.revocations.leave(this)
    this.#pump.clientToServer.close()
    this.context.memory.close(this.#clientId, this.memory, this.sessionExpiryInterval)
    const sides = [this.towardsClient.peer, this.#server.peer]
    this.#linger = this.context.clock.after(LINGER_MS, () => {
      for (const peer of sides) peer.destroy()
    })
    this.#onGone()
    this.#onEnd(this)
  }

  /** In a storm of connections nothing is kept for one that both sides have closed. */
  #onGone(): void {
    if (this.#gone.client && this.#gone.server) this.#linger?.cancel()
  }

  /** Ends or takes away what the rights in force, which have just changed, no longer allow. */
  applyRights(): void {
    if (this.#handshake.judgeWill() !== Outcome.ALLOW) return this.end('will_denied')
    this.subscriptions.judgeAgain()
  }

  /** What was just allowed has no record on disk: neither it nor anything else held back may leave. */
  discard(): void {
    for (const { peer } of [this.towardsClient, this.#server]) peer.destroy()
    this.recorder.ended('audit_unavailable', 'closed')
    this.close()
  }
}
