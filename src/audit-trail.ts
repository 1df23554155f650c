// Puts the audit trail together: the log, counting of repeats, checkpoints and where they go, copies of the records,
// and the digests. Owns the order in which they end.

import type { Writable } from 'node:stream'
import { AuditKeys } from './audit/audit-keys.ts'
import { AuditLog } from './audit/audit-log.ts'
import { checkpointFile, lastCheckpoint } from './audit/checkpoint-file.ts'
import { checkpointHook } from './audit/checkpoint-hook.ts'
import { Checkpointer, type CheckpointPlace } from './audit/checkpointer.ts'
import type { AuditEvent, AuditSink, DigestPort, PreparedRecord } from './audit/event.ts'
import type { AuditLogOptions } from './audit/log-options.ts'
import { otlpCopy } from './audit/otlp.ts'
import { type CopyPlace, RecordCopy } from './audit/record-copies.ts'
import { RepeatCounter } from './audit/repeat-counter.ts'
import type { Checkpoint, NoteSigner } from './audit/signed-note.ts'
import {
  checkpointsToOutput,
  recordsToOutput,
  STANDARD_OUTPUT,
  standardOutputLog,
} from './audit/standard-output.ts'
import { syslogMessages } from './audit/syslog-message.ts'
import type { Clock } from './clock.ts'
import type { Config } from './config/config.ts'
import { BrokerPublisher } from './net/broker-publisher.ts'
import { syslogSender } from './net/syslog-sender.ts'
import type { UpstreamTls } from './net/upstream-tls.ts'
import type { Catalogue } from './telemetry/catalogue.ts'
import type { Logger } from './telemetry/logger.ts'
import { slotOf, type Tally } from './telemetry/tally.ts'

export interface AuditTrailParts {
  clock: Clock
  /** Loaded, for `upstream.tls`. */
  tls: UpstreamTls | undefined
  logger: Logger
  tally: Tally
  catalogue: Catalogue
  /** Standard output. */
  output: Writable
  /** Names one chain of several that one key signs; undefined: there is one. */
  chain?: string | undefined
}

export class AuditTrail implements AuditSink {
  readonly keys: AuditKeys
  readonly #config: Config
  readonly #parts: AuditTrailParts
  readonly #publisher: BrokerPublisher
  #log!: AuditLog
  #sink!: AuditSink
  #repeats: RepeatCounter | undefined
  #checkpointer: Checkpointer | undefined
  #copies: RecordCopy[] = []

  /** @throws PosternError of the part that cannot be opened */
  static async open(config: Config, policy: string, parts: AuditTrailParts): Promise<AuditTrail> {
    const trail = new AuditTrail(config, parts)
    await trail.#open(policy)
    return trail
  }

  private constructor(config: Config, parts: AuditTrailParts) {
    this.#config = config
    this.#parts = parts
    const clientId = `postern-audit-${config.instance}`
    const { clock, tls } = parts
    this.#publisher = new BrokerPublisher({ upstream: config.upstream, tls, clientId, clock })
    this.keys = new AuditKeys(config.audit)
  }

  get accepting(): boolean {
    return this.#log.accepting
  }

  get congested(): boolean {
    return this.#log.congested
  }

  whenRoom(call: () => void): void {
    this.#log.whenRoom(call)
  }

  get pendingBytes(): number {
    return this.#log.pendingBytes
  }

  /** Version that the following records carry. Counts of what went before become records under the former one. */
  set policy(version: string) {
    this.#repeats?.flush()
    this.#log.policy = version
  }

  append(event: AuditEvent): void {
    this.#sink.append(event)
  }

  prepare(event: AuditEvent, digest: DigestPort['name'] | undefined): PreparedRecord {
    return this.#sink.prepare(event, digest)
  }

  count(record: PreparedRecord, payloadBytes: number, times: number): boolean {
    return this.#sink.count(record, payloadBytes, times)
  }

  appendPrepared(record: PreparedRecord, length: number, digest: string, packetId: number): void {
    this.#sink.appendPrepared(record, length, digest, packetId)
  }

  tick(): void {
    this.#sink.tick()
  }

  commit(): boolean {
    return this.#sink.commit()
  }

  /**
   * Reads the keys again and says so in the chain where they changed. What was signed and digested before stays as it
   * is: connections keep the name that they gave their human.
   *
   * @throws PosternError `ERR_AUDIT_KEY`; the former keys stay in force
   */
  async reloadKeys(): Promise<void> {
    const changed = this.keys.reload()
    if (changed.digest) this.#sink.append(this.keys.digestKeyEvent('key_changed')!)
    if (!changed.signer) return
    const signer = this.keys.signer!
    // The former key vouches for everything before.
    await this.#checkpointer!.make()
    this.#log.useSigner(signer.text)
    this.#checkpointer!.useSigner(signer)
  }

  /** Resolves when every record so far is on disk. */
  flush(): Promise<void> {
    this.#repeats?.flush()
    return this.#log.flush()
  }

