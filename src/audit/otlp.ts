// Copies records to an OpenTelemetry collector: OTLP/HTTP in its JSON encoding, one log record for each record, whose
// body is the line itself. https://opentelemetry.io/docs/specs/otlp/#otlphttp

import { request } from 'undici'
import { PosternError } from '../errors.ts'
import type { AuditRecord } from './record.ts'
import type { CopyPlace } from './record-copies.ts'

const TIMEOUT_MS = 10_000
/** SeverityNumber INFO and WARN. */
const SEVERITY = { allow: [9, 'INFO'], deny: [13, 'WARN'] } as const

/** @param url the logs endpoint, such as `http://127.0.0.1:4318/v1/logs` */
export function otlpCopy(url: string, instance: string): CopyPlace {
  return {
    name: 'otlp',
    async send(lines) {
      const answer = await request(url, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(otlpLogs(lines, instance)),
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

/** The ExportLogsServiceRequest for these lines. */
export function otlpLogs(lines: Buffer, instance: string): object {
  const logRecords = lines
    .toString()
    .split('\n')
    .filter((line) => line !== '')
    .map(logRecord)
  const resource = { attributes: [text('service.name', 'postern'), text('service.instance.id', instance)] }
  return { resourceLogs: [{ resource, scopeLogs: [{ scope: { name: 'postern.audit' }, logRecords }] }] }
}

function logRecord(line: string): object {
  const record = JSON.parse(line) as AuditRecord
  const { identity, traceparent } = record
  const [severityNumber, severityText] = SEVERITY[record.decision]
  const trace = traceparent?.split('-')
  return {
    timeUnixNano: `${Date.parse(record.time)}000000`,
    severityNumber,
    severityText,
    eventName: 'postern.audit',
    body: { stringValue: line },
    attributes: [
      { key: 'postern.seq', value: { intValue: String(record.seq) } },
      text('postern.action', record.action),
      text('postern.decision', record.decision),
      text('postern.reason', record.reason),
      ...(identity?.agent === undefined ? [] : [text('postern.agent', identity.agent.id)]),
      ...(identity?.human === undefined ? [] : [text('postern.human', identity.human.id)]),
    ],
    ...(trace === undefined ? {} : { traceId: trace[1], spanId: trace[2] }),
  }
}

function text(key: string, stringValue: string): object {
  return { key, value: { stringValue } }
}
