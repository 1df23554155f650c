// An audit sink that keeps events in memory, for tests of the layers above.
import type { AuditEvent, AuditSink, DigestPort, PreparedRecord } from '../../src/audit/event.ts'

export class RecordingAudit implements AuditSink {
  accepting = true
  congested = false
  #waiting: (() => void)[] = []
  /** What `commit` answers. */
  commits = true
  readonly events: AuditEvent[] = []

  whenRoom(call: () => void): void {
    this.#waiting.push(call)
  }

  /** The disk has caught up. */
  makeRoom(): void {
    this.congested = false
    for (const call of this.#waiting.splice(0)) call()
  }

  prepare(event: AuditEvent, digest: DigestPort['name'] | undefined): PreparedRecord {
    const nothing = new Uint8Array()
    return {
      event,
      digest,
      head: nothing,
      identity: nothing,
      reason: nothing,
      model: { epoch: 0, number: 0, as: nothing },
      end: nothing,
    }
  }

  count(): boolean {
    return false
  }

  appendPrepared({ event, digest: name }: PreparedRecord, length: number, digest: string, id: number): void {
    const payload = name === undefined ? { length } : { length, [name]: digest }
    this.append({ ...event, payload, packet_id: id > 0 ? id : undefined })
  }

  tick(): void {}

  append(event: AuditEvent): void {
    this.events.push(event)
  }

  commit(): boolean {
    return this.commits
  }
}
