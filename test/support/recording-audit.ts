// An audit sink that keeps events in memory, for tests of the layers above.
import type { AuditEvent, AuditSink } from '../../src/audit/event.ts'

export class RecordingAudit implements AuditSink {
  accepting = true
  /** What `commit` answers. */
  commits = true
  readonly events: AuditEvent[] = []

  append(event: AuditEvent): void {
    this.events.push(event)
  }

  commit(): boolean {
    return this.commits
  }
}
