// What a session is given by the layers around it. The session itself opens no socket and no file.

import type { TlsEvidence } from '../identity/confirmation.ts'

/** One TCP side, as the session sees it. Every method is safe to call after the side has closed. */
export interface Peer {
  /** Address for records, such as `127.0.0.1:53210`; `unix` for a Unix socket. */
  readonly name: string
  /** The same without the port: what attempts are counted by. */
  readonly host: string
  /** Bytes handed to `write` that the kernel has not taken yet. */
  readonly backlog: number
  /** What the TLS connection shows; undefined without TLS. */
  readonly tls?: TlsEvidence | undefined
  /** Queues bytes. They are not copied: the caller must not change them afterwards. */
  write(bytes: Buffer): void
  cork(): void
  uncork(): void
  pause(): void
  resume(): void
  /** Sends what is queued, then FIN; goes on reading. */
  finish(): void
  /** Sends what is queued, then FIN; what still arrives is thrown away. */
  end(): void
  /** Closes at once; queued bytes may be lost. */
  destroy(): void
}

/** What a side tells the session. */
export interface PeerEvents {
  /**
   * The chunk is lent until the call returns: what is kept longer is copied. What was written to a Peer by then stays as
   * it is until the kernel has taken it.
   */
  onBytes(chunk: Buffer): void
  /** The backlog is empty again. */
  onDrain(): void
  /** The other end sends no more (FIN); it may still read. Called once, if at all. */
  onFin(): void
  /** The connection is gone (both FIN, or RST), or failed. Called once. */
  onClose(): void
  /** One of the others threw, by a mistake of ours: this connection ends, and no other. */
  onPanic(error: unknown): void
}

/**
 * Opens the connection to the broker; rejects with a PosternError.
 *
 * @param client `Peer.name` of the agent it is for
 */
export type Dial = (events: PeerEvents, client: string) => Promise<Peer>

/** The server side before there is one: nothing reaches the broker ahead of admission. */
export const NOWHERE: Peer = {
  name: '',
  host: '',
  backlog: 0,
  write: () => {},
  cork: () => {},
  uncork: () => {},
  pause: () => {},
  resume: () => {},
  finish: () => {},
  end: () => {},
  destroy: () => {},
}
