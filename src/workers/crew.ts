// The workers of the first process: starts them, and again when one ends, tells all of them what is reloaded or revoked,
// and hands connections that it had to accept itself to whoever has fewest.

import { randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import type { Socket } from 'node:net'
import type { Clock } from '../clock.ts'
import type { Config } from '../config/config.ts'
import type { OtherRosters } from '../revocation/revocations.ts'
import type { Sight } from '../revocation/service.ts'
import type { Crew, Shared, SharedPorts } from '../roles.ts'
import type { Elsewhere } from '../session/registry.ts'
import type { Logger } from '../telemetry/logger.ts'
import { Metrics, type Snapshot } from '../telemetry/metrics.ts'
import type { FileContent, ToFirst } from './calls.ts'
import type { Handlers } from './link.ts'
import { Member } from './member.ts'
import { SessionDirectory } from './session-directory.ts'
import { workerConfig, writeConfig } from './worker-config.ts'

export interface CrewOptions {
  /** The script of a worker. */
  entry: string
  clock: Clock
  logger: Logger
  version: string
  /** Standard output. */
  write(bytes: Buffer): Promise<void>
}

/** MQTT sessions remembered, of all workers. */
const REMEMBERED_SESSIONS = 10_000
/** A worker that ends sooner than this after its start is not started again at once. */
const STEADY_MS = 10_000
const FIRST_RETRY_MS = 1_000
const LONGEST_RETRY_MS = 30_000
/** What a worker counted since it was last asked is lost when it is killed. */
const SNAPSHOT_MS = 5_000
/** A worker that has not got new files in force by then, or does not listen, is killed. */
const RELOAD_MS = 30_000
const TICKET_KEY_BYTES = 48

export class Workers implements Crew {
  readonly rosters: OtherRosters
  readonly #config: Config
  readonly #options: CrewOptions
  /** By place; another one stands there when a worker was started again. */
  readonly #members: Member[] = []
  readonly #directory = new SessionDirectory(REMEMBERED_SESSIONS)
  /** As read last, and as in force. */
  readonly #read = new Map<string, Buffer>()
  readonly #inForce = new Map<string, Buffer>()
  readonly #ticketKeys = randomBytes(TICKET_KEY_BYTES)
  readonly #waiting: { listener: number; socket: Socket }[] = []
  #shared!: Shared
  #sight!: Sight
  #ports: SharedPorts = []
  #isTellDue = false
  /** Counts of workers that have ended. */
  #ended: Snapshot = []
  #isClosing = false

  constructor(config: Config, options: CrewOptions) {
    this.#config = config
    this.#options = options
    this.rosters = {
      cut: (order) => this.#order((one) => one.order('cut', order)),
      takeIn: (mark) => this.#order((one) => one.order('takeIn', mark)),
      widen: async (selector, beforeMs, atMs) => {
        const cuts = await this.#order((one) => one.order('widen', { selector, beforeMs, atMs }))
        return cuts.reduce((sum, cut) => sum + cut, 0)
      },
      useList: (selectors) => this.#order((one) => one.order('list', selectors)),
    }
  }

  get connections(): number {
    return this.#members.reduce((sum, { counts }) => sum + counts.connections, 0)
  }

  get size(): number {
    return this.#up.length
  }

  get health(): true | string {
    const ill = this.#members.find(({ health }) => health !== true)
    return ill === undefined || `Worker ${ill.name}: ${ill.health}`
  }

  readonly readFile = async (path: string): Promise<Buffer> => {
    const bytes = await readFile(path)
    this.#read.set(path, bytes)
    return bytes
  }

  async start(shared: Shared): Promise<void> {
    this.#shared = shared
    this.#sight = shared.sight
    for (const [path, bytes] of this.#read) this.#inForce.set(path, bytes)
    const places = Array.from({ length: this.#config.workers }, (_, place) => place)
    await Promise.all(places.map((place) => this.#open(place)))
    for (const place of places) void this.#keep(place)
    void this.#watchSnapshots()
  }

  async listen(ports: SharedPorts): Promise<void> {
    this.#ports = ports
    await this.#order((one) => one.order('listen', ports, RELOAD_MS))
  }

  take(listener: number, socket: Socket): void {
    // Nobody reads it yet: what fails is found out by whom it is handed to.
    socket.on('error', () => socket.destroy())
    if (this.#isClosing || this.#waiting.length >= this.#config.limits.unauthenticated) {
      socket.destroy()
      return
    }
    this.#waiting.push({ listener, socket })
    this.#handOver()
  }

  async reloaded(part: number, files: readonly string[]): Promise<void> {
    const contents = files.flatMap((path): FileContent[] => {
      const bytes = this.#read.get(path)
      return bytes === undefined ? [] : [[path, bytes]]
    })
    for (const [path, bytes] of contents) this.#inForce.set(path, bytes)
    await this.#order(async (one) => {
      try {
        return await one.order('reload', { part, files: contents }, RELOAD_MS)
      } catch (error) {
        // It is started again with what is in force.
        this.#options.logger.error({ worker: one.name, err: error }, 'a worker cannot use what was reloaded')
        one.kill()
        return undefined
      }
    })
  }

  see(sight: Sight): void {
    this.#sight = sight
    for (const one of this.#members) one.tell('sight', sight)
  }

  async refresh(): Promise<void> {
    await Promise.all(this.#up.map((one) => one.refreshHealth()))
  }

  metricsWith(own: Metrics): Pick<Metrics, 'contentType' | 'render'> {
    return {
      contentType: own.contentType,
      render: async () => {
        await Promise.all([this.#snapshots(), this.refresh()])
        const others = this.#members.filter(({ hasEnded }) => !hasEnded).map(({ snapshot }) => snapshot)
        return Metrics.joined(await own.snapshot(), [this.#ended, ...others])
      },
    }
  }

  async drain(withinMs: number): Promise<void> {
    this.#isClosing = true
    for (const { socket } of this.#waiting.splice(0)) socket.destroy()
    const results = await Promise.allSettled(this.#up.map((one) => one.drain(withinMs)))
    await this.close()
    for (const result of results) if (result.status === 'rejected') throw result.reason
  }

  async close(): Promise<void> {
    this.#isClosing = true
    for (const one of this.#members) if (!one.hasEnded) one.kill()
    await Promise.all(this.#members.map((one) => one.gone))
  }

  get #up(): Member[] {
    return this.#members.filter(({ isUp }) => isUp)
  }

  /** Asks all that have not ended, at once; who ends meanwhile does not count. */
  async #order<T>(ask: (one: Member) => Promise<T | undefined>): Promise<T[]> {
    const asked = this.#members.filter(({ hasEnded }) => !hasEnded)
    const answers = await Promise.all(asked.map(ask))
    return answers.filter((answer): answer is Awaited<T> & {} => answer !== undefined)
  }

  /** Starts the worker of this place. @throws PosternError when it cannot start */
  async #open(place: number): Promise<void> {
    const { entry, clock, version } = this.#options
    const name = `w${place + 1}`
    const member = new Member(
      name,
      entry,
      clock,
      (from) => this.#handlersFor(from),
      () => this.#counted(),
    )
    this.#members[place] = member
    void member.gone.then(async () => {
      this.#directory.lost(member)
      this.#counted()
      this.#ended = await Metrics.ended(this.#ended, member.snapshot)
    })
    // In one step with its place among the members: whatever is ordered from now on reaches it after this.
    await member.start({
      config: writeConfig(workerConfig(this.#config, name)),
      ...{ version, name, sight: this.#sight, ticketKeys: this.#ticketKeys, ports: this.#ports },
      files: [...this.#inForce],
      roster: this.#shared.roster.content,
    })
    this.#counted()
  }

  /** Starts the worker of this place again whenever it has ended. */
  async #keep(place: number): Promise<void> {
    const { clock, logger } = this.#options
    let failures = 0
    let startedMs = clock.monotonic()
    for (;;) {
      const member = this.#members[place]!
      const worker = member.name
      const how = await member.gone
      if (this.#isClosing) return
      this.#shared.onExit()
      logger.error({ worker, how }, 'a worker has ended, and its connections with it; it is started again')
      failures = clock.monotonic() - startedMs < STEADY_MS ? failures + 1 : 0
      if (failures > 1) await this.#pause(Math.min(FIRST_RETRY_MS * 2 ** (failures - 2), LONGEST_RETRY_MS))
      if (this.#isClosing) return
      startedMs = clock.monotonic()
      try {
        await this.#open(place)
        logger.info({ worker }, 'a worker was started again')
      } catch (error) {
        if (!this.#isClosing) logger.error({ worker, err: error }, 'a worker cannot be started')
      }
    }
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => this.#options.clock.after(ms, resolve))
  }

  #handlersFor(member: Member): Omit<Handlers<ToFirst>, 'counts'> {
    const directory = this.#directory
    return {
      failedTry: (key) => {
        for (const one of this.#members) if (one !== member) one.tell('failedTry', key)
        return undefined
      },
      claim: ({ clientId, owner }) => (this.#isFull ? 'full' : directory.claim(member, clientId, owner)),
      release: ({ clientId, owner }) => void directory.release(member, clientId, owner),
      recall: (clientId) => directory.recall(member, clientId),
      opened: ({ clientId, owner }) => {
        directory.opened(member, clientId, owner)
        directory.release(member, clientId, owner)
        // Until it tells its counts, so that no connection is in neither.
        member.counts.established += 1
        return undefined
      },
      closed: ({ clientId, remembered }) => void directory.closed(member, clientId, remembered),
      takeUse: ({ key, maxUses, expiresAtMs }) =>
        this.#shared.usedGrants?.take(key, maxUses, expiresAtMs) ?? 'unavailable',
      output: async (bytes) => {
        await this.#options.write(bytes)
        return undefined
      },
    }
  }

  #handOver(): void {
    while (this.#waiting.length > 0) {
      const member = this.#nextToTake()
      if (member === undefined) return
      const { listener, socket } = this.#waiting.shift()!
      this.#handTo(member, listener, socket)
    }
  }

  /** Of those that take connections and have none on its way, the one with fewest. */
  #nextToTake(): Member | undefined {
    let next: Member | undefined
    for (const one of this.#up) {
      if (one.isTaking) continue
      if (next === undefined || isBefore(one, next)) next = one
    }
    return next
  }

  #handTo(member: Member, listener: number, socket: Socket): void {
    member.take(listener, this.#elsewhere(member), socket)
  }

  /** What the others hold, with what is on its way to them. */
  #elsewhere(member: Member): Elsewhere {
    const elsewhere: Elsewhere = { connections: 0, unauthenticated: 0 }
    for (const { load } of this.#members.filter((one) => one !== member && !one.hasEnded)) {
      elsewhere.connections += load.connections
      elsewhere.unauthenticated += load.unauthenticated
    }
    return elsewhere
  }

  /**
   * `limits.connections` holds for all: what workers know of one another when they accept is some milliseconds old, but
   * no CONNECT goes to the broker beyond it. Connections on their way to the broker have their name reserved.
   */
  get #isFull(): boolean {
    let held = this.#directory.reserved
    for (const { counts, hasEnded } of this.#members) if (!hasEnded) held += counts.established
    return held >= this.#config.limits.connections
  }

  /** A worker has told its counts: the others are told, once for what comes together. */
  #counted(): void {
    this.#handOver()
    if (this.#isTellDue) return
    this.#isTellDue = true
    setImmediate(() => {
      this.#isTellDue = false
      for (const one of this.#up) one.tell('elsewhere', this.#elsewhere(one))
    })
  }

  async #snapshots(): Promise<void> {
    await Promise.all(this.#up.map((one) => one.refreshSnapshot()))
  }

  async #watchSnapshots(): Promise<void> {
    while (!this.#isClosing) {
      await this.#pause(SNAPSHOT_MS)
      await this.#snapshots()
    }
  }
}

/** Of equals the one that has been handed fewer so far: those in a TLS handshake are no connections yet. */
function isBefore(one: Member, other: Member): boolean {
  const difference = one.load.connections - other.load.connections
  return difference < 0 || (difference === 0 && one.handedOver < other.handedOver)
}
