// An audit sink that keeps events in memory, for tests of the layers above.
import type { AuditEvent, AuditSink, PreparedRecord } from '../../src/audit/event.ts'

export class RecordingAudit implements AuditSink {
  accepting = true
  congested = false
  readonly #prepared = new Map<PreparedRecord, AuditEvent>()
  #waiting: (() => void)[] = []
  readonly events: AuditEvent[] = []

  whenRoom(call: () => void): void {
    this.#waiting.push(call)
  }

  /** The disk has caught up. */
  makeRoom(): void {
    this.congested = false
    for (const call of this.#waiting.splice(0)) call()
  }

  prepare(event: AuditEvent): PreparedRecord {
    const nothing = new Uint8Array()
    const record = { head: nothing, identity: nothing, reason: nothing }
    this.#prepared.set(record, event)
    return record
  }

  appendPrepared(record: PreparedRecord, length: number, sha256: string | undefined, packetId: number): void {
    this.append({
      ...this.#prepared.get(record)!,
      payload: sha256 === undefined ? { length } : { length, sha256 },
      packet_id: packetId > 0 ? packetId : undefined,
    })
  }

  tick(): void {}

  append(event: AuditEvent): void {
    this.events.push(event)
  }
}
