// A worker: an app without listeners, files and admin endpoint of its own, which the first process gives what it needs.

import type { Socket } from 'node:net'
import { Writable } from 'node:stream'
import { App } from '../app.ts'
import { systemClock } from '../clock.ts'
import type { UsedGrants } from '../grants/used-grants.ts'
import { Roster } from '../revocation/roster.ts'
import { blindnessAt, marksFor, type Sight } from '../revocation/service.ts'
import type { SharedPorts, Station } from '../roles.ts'
import { SessionMemory } from '../session/session-memory.ts'
import { createLogger } from '../telemetry/logger.ts'
import type { FileContent, Start, ToFirst, ToWorker } from './calls.ts'
import { type Frame, type Handlers, Link } from './link.ts'
import { parseConfig } from './worker-config.ts'
import { WorkerMemory } from './worker-memory.ts'

export interface WorkerPorts {
  send(frames: Frame[]): void
  /** Lets the process end when its last socket has taken what was sent to it. */
  leave(): void
}

/** Changes of how many connections there are are told together after this. */
const COUNT_MS = 10
/** Sessions of this worker that are remembered here: those with a connection, which its limit bounds. */
const OWN_SESSIONS = Number.POSITIVE_INFINITY

export class Worker {
  readonly #ports: WorkerPorts
  readonly #link: Link<ToFirst, ToWorker>
  readonly #files = new Map<string, Buffer>()
  #sight: Sight = { store: false, eventsUntilMs: 0 }
  #memory!: WorkerMemory
  #roster!: Roster
  #app!: App
  #started!: Promise<void>
  #taken = 0
  #isCountDue = false

  constructor(ports: WorkerPorts) {
    this.#ports = ports
    this.#link = new Link((frames) => ports.send(frames), this.#handlers())
  }

  /** A message of the first process. */
  receive(frames: readonly Frame[], socket: Socket | undefined): void {
    this.#link.receive(frames, socket)
  }

  /** The first process has ended: nobody revokes, reloads or accepts any more. Ends all sessions at once. */
  async abandoned(): Promise<void> {
    this.#link.close()
    await this.#started?.catch(() => {})
    await this.#app?.stop({ withinMs: 0 })
  }

  #handlers(): Handlers<ToWorker> {
    return {
      start: async (what) => {
        this.#make(what)
        await this.#started
        return undefined
      },
      listen: async (ports) => {
        await this.#started
        await this.#app.listen(ports)
        return undefined
      },
      elsewhere: (counts) => {
        this.#app.elsewhere = counts
        return undefined
      },
      connection: ({ listener, elsewhere }, socket) => {
        this.#taken += 1
        if (socket !== undefined) this.#app.take(listener, socket, elsewhere)
        // At once, for the next one is waiting.
        this.#tellCounts()
        return undefined
      },
      cut: async (order) => {
        const result = this.#roster.cut(order)
        return { ...result, recorded: await this.#isRecorded() }
      },
      takeIn: (mark) => this.#roster.takeIn(mark) ?? { cut: 0, latestMs: 0 },
      widen: ({ selector, beforeMs, atMs }) => this.#roster.widen(selector, beforeMs, atMs),
      list: (selectors) => this.#roster.useList(selectors),
      sight: (sight) => {
        this.#sight = sight
        return undefined
      },
      reload: async ({ part, files }) => {
        this.#take(files)
        await this.#started
        await this.#app.load(part)
        return undefined
      },
      failedTry: (key) => void this.#app.countFailedTry(key),
      look: (clientId) => this.#memory.look(clientId),
      moved: (clientId) => void this.#memory.moved(clientId),
      health: () => this.#app.health,
      metrics: () => {
        this.#tellCounts()
        return this.#app.metrics.snapshot()
      },
      drain: async (withinMs) => {
        await this.#started
        await this.#app.stop({ withinMs })
        // After the answer.
        setImmediate(() => {
          this.#link.flush()
          setImmediate(() => this.#ports.leave())
        })
        return undefined
      },
    }
  }

  /** All that an order may ask for is there when this returns; `#started` says when connections can come. */
  #make({ config: text, version, name, files, roster, sight, ticketKeys, ports }: Start): void {
    const config = parseConfig(text)
    const clock = systemClock
    this.#take(files)
    this.#sight = sight
    this.#roster = new Roster(marksFor(config, clock), marksFor(config, clock), clock, () =>
      blindnessAt(clock.now(), this.#sight),
    )
    this.#roster.copy(roster)
    this.#memory = new WorkerMemory(new SessionMemory(clock, OWN_SESSIONS), this.#link)
    const station: Station = {
      ...{ name, roster: this.#roster, memory: this.#memory, ticketKeys: Buffer.from(ticketKeys) },
      usedGrants: this.#usedGrants(),
      readFile: (path) => this.#readFile(path),
      onFailedTry: (key) => this.#link.tell('failedTry', key),
      counted: () => this.#counted(),
    }
    const logger = createLogger({ level: config.log.level, clock }).child({ worker: name })
    this.#app = new App(config, { clock, logger, version, station, output: this.#output() })
    this.#started = this.#begin(ports)
    this.#started.catch(() => {}) // `start` answers with it
  }

  async #begin(ports: SharedPorts): Promise<void> {
    await this.#app.start()
    await this.#app.listen(ports)
  }

  async #isRecorded(): Promise<boolean> {
    try {
      // Before it has started there is nobody to cut.
      await this.#started
      await this.#roster.settled
      await this.#app.flushAudit()
      return true
    } catch {
      return false
    }
  }

  #take(files: readonly FileContent[]): void {
    for (const [path, bytes] of files) this.#files.set(path, Buffer.from(bytes))
  }

  /** Of the first process, so that a grant is good for as many uses as it says, wherever it is handed in. */
  #usedGrants(): UsedGrants {
    return {
      take: (key, maxUses, expiresAtMs) =>
        this.#link.ask('takeUse', { key, maxUses, expiresAtMs }).catch(() => 'unavailable'),
      close: async () => {},
    }
  }

  async #readFile(path: string): Promise<Buffer> {
    const bytes = this.#files.get(path)
    if (bytes !== undefined) return bytes
    throw Object.assign(new Error(`${path} was not handed to this worker`), { code: 'ENOENT' })
  }

  /** Until it is told, a connection that has ended is still counted. */
  #counted(): void {
    if (this.#isCountDue) return
    this.#isCountDue = true
    systemClock.after(COUNT_MS, () => {
      if (this.#isCountDue) this.#tellCounts()
    })
  }

  #tellCounts(): void {
    this.#isCountDue = false
    const { connections, unauthenticated, established } = this.#app
    this.#link.tell('counts', { connections, unauthenticated, established, taken: this.#taken })
  }

  /** Whole lines, which the first process writes: parts of two workers' lines must not mix. */
  #output(): Writable {
    return new Writable({
      write: (bytes: Buffer, _encoding, done) => {
        this.#link.ask('output', bytes).then(() => done(), done)
      },
    })
  }
}
