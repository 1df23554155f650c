// What one audit record says. The log adds seq, time, prev, hash, instance and policy version.
// Never a token, a password or payload bytes.

export const AUDIT_ACTIONS = [
  ...([
    'connect',
    'will',
    'publish',
    'subscribe',
    'unsubscribe',
    'deliver',
    'release',
    'disconnect',
  ] as const),
  ...([
    'renew',
    'grant',
    'revoke',
    'payload',
    'policy',
    'keys',
    'revocation',
    'tls',
    'start',
    'stop',
    'gap',
  ] as const),
  /** A token that was issued, or not, by `postern sts`. */
  'token',
  /** First record of a file that continues another one. */
  'segment',
  /** From here on another key signs the checkpoints. */
  'signer',
  /** From here on another key makes the keyed digests. */
  'digest_key',
] as const

export type AuditAction = (typeof AUDIT_ACTIONS)[number]

/** Identity part of a record, made once per connection and not changed after (its bytes are kept). */
export interface AuditIdentity {
  agent?: { iss: string; sub: string; id: string }
  human?: { iss: string; sub: string; id: string; via: 'delegation' | 'owner' }
  tenant?: string
  token?: { iss: string; jti: string; sha256: string; kid?: string; exp: string }
  actors?: readonly { iss: string; sub: string }[]
  txn?: string
}

/** Effect of a denial that shadow mode let through. */
export const SHADOWED = 'shadowed'

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
        /** Hex digest of Correlation Data; keyed or plain as `payload`. */
        correlation_sha256?: string
        correlation_hmac_sha256?: string
      }
    | undefined
  /** Hex digest: SHA-256, or HMAC-SHA-256 under the digest key. */
  payload?: { length: number; sha256?: string; hmac_sha256?: string } | undefined
  /** Deciding rule id per layer, such as { agent: 'own-card', user: 'may-post' }; for a denial the layer that denied. */
  rules?: Readonly<Record<string, string>> | undefined
  /** What was done: `forwarded`, `dropped`, `puback 0x87`, `connack 0x86`, `disconnect 0x87`, `closed`, SHADOWED … */
  effect: string
  packet_id?: number | undefined
  /**
   * The just-in-time grant that an action used, or that was handed in (action `grant`): what it allows and who has
   * approved; of one that was refused, as far as its signature held.
   */
  grant?:
    | {
        iss: string
        jti: string
        sha256?: string
        action?: string
        topic?: string
        exp?: string
        approver?: { iss: string; sub: string }
      }
    | undefined
  /** Free words for a reason that needs them (file names, counts); never from a token. */
  detail?: string | undefined
  /**
   * With action `revoke`: who is meant, by which way in, and the security event it came as; with the `disconnect` of each
   * connection that was cut the same without who is meant. With `token`: for what it was asked.
   */
  cause?: { source: string; [member: string]: unknown } | undefined
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
  /** This record stands for `count` identical actions (repeat-counter.ts); times are UTC, `bytes` their payloads together. */
  repeated?: { count: number; first: string; last: string; bytes: number } | undefined
  /**
   * Only with action `segment`: number of this file in the chain from 1, the oldest number that retention keeps, and,
   * where checkpoints are made, the Merkle tree over all records before this one, as hex hashes of its perfect
   * subtrees, the largest first.
   */
  segment?: { number: number; oldest: number; tree?: readonly string[] } | undefined
  /** With `signer` and `segment`: the verification key of the checkpoints, in the form of C2SP signed notes. */
  signer?: string | undefined
  /** W3C Trace Context of the PUBLISH, from its User Property. */
  traceparent?: string | undefined
}

/** What records of one connection about one topic have in common, in the log's own form; see `AuditSink.prepare`. */
export interface PreparedRecord {
  readonly event: AuditEvent
  /** Where the sink that counts repeated actions counts this one. */
  kind?: object | undefined
  /** Canonical JSON up to where `hash` stands, then to the value of `mono`, from `reason` to that of `seq`, the end. */
  readonly head: Uint8Array
  readonly identity: Uint8Array
  readonly reason: Uint8Array
  readonly end: Uint8Array
  /** Member that holds the digest of the payload; undefined: none does. */
  readonly digest: DigestPort['name'] | undefined
  /** The last whole record of this form, if the file has one: `as` begins the entries of batches that refer to it. */
  readonly model: { epoch: number; number: number; as: Uint8Array }
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
  /**
   * @param event of an action on a packet, without `payload`, `packet_id`, `detail`, `repeated` and the log's own
   * @param digest how the payloads are digested; undefined: they are not
   */
  prepare(event: AuditEvent, digest: DigestPort['name'] | undefined): PreparedRecord
  /**
   * Adds actions to a sum, when so many of their kind have a record already that they need not have one; their time is
   * that of the last `tick`.
   *
   * @param payloadBytes of all of them
   * @param times 0: only asks
   * @returns false: none is counted, and each needs `appendPrepared`
   */
  count(record: PreparedRecord, payloadBytes: number, times: number): boolean
  /**
   * As `append` of the prepared event with these added; its times are those of the last `tick`.
   *
   * @param digest of the payload, hex; empty without one
   * @param packetId 0: none
   */
  appendPrepared(record: PreparedRecord, payloadLength: number, digest: string, packetId: number): void
  /** What is recorded from now on is of another time: once per chunk. */
  tick(): void
  /**
   * Called before what was allowed leaves. With `write-ahead`: returns when every record so far is on disk.
   *
   * @returns false: they are not, and the failure mode is `deny`; nothing that was just allowed may leave
   */
  commit(): boolean
}

/** How payloads and Correlation Data are digested; `name` is the member of the record. All results are hex. */
export interface DigestPort {
  readonly name: 'sha256' | 'hmac_sha256'
  of(bytes: Buffer): string
  begin(): RunningDigest
}

/** Of a payload that arrives in pieces. */
export interface RunningDigest {
  update(bytes: Buffer): unknown
  digest(encoding: 'hex'): string
}
