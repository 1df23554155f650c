// An audit sink that keeps events in memory, for tests of the layers above.
import type { AuditEvent, AuditSink } from '../../src/audit/event.ts'

export class RecordingAudit implements AuditSink {
  accepting = true
  congested = false
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

  append(event: AuditEvent): void {
    this.events.push(event)
  }
}
