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
  const records = models.records(written)
  // Of a batch whose models are not known, because they were lost, more than its place is not said.
  const first: Partial<AuditRecord> = records[0] ?? { reason: 'allow' }
  const { action = 'publish', decision = 'allow', reason = '' } = first
  const [severityNumber, severityText] = SEVERITY[decision]
  const traces = [...new Set(records.map(({ traceparent }) => traceparent))]
  const trace = traces.length === 1 ? traces[0]?.split('-') : undefined
  return {
    timeUnixNano: `${Date.parse(written.time)}000000`,
    severityNumber,
    severityText,
    eventName: 'postern.audit',
    body: { stringValue: line },
    attributes: [
      integer('postern.seq', written.seq),
      ...(written.action === undefined ? [integer('postern.entries', written.batch.length)] : []),
      text('postern.action', action),
      text('postern.decision', decision),
      text('postern.reason', reason),
      ...texts(
        'postern.agent',
        records.map(({ identity }) => identity?.agent?.id),
      ),
      ...texts(
        'postern.human',
        records.map(({ identity }) => identity?.human?.id),
      ),
    ],
    ...(trace === undefined ? {} : { traceId: trace[1], spanId: trace[2] }),
  }
}

function text(key: string, stringValue: string): object {
  return { key, value: { stringValue } }
}

function integer(key: string, value: number): object {
  return { key, value: { intValue: String(value) } }
}

/** The different ones: a text, or a list of some. */
function texts(key: string, all: readonly (string | undefined)[]): object[] {
  const values = [...new Set(all)].filter((value) => value !== undefined)
  if (values.length < 2) return values.map((value) => text(key, value))
  return [{ key, value: { arrayValue: { values: values.map((stringValue) => ({ stringValue })) } } }]
}
