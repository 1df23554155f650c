// What the first process and its workers say to one another. Plain data only.

import type { Take } from '../grants/used-grants.ts'
import type { Mark } from '../revocation/marks.ts'
import type { Cut, CutResult, ListResult, RosterContent, Taken } from '../revocation/roster.ts'
import type { Selector } from '../revocation/selector.ts'
import type { Sight } from '../revocation/service.ts'
import type { SharedPorts } from '../roles.ts'
import type { Elsewhere } from '../session/registry.ts'
import type { Claim, Remembered } from '../session/session-memory.ts'
import type { Snapshot } from '../telemetry/metrics.ts'

/** What a worker begins with. */
export interface Start {
  /** The configuration of this worker as JSON. */
  config: string
  version: string
  /** Such as `w1`. */
  name: string
  files: FileContent[]
  roster: RosterContent
  sight: Sight
  ticketKeys: Buffer
  /** Empty: `listen` follows. */
  ports: SharedPorts
}

export type FileContent = [path: string, bytes: Buffer]

export interface Counts extends Elsewhere {
  /** Those that the broker has accepted. */
  established: number
}

/** From the first process to a worker. */
export type ToWorker = {
  start: { ask: Start; answer: undefined }
  /** Accepts by itself from now on. */
  listen: { ask: SharedPorts; answer: undefined }
  /** With a socket. */
  connection: { ask: { listener: number; elsewhere: Elsewhere }; answer: undefined }
  /** What all other workers hold. */
  elsewhere: { ask: Elsewhere; answer: undefined }
  /** `recorded`: what was cut is in the worker's audit log, on disk. */
  cut: { ask: Cut; answer: CutResult & { recorded: boolean } }
  takeIn: { ask: Mark; answer: Taken }
  widen: { ask: { selector: Selector; beforeMs: number; atMs: number }; answer: number }
  list: { ask: readonly Selector[]; answer: ListResult }
  sight: { ask: Sight; answer: undefined }
  reload: { ask: { part: number; files: FileContent[] }; answer: undefined }
  failedTry: { ask: string; answer: undefined }
  /** What is remembered of the session of this Client Identifier. */
  look: { ask: string; answer: Remembered | undefined }
  /** The session of this Client Identifier goes on at another worker. */
  moved: { ask: string; answer: undefined }
  health: { ask: undefined; answer: true | string }
  metrics: { ask: undefined; answer: Snapshot }
  /** Ends all sessions within so many milliseconds, closes the audit log, and ends. */
  drain: { ask: number; answer: undefined }
}

/** From a worker to the first process. */
export type ToFirst = {
  /** `taken`: connections that were handed to it so far. */
  counts: { ask: Counts & { taken: number }; answer: undefined }
  failedTry: { ask: string; answer: undefined }
  /** As Memory.claim; `release` must follow unless it is busy or full. */
  claim: { ask: { clientId: string; owner: string }; answer: Claim }
  release: { ask: { clientId: string; owner: string }; answer: undefined }
  /** What is remembered of a session. `yours`: the asking worker has its latest connection. */
  recall: { ask: string; answer: Remembered | 'yours' | undefined }
  /** A release at the same time. */
  opened: { ask: { clientId: string; owner: string }; answer: undefined }
  /** undefined: the session ended with its connection. */
  closed: { ask: { clientId: string; remembered: Remembered | undefined }; answer: undefined }
  /** As UsedGrants. */
  takeUse: { ask: { key: string; maxUses: number; expiresAtMs: number }; answer: Take }
  /** For standard output. */
  output: { ask: Buffer; answer: undefined }
}
