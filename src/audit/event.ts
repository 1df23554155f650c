// What one audit record says. The log adds seq, time, prev, hash, instance and policy version.
// Never a token, a password or payload bytes.

export type AuditAction =
  | 'connect'
  | 'will'
  | 'publish'
  | 'subscribe'
  | 'unsubscribe'
  | 'deliver'
  | 'release'
  | 'disconnect'
  | 'payload'
  | 'policy'
  | 'keys'
  | 'start'
  | 'stop'
  | 'gap'

/** Identity part of a record, made once per connection and not changed after (its bytes are kept). */
export interface AuditIdentity {
  agent?: { iss: string; sub: string; id: string }
  human?: { iss: string; sub: string; id: string; via: 'delegation' | 'owner' }
  tenant?: string
  token?: { iss: string; jti: string; sha256: string; kid?: string; exp: string }
  actors?: readonly { iss: string; sub: string }[]
  txn?: string
}

export interface AuditEvent {
  action: AuditAction
  decision: 'allow' | 'deny'
  /** Stable code: a verdict name, an authentication failure, a fault name, `ok`. */
  reason: string
  identity?: AuditIdentity | undefined
  /** Connection id (unique in the process), MQTT Client Identifier, peer address. One object per connection, not changed after. */
  connection?: { id: string; client_id?: string; peer?: string; listener?: string } | undefined
  /** Topic Name or Topic Filter and the flags that were decided on. */
  resource?:
    | {
        topic?: string
        filter?: string
        qos?: number
        retain?: boolean
        response_topic?: string
        /** Hex of the first 32 bytes of SHA-256 of Correlation Data. */
        correlation_sha256?: string
      }
    | undefined
  payload?: { length: number; sha256?: string } | undefined
  /** Deciding rule id per layer, such as { agent: 'own-card', user: 'may-post' }; for a denial the layer that denied. */
  rules?: Readonly<Record<string, string>> | undefined
  /** What was done: `forwarded`, `dropped`, `puback 0x87`, `connack 0x86`, `disconnect 0x87`, `closed` … */
  effect: string
  packet_id?: number | undefined
  /** Free words for a reason that needs them (file names, counts); never from a token. */
  detail?: string | undefined
  /** Only with action `gap`: what is missing at this place of the log. Written by the log itself (docs/audit-format.md). */
  gap?:
    | {
        /** Records that could not be written. */
        lost?: number
        /** Bytes of a record that a crash cut off, and their SHA-256. */
        torn_bytes?: number
        torn_sha256?: string
      }
    | undefined
}

/** What records of one connection about one topic have in common, in the log's own form; see `AuditSink.prepare`. */
export interface PreparedRecord {
  /** Canonical JSON up to where `hash` stands, from there to the value of `mono`, and from `reason` to that of `seq`. */
  readonly head: Uint8Array
  readonly identity: Uint8Array
  readonly reason: Uint8Array
}

/** The session's port to the audit log. */
export interface AuditSink {
  /**
   * false once a record could not be written (or too many wait) and the failure mode is `deny`: the caller must
   * then deny. Checked before an allow takes effect.
   */
  readonly accepting: boolean
  /** true while so much waits to be written that what makes records should wait too. Never while writing fails. */
  readonly congested: boolean
  /** Calls once, when `congested` has become false. */
  whenRoom(call: () => void): void
  append(event: AuditEvent): void
  /** @param event of an action on a packet, without `payload`, `packet_id`, `detail` and `gap` */
  prepare(event: AuditEvent): PreparedRecord
  /**
   * As `append` of the prepared event with these two added; its times are those of the last `tick`.
   *
   * @param payloadSha256 hex
   * @param packetId 0: none
   */
  appendPrepared(
    record: PreparedRecord,
    payloadLength: number,
    payloadSha256: string | undefined,
    packetId: number,
  ): void
  /** Reads the clock for the prepared records that follow: once per chunk. */
  tick(): void
}
