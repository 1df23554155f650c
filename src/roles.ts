// What an app is given when it is one process of several: in the first, the workers that run its sessions; in a worker,
// what the first process provides. A single process has neither.

import type { Socket } from 'node:net'
import type { UsedGrants } from './grants/used-grants.ts'
import type { OtherRosters } from './revocation/revocations.ts'
import type { Roster } from './revocation/roster.ts'
import type { Sight } from './revocation/service.ts'
import type { Memory } from './session/session-memory.ts'
import type { Metrics } from './telemetry/metrics.ts'

/** Ports on which every worker accepts by itself, by the listener's place in the configuration; undefined: it does not. */
export type SharedPorts = readonly (number | undefined)[]

/** The workers, for the app of the first process. */
export interface Crew {
  readonly rosters: OtherRosters
  /** Connections of all workers. */
  readonly connections: number
  /** Workers that take connections. */
  readonly size: number
  /** Reads a file, and remembers it for `start` and `reloaded`. */
  readFile(path: string): Promise<Buffer>
  /**
   * Starts all workers with the files that were read.
   *
   * @throws PosternError of the first that cannot start
   */
  start(shared: Shared): Promise<void>
  /**
   * Lets all workers accept on these ports, also those that are started later.
   *
   * @throws PosternError ERR_LISTEN
   */
  listen(ports: SharedPorts): Promise<void>
  /** Hands a connection to the worker that has fewest. @param listener its place in the configuration */
  take(listener: number, socket: Socket): void
  /** Makes the files of this part, as they were read last, those in force. @param part its place among the reloadable */
  reloaded(part: number, files: readonly string[]): Promise<void>
  see(sight: Sight): void
  /** Asks all workers how they are, for `health`. */
  refresh(): Promise<void>
  /** true, or what is wrong with one that is not ready, as of the last `refresh`. */
  readonly health: true | string
  /** Those of this process and of all workers as one. */
  metricsWith(own: Metrics): Pick<Metrics, 'contentType' | 'render'>
  /** Ends all sessions within this time, then the workers. @throws PosternError when audit records were lost */
  drain(withinMs: number): Promise<void>
  /** Ends all workers now. Idempotent. */
  close(): Promise<void>
}

/** What the workers share, and the first process has. */
export interface Shared {
  roster: Roster
  sight: Sight
  /** undefined: no grants are taken. */
  usedGrants: UsedGrants | undefined
  /** A worker has ended unasked, and is started again. */
  onExit(): void
}

/** What a worker is given. */
export interface Station {
  /** Its name in audit records and log lines, such as `w1`. */
  readonly name: string
  readonly roster: Roster
  readonly memory: Memory
  readonly usedGrants: UsedGrants
  /** Secret of TLS session tickets. */
  readonly ticketKeys: Buffer
  /** The files in force. */
  readFile(path: string): Promise<Buffer>
  /** As for Authenticator. */
  onFailedTry(key: string): void
  /** As in SessionContext. */
  counted(): void
}