  /** Last counts, last checkpoint, last copies; then the file. */
  async close(): Promise<void> {
    this.#repeats?.flush()
    await this.#checkpointer?.close()
    try {
      await this.#log.close()
    } finally {
      await Promise.all(this.#copies.map((copy) => copy.close()))
      this.#publisher.close()
    }
  }

  async #open(policy: string): Promise<void> {
    const { audit } = this.#config
    const { clock } = this.#parts
    const { signer } = this.keys
    const last = signer && lastCheckpoint(audit.file, signer, this.#originOf(signer))
    this.#log = await this.#openLog(policy, signer, last)
    this.#sink = this.#log
    if (audit.repeats.rate > 0) {
      const flushOnCommit = audit.durability === 'write-ahead'
      this.#repeats = new RepeatCounter(this.#log, { clock, ...audit.repeats, flushOnCommit })
      this.#sink = this.#repeats
    }
    this.#copies = this.#copyPlaces().map((place) => this.#copyTo(place))
    if (signer !== undefined) this.#checkpointer = this.#makeCheckpoints(signer, last?.size ?? 0)
    const keyed = this.keys.digestKeyEvent('ok')
    if (keyed !== undefined) this.#log.append(keyed)
  }

  async #openLog(
    policy: string,
    signer: NoteSigner | undefined,
    last: Checkpoint | undefined,
  ): Promise<AuditLog> {
    const { audit, instance } = this.#config
    const { clock, logger, tally, catalogue } = this.#parts
    const { maxBytes, maxAge, keep, keepFor, compression } = audit.segments
    const options: AuditLogOptions = {
      ...{ clock, instance, policy, last, signer: signer?.text },
      durability: audit.durability,
      onFailure: audit.onFailure,
      flushInterval: audit.flushInterval,
      maxPending: audit.maxPending,
      short: areShort(audit),
      segments: { bytes: maxBytes, ageMs: maxAge, keep, keepForMs: keepFor, compression },
      observer: {
        written: (records, lines) => {
          tally.add(slotOf(catalogue.auditRecords, 'written'), records)
          for (const copy of this.#copies) copy.push(records, lines)
          this.#checkpointer?.written()
        },
        lost: (records) => tally.add(slotOf(catalogue.auditRecords, 'lost'), records),
        failed: (error) => {
          tally.add(catalogue.auditWriteErrors.first)
          logger.error({ err: error }, 'the audit log cannot be written')
        },
        recovered: () => logger.info({}, 'the audit log can be written again'),
        segmentFailed: (error) =>
          logger.error({ err: error }, 'a closed segment of the audit log cannot be compressed or removed'),
      },
    }
    if (audit.file !== STANDARD_OUTPUT) return AuditLog.open(audit.file, options)
    const { file, tail } = standardOutputLog(this.#parts.output)
    const endless = {
      bytes: Number.POSITIVE_INFINITY,
      ageMs: Number.POSITIVE_INFINITY,
      keep: 0,
      keepForMs: 0,
    }
    return new AuditLog(file, tail, { ...options, segments: endless })
  }

  #copyPlaces(): CopyPlace[] {
    const { audit, instance } = this.#config
    const { stdout, otlp, syslog, topic } = audit.copies
    const places: CopyPlace[] = []
    if (stdout) places.push(recordsToOutput(this.#parts.output))
    if (otlp !== undefined) places.push(otlpCopy(otlp, instance))
    if (syslog !== undefined) {
      const sender = syslogSender(syslog)
      const send = (lines: Buffer) => sender.send(syslogMessages(lines, instance))
      places.push({ name: 'syslog', send, close: async () => sender.close() })
    }
    if (topic !== undefined) {
      places.push({ name: 'topic', send: (lines) => this.#publishLines(topic, lines) })
    }
    return places
  }

  async #publishLines(topic: string, lines: Buffer): Promise<void> {
    const payloads = lines.toString().split('\n').slice(0, -1)
    await Promise.all(payloads.map((line) => this.#publisher.publish(topic, Buffer.from(line))))
  }

  #copyTo(place: CopyPlace): RecordCopy {
    const { clock, logger, tally, catalogue } = this.#parts
    const count = (result: 'sent' | 'lost') => (name: string, records: number) =>
      tally.add(slotOf(catalogue.auditCopies, name, result), records)
    return new RecordCopy(place, {
      clock,
      maxWaiting: this.#config.audit.maxPending,
      sent: count('sent'),
      lost: count('lost'),
      failed: (name, error) =>
        logger.warn({ place: name, err: error }, 'audit records cannot be copied; it is tried again'),
    })
  }

  /** Each chain is a log of its own. */
  readonly #originOf = ({ name }: NoteSigner): string => {
    const { chain } = this.#parts
    return chain === undefined ? name : `${name}/${chain}`
  }

  #makeCheckpoints(signer: NoteSigner, size: number): Checkpointer {
    const { audit } = this.#config
    const { clock, logger, tally, catalogue, output } = this.#parts
    const { stdout, url, topic, records, interval } = audit.checkpoints
    const places: CheckpointPlace[] = []
    if (audit.file !== STANDARD_OUTPUT) places.push(checkpointFile(audit.file))
    if (stdout) places.push(checkpointsToOutput(output))
    if (url !== undefined) places.push(checkpointHook(url))
    if (topic !== undefined) {
      const send = (note: string) => this.#publisher.publish(topic, Buffer.from(note), true)
      places.push({ name: 'topic', send })
    }
    return new Checkpointer(this.#log, size, {
      ...{ clock, signer, originOf: this.#originOf, records, interval, places },
      sent: (place) => tally.add(slotOf(catalogue.auditCheckpoints, place, 'ok')),
      failed: (place, error) => {
        tally.add(slotOf(catalogue.auditCheckpoints, place, 'failed'))
        logger.warn({ place, err: error }, 'a checkpoint could not be sent; it is tried again')
      },
    })
  }
}

/** Other programs want records that can be read one by one. */
function areShort({ records, file, copies }: Config['audit']): boolean {
  if (records !== 'auto') return records === 'short'
  const { stdout, otlp, syslog, topic } = copies
  return file !== STANDARD_OUTPUT && !stdout && [otlp, syslog, topic].every((place) => place === undefined)
}
