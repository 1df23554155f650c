// One agent's connection: its life from accept to close. The relays enforce; this file holds what they share, the
// timers, and the one way to end.
//
//   AWAIT_CONNECT --CONNECT--> ADMITTING --verified--> DIALING --connected--> AWAIT_CONNACK --0x00--> RELAYING
//        any state --refusal, fault, expiry, close--> CLOSED

import type { Timer } from '../clock.ts'
import type { Principal } from '../identity/principal.ts'
import type { Acl } from '../policy/acl.ts'
import type { PacketReader } from '../wire/packet-reader.ts'
import { ReasonCode } from '../wire/reason-code.ts'
import { disconnect } from '../wire/reply.ts'
import { AgentInput } from './agent-input.ts'
import { Backpressure } from './backpressure.ts'
import { ClientToServer } from './client-to-server.ts'
import type { SessionContext } from './context.ts'
import { hex } from './effect.ts'
import { Handshake } from './handshake.ts'
import { KeepAlive } from './keep-alive.ts'
import { Outbox } from './outbox.ts'
import { ALL_FAULTS, END_CAUSES, type EndCause, faultOf, Outcome, type SessionFault } from './outcome.ts'
import { PacketIds } from './packet-ids.ts'
import { NOWHERE, type Peer, type PeerEvents } from './ports.ts'
import { clientReader, serverReader } from './readers.ts'
import { Recorder } from './recorder.ts'
import { ServerToClient } from './server-to-client.ts'
import { SessionState } from './session-memory.ts'
import { State } from './state.ts'
import { Subscriptions } from './subscriptions.ts'

/** After this a side that does not take its last bytes, or does not close in its turn, is cut. */
const LINGER_MS = 2_000
/** Number of the next set of rights, process-wide: a message allowed under another set is judged again. */
let nextRights = 1

export class Session implements PeerEvents {
  readonly context: SessionContext
  readonly recorder: Recorder
  readonly towardsClient: Outbox
  readonly packetIds = new PacketIds()
  readonly subscriptions = new Subscriptions(this)
  readonly keepAlive = new KeepAlive()
  memory = new SessionState()
  rights = 0
  /** Seconds; in force when the connection ends. */
  sessionExpiryInterval = 0
  authenticationMethod: string | undefined
  wasEstablished = false
  forcedFresh = false
  clientMaximumPacketSize = Number.POSITIVE_INFINITY
  serverMaximumPacketSize = Number.POSITIVE_INFINITY

  readonly #handshake: Handshake
  readonly #onEnd: (session: Session) => void
  readonly #clientToServer: ClientToServer
  readonly #serverToClient: ServerToClient
  #state: State = State.AWAIT_CONNECT
  #server = new Outbox(NOWHERE)
  #acl: Acl | undefined
  #principal: Principal | undefined
  #clientId = ''
  #endsAtMs = Number.POSITIVE_INFINITY
  #epoch = -1
  readonly #input: AgentInput
  readonly #backpressure = new Backpressure()
  #expiryTimer: Timer | undefined
  /** Set when the agent sends no more, to the cause of the end that is to come. */
  #leaving: 'client_disconnected' | 'client_closed' | undefined
  #leaveTimer: Timer | undefined

