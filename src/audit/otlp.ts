// Copies records to an OpenTelemetry collector: OTLP/HTTP in its JSON encoding, one log record for each record, whose
// body is the line itself. https://opentelemetry.io/docs/specs/otlp/#otlphttp

import { request } from 'undici'
import { PosternError } from '../errors.ts'
import { Models } from './models.ts'
import type { AuditRecord, WrittenRecord } from './record.ts'
import type { CopyPlace } from './record-copies.ts'

const TIMEOUT_MS = 10_000
/** SeverityNumber INFO and WARN. */
const SEVERITY = { allow: [9, 'INFO'], deny: [13, 'WARN'] } as const

/** @param url the logs endpoint, such as `http://127.0.0.1:4318/v1/logs` */
export function otlpCopy(url: string, instance: string): CopyPlace {
  const models = new Models()
  return {
    name: 'otlp',
    async send(lines) {
      const answer = await request(url, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(otlpLogs(lines, instance, models)),
        headersTimeout: TIMEOUT_MS,
        bodyTimeout: TIMEOUT_MS,
      })
      await answer.body.dump({ limit: 64 * 1024 })
      if (answer.statusCode < 200 || answer.statusCode > 299) {
        throw new PosternError('ERR_AUDIT_EXPORT', 'internal', `the collector answered ${answer.statusCode}`)
      }
    },
  }
}

/** The ExportLogsServiceRequest for these lines. @param models of the lines before */
export function otlpLogs(lines: Buffer, instance: string, models = new Models()): object {
  const logRecords = lines
    .toString()
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => logRecord(line, models))
  const resource = { attributes: [text('service.name', 'postern'), text('service.instance.id', instance)] }
  return { resourceLogs: [{ resource, scopeLogs: [{ scope: { name: 'postern.audit' }, logRecords }] }] }
}

function logRecord(line: string, models: Models): object {
  const written = JSON.parse(line) as WrittenRecord
  // Of a short record whose model is not known, because it was lost, more than its place is not said.
  const record: Partial<AuditRecord> = models.whole(written) ?? { reason: 'allow' }
  const { identity, traceparent, action = 'publish', decision = 'allow', reason = '' } = record
  const [severityNumber, severityText] = SEVERITY[decision]
  const trace = traceparent?.split('-')
  return {
    timeUnixNano: `${Date.parse(written.time)}000000`,
    severityNumber,
    severityText,
    eventName: 'postern.audit',
    body: { stringValue: line },
    attributes: [
      { key: 'postern.seq', value: { intValue: String(written.seq) } },
      text('postern.action', action),
      text('postern.decision', decision),
      text('postern.reason', reason),
      ...(identity?.agent === undefined ? [] : [text('postern.agent', identity.agent.id)]),
      ...(identity?.human === undefined ? [] : [text('postern.human', identity.human.id)]),
    ],
    ...(trace === undefined ? {} : { traceId: trace[1], spanId: trace[2] }),
  }
}

function text(key: string, stringValue: string): object {
  return { key, value: { stringValue } }
}
