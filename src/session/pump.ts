// Moves the bytes of one relayed connection: what came is judged, recorded, and written, in both directions.
//
// Hot path: runs per chunk. A chunk is lent by the socket until `fromAgent` or `fromServer` returns.

import { AgentInput, type InputEvents } from './agent-input.ts'
import { Backpressure } from './backpressure.ts'
import { ClientToServer } from './client-to-server.ts'
import { clientReader, serverReader } from './readers.ts'
import { ServerToClient } from './server-to-client.ts'
import type { Session } from './session.ts'

export class Pump implements InputEvents {
  readonly clientToServer: ClientToServer
  readonly serverToClient: ServerToClient
  readonly #session: Session
  readonly #input: AgentInput
  readonly #backpressure = new Backpressure()

  constructor(session: Session) {
    this.#session = session
    const { limits } = session.context.config
    this.#input = new AgentInput(session.context, this)
    this.clientToServer = new ClientToServer(session, clientReader(limits), this.#input)
    this.serverToClient = new ServerToClient(session, serverReader(limits))
  }

  fromAgent(chunk: Buffer): void {
    this.#input.take(chunk)
    this.applyBackpressure()
  }

  /** The broker's bytes, from its CONNACK on. */
  fromServer(chunk: Buffer): void {
    if (this.#session.relaying && this.#now() < 0) return
    this.#run(this.serverToClient, chunk)
  }

  /** The agent sends no more. */
  finish(): void {
    this.#input.finish()
  }

  holdClient(): void {
    this.#backpressure.holdClient(this.#session.towardsClient)
  }

  releaseClient(): void {
    this.#backpressure.releaseClient(this.#session.towardsClient)
  }

  applyBackpressure(): void {
    const { relaying, towardsClient, towardsServer } = this.#session
    if (!relaying) return
    const { mustWait, isHeld } = this.#input
    this.#backpressure.apply(towardsClient, towardsServer, mustWait, isHeld)
  }

  onFin(): void {
    this.#session.leave('client_closed')
  }

  onRoom(): void {
    this.applyBackpressure()
  }

  onPanic(error: unknown): void {
    this.#session.onPanic(error)
  }

  judge(bytes: Buffer): boolean {
    const session = this.#session
    if (!session.receiving) return false
    const now = this.#now()
    if (now < 0) return false
    this.clientToServer.nowMs = now
    const server = session.towardsServer
    const before = server.forwardedBytes
    this.#run(this.clientToServer, bytes)
    if (!session.receiving) return false
    if (server.forwardedBytes > before) session.keepAlive.forwarded(now)
    else session.keepAlive.dropped(now, server)
    return true
  }

  /** The time, read once per chunk; -1: the session just ended because its token or its rights did. */
  #now(): number {
    const session = this.#session
    const now = session.context.clock.now()
    if (now >= session.standing.endsAtMs) {
      session.end('expired')
      return -1
    }
    if (!session.standing.isCurrent) session.refreshRights()
    if (now >= session.grants.endsAtMs) session.grants.expire(now)
    return session.relaying ? now : -1
  }

  /** CONNECT, and what belongs to it. */
  opening(chunk: Buffer): void {
    const { clock, wakes } = this.#session.context
    const relay = this.clientToServer
    relay.relay(chunk)
    // It is no message of the chunk behind it.
    relay.takeDecided()
    if (relay.takeAwaited()) wakes.stayAwake(clock.monotonic())
  }

  #run(relay: ClientToServer | ServerToClient, chunk: Buffer): void {
    const session = this.#session
    const client = session.towardsClient.peer
    const server = session.towardsServer.peer
    const { clock, wakes } = session.context
    const started = clock.monotonic()
    client.cork()
    server.cork()
    relay.relay(chunk)
    const decided = relay.takeDecided()
    wakes.relayed(started, chunk.length, decided, relay.takeAwaited())
    if (decided > 0) session.context.observeDecisions((clock.monotonic() - started) / 1000, decided)
    if (session.relaying && !session.recorder.commit()) return session.discard()
    client.uncork()
    server.uncork()
  }
}