  /** @param onEnd called once, when the session is closed */
  constructor(
    context: SessionContext,
    client: Peer,
    connection: { id: string; listener: string },
    onEnd: (session: Session) => void,
  ) {
    this.context = context
    this.#onEnd = onEnd
    this.towardsClient = new Outbox(client)
    this.recorder = new Recorder(context.audit, context.tally, context.slots, context.digest, {
      ...connection,
      peer: client.name,
    })
    const { limits } = context.config
    this.#clientToServer = new ClientToServer(this, clientReader(limits))
    this.#serverToClient = new ServerToClient(this, serverReader(limits))
    this.#handshake = new Handshake(this)
    this.#input = new AgentInput(context, {
      judge: (slice) => this.#judge(slice),
      onFin: () => this.leave('client_closed'),
      onRoom: () => this.#applyBackpressure(),
      onPanic: (error) => this.onPanic(error),
    })
  }

  get state(): State {
    return this.#state
  }
  get relaying(): boolean {
    return this.#state === State.RELAYING
  }
  get acl(): Acl {
    return this.#acl!
  }
  get principal(): Principal | undefined {
    return this.#principal
  }
  get clientId(): string {
    return this.#clientId
  }
  get towardsServer(): Outbox {
    return this.#server
  }
  get endsAtMs(): number {
    return this.#endsAtMs
  }
  get clientReader(): PacketReader {
    return this.#clientToServer.reader
  }

  /** An agent's first packet was a CONNECT; what follows it in the chunk waits. */
  onConnect(chunk: Buffer): void {
    this.#state = State.ADMITTING
    this.#backpressure.holdClient(this.towardsClient)
    this.#handshake.begin(chunk.subarray(this.#clientToServer.reader.pos))
  }

  admitted(principal: Principal, clientId: string, authenticationMethod: string | undefined): void {
    this.#principal = principal
    this.#clientId = clientId
    this.authenticationMethod = authenticationMethod
    this.#state = State.DIALING
    this.bindRights()
  }

  dialed(server: Peer): void {
    this.#server = new Outbox(server)
    this.#state = State.AWAIT_CONNACK
  }

  /** The CONNACK as the agent gets it, or undefined when the connection ends with it. */
  onConnack(reader: PacketReader): Buffer | undefined {
    return this.#handshake.onConnack(reader)
  }

  /** The broker accepted: from here on both directions are relayed. */
  established(settings: { keepAliveS: number; aliasesToServer: number; aliasesToClient: number }): void {
    this.#state = State.RELAYING
    this.wasEstablished = true
    const { tally, slots } = this.context
    tally.add(slots.connections, -1)
    tally.add(slots.connections + 1)
    const now = this.context.clock.now()
    this.keepAlive.start(settings.keepAliveS, now)
    this.#clientToServer.aliases.maximum = settings.aliasesToServer
    this.#serverToClient.aliases.maximum = settings.aliasesToClient
    this.#endsAtMs = this.#principal!.endsAtMs
    this.#expiryTimer = this.context.clock.after(Math.max(0, this.#endsAtMs - now), () => this.end('expired'))
    this.subscriptions.judgeAgain()
  }

  /** Reads on after the CONNACK, starting with what the agent sent before it. */
  resumeClient(held: Buffer): void {
    if (held.length > 0) this.onBytes(held)
    this.#applyBackpressure()
  }

  /** Between admission and CONNACK: the policy may have changed meanwhile. Judges the Will again if so. */
  refreshAdmitted(): Outcome {
    if (this.#epoch === this.context.policyInForce.epoch) return Outcome.ALLOW
    this.bindRights()
    return this.#handshake.judgeWill()
  }

  bindRights(): void {
    const { policyInForce } = this.context
    const principal = this.#principal!
    const options = this.context.bindOptionsOf(principal.issuer, this.recorder.listener)
    this.#acl = policyInForce.policy.bind(principal, options)
    this.#epoch = policyInForce.epoch
    this.rights = nextRights++
    for (const problem of this.#acl.bindProblems) {
      this.context.logger.warn(
        { client_id: this.#clientId, problem },
        'a rule does not apply to this principal',
      )
    }
  }

  clientViolation(name: SessionFault): void {
    this.clientFault(faultOf(name))
  }

  serverViolation(name: SessionFault): void {
    this.serverFault(faultOf(name))
  }

  /** @param fault index into ALL_FAULTS */
  clientFault(fault: number): void {
    const { name, reasonCode } = ALL_FAULTS[fault]!
    this.recorder.clientFault(fault)
    if (this.#state === State.RELAYING) this.end('client_fault', { detail: name, reasonCode })
    else this.#handshake.clientFault(name, reasonCode, fault)
  }

  /** @param fault index into ALL_FAULTS */
  serverFault(fault: number): void {
    const { name } = ALL_FAULTS[fault]!
    this.recorder.serverFault(fault)
    if (this.#state !== State.RELAYING) return this.#handshake.serverFault(name)
    const server = this.towardsServer
    if (server.atBoundary) server.send(disconnect(ReasonCode.PROTOCOL_ERROR))
    this.end('server_fault', { detail: name })
  }

  onBytes(chunk: Buffer): void {
    if (this.#state === State.CLOSED || this.#leaving !== undefined) return
    this.context.tally.add(this.context.slots.bytes, chunk.length)
    if (this.#state !== State.AWAIT_CONNECT && this.#state !== State.RELAYING) {
      if (!this.#handshake.hold(chunk)) this.clientViolation('too_much_before_connack')
      return
    }
    if (this.#state === State.AWAIT_CONNECT) {
      this.#clientToServer.relay(chunk)
      return
    }
    const { peer } = this.#server
    // One write for all slices.
    peer.cork()
    this.#input.take(chunk)
    peer.uncork()
    this.#applyBackpressure()
  }

  onServerBytes(chunk: Buffer): void {
    if (this.#state !== State.AWAIT_CONNACK && this.#state !== State.RELAYING) return
    this.context.tally.add(this.context.slots.bytes + 1, chunk.length)
    const handshaking = this.#state === State.AWAIT_CONNACK
    if (!handshaking && this.#current() < 0) return
    this.#run(this.#serverToClient, chunk)
    if (this.#state !== State.RELAYING) return
    if (handshaking) this.resumeClient(this.#handshake.takeHeld())
    this.#applyBackpressure()
  }

  onDrain(): void {
    this.#applyBackpressure()
  }

  onFin(): void {
    if (this.#state === State.RELAYING) this.#input.finish()
    else if (this.#state !== State.CLOSED) this.#handshake.clientClosed()
  }

  onClose(): void {
    if (this.#state === State.RELAYING) this.end('client_closed')
    else if (this.#state !== State.CLOSED) this.#handshake.clientClosed()
  }

  onPanic(error: unknown): void {
    this.context.logger.error({ err: error }, 'a mistake of ours ended one connection')
    this.end('internal_error')
  }

  onServerClose(): void {
    if (this.#state === State.RELAYING) this.end('server_closed')
    else if (this.#state === State.AWAIT_CONNACK) this.#handshake.serverClosed()
  }

  /** Applies the policy in force to this connection, if it is newer than the one last applied. */
  refreshRights(): void {
    if (this.#state !== State.RELAYING || this.#epoch === this.context.policyInForce.epoch) return
    this.bindRights()
    const will = this.#handshake.judgeWill()
    if (will !== Outcome.ALLOW) return this.end('will_denied')
    this.subscriptions.judgeAgain()
  }

  turnAway(): void {
    this.#handshake.refuse('too_many_connections')
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
    this.#clientToServer.abandon()
    if (!this.recorder.commit()) return this.#discard()
    this.#server.peer.finish()
    this.context.memory.close(this.#clientId, this.memory, this.sessionExpiryInterval)
    this.#leaveTimer = this.context.clock.after(LINGER_MS, () => this.end(cause))
  }

  /**
   * Ends the connection on both sides; what was forwarded before still goes out. Idempotent.
   *
   * @param options.reasonCode replaces the DISCONNECT Reason Code of the cause
   */
  end(cause: EndCause, options: { detail?: string; reasonCode?: number } = {}): void {
    if (this.#state === State.CLOSED) return
    if (this.#state !== State.RELAYING) return this.#handshake.refuse('internal_error')
    const why = this.#leaving ?? cause
    const row = END_CAUSES[why]
    const code = this.#leaving === undefined ? (options.reasonCode ?? row.client) : row.client
    const client = this.towardsClient
    let effect = 'closed'
    this.#clientToServer.abandon()
    // Within a chunk: closing would let go what is still held back.
    if (!this.recorder.commit()) return this.#discard()
    if (code >= 0 && client.atBoundary) {
      client.send(disconnect(code))
      effect = `disconnect ${hex(code)}`
    }
    // In the middle of a packet nothing can be said, but whole ones before it are still on their way.
    client.peer.end()
    const server = this.#server
    if (row.server === 'clean' && server.atBoundary) server.send(disconnect(ReasonCode.SUCCESS))
    server.peer.end()
    this.recorder.ended(why, effect, options.detail)
    this.context.memory.close(this.#clientId, this.memory, this.sessionExpiryInterval)
    this.close()
  }

  /** Last step of every end: no timer, no state, and no socket outlives the linger time. */
  close(): void {
    if (this.#state === State.CLOSED) return
    this.#state = State.CLOSED
    this.#expiryTimer?.cancel()
    this.#leaveTimer?.cancel()
    this.#handshake.cancelTimers()
    const { peer } = this.towardsClient
    const server = this.#server.peer
    this.context.clock.after(LINGER_MS, () => {
      peer.destroy()
      server.destroy()
    })
    this.#onEnd(this)
  }

  /** The time, read once per chunk; -1: the session just ended because its token or its rights did. */
  #current(): number {
    const now = this.context.clock.now()
    if (now >= this.#endsAtMs) {
      this.end('expired')
      return -1
    }
    if (this.#epoch !== this.context.policyInForce.epoch) this.refreshRights()
    return this.#state === State.RELAYING ? now : -1
  }

  #run(relay: ClientToServer | ServerToClient, chunk: Buffer): void {
    const client = this.towardsClient.peer
    const server = this.towardsServer.peer
    const { clock } = this.context
    const started = clock.monotonic()
    client.cork()
    server.cork()
    relay.relay(chunk)
    const decided = relay.takeDecided()
    if (decided > 0) this.context.observeDecisions((clock.monotonic() - started) / 1000, decided)
    if (this.#state === State.RELAYING && !this.recorder.commit()) return this.#discard()
    client.uncork()
    server.uncork()
  }

  /** What was just allowed has no record on disk: neither it nor anything else held back may leave. */
  #discard(): void {
    for (const { peer } of [this.towardsClient, this.#server]) peer.destroy()
    this.recorder.ended('audit_unavailable', 'closed')
    this.context.memory.close(this.#clientId, this.memory, this.sessionExpiryInterval)
    this.close()
  }

  /** Bytes of the agent, while relaying. false: it is not to be heard any more. */
  #judge(slice: Buffer): boolean {
    if (this.#state !== State.RELAYING || this.#leaving !== undefined) return false
    const now = this.#current()
    if (now < 0) return false
    const server = this.towardsServer
    const before = server.forwardedBytes
    this.#run(this.#clientToServer, slice)
    if (this.#state !== State.RELAYING || this.#leaving !== undefined) return false
    if (server.forwardedBytes > before) this.keepAlive.forwarded(now)
    else this.keepAlive.dropped(now, server)
    return true
  }

  #applyBackpressure(): void {
    if (this.#state !== State.RELAYING) return
    this.#backpressure.apply(this.towardsClient, this.#server, this.#input.mustWait)
  }
}
