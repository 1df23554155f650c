// A record as a syslog message, RFC 5424: the text is the line itself. Pure.

import type { WrittenRecord } from './record.ts'

/** `log audit`, §6.2.1; severities informational and warning. */
const FACILITY = 13
const SEVERITY = { allow: 6, deny: 4 } as const

/**
 * `<PRI>1 TIME HOST APP PROCID MSGID SD TEXT` of each line.
 *
 * @param instance stands for the name of the host: it names this Postern, as in the records
 */
export function syslogMessages(lines: Buffer, instance: string): Buffer[] {
  const host = instance.replace(/[^!-~]/g, '').slice(0, 255) || '-'
  return lines
    .toString()
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => messageOf(line, host))
}

function messageOf(line: string, host: string): Buffer {
  const record = JSON.parse(line) as WrittenRecord
  // What is in a batch was allowed.
  const { decision, action } =
    record.action === undefined ? { decision: 'allow' as const, action: '-' } : record
  const priority = FACILITY * 8 + SEVERITY[decision]
  return Buffer.from(`<${priority}>1 ${record.time} ${host} postern - ${action} - ${line}`)
}
