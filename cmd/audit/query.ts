// `postern audit query`, `show`, `tail` and `export`: records for people and for other programs. None of them verifies.

import { once } from 'node:events'
import { unwatchFile, watchFile } from 'node:fs'
import { Command, InvalidArgumentError, Option } from 'commander'
import { formatRecord } from '../../src/audit/format.ts'
import { Models, missingFrom } from '../../src/audit/models.ts'
import type { AuditRecord } from '../../src/audit/record.ts'
import { readRecord } from '../../src/audit/record-reader.ts'
import { systemClock } from '../../src/clock.ts'
import { AgentAuditTrail } from '../../src/evidence/agent-audit-trail.ts'
import { chainsOf } from '../../src/evidence/chains.ts'
import { ecsDocument } from '../../src/evidence/ecs.ts'
import { csvHeader, csvRow, jsonLine, table } from '../../src/evidence/listing.ts'
import { linesOf } from '../../src/evidence/log-files.ts'
import { ocsfEvent } from '../../src/evidence/ocsf.ts'
import { isSelected, type Selection, select } from '../../src/evidence/selection.ts'
import { FollowedLogs } from './followed-logs.ts'
import { addSelection, LeftOut, type SelectionOptions, selectionOf, unreadable } from './options.ts'

const EXIT_CODES = 'Exit codes: 0 printed, 2 a file cannot be read, 64 wrong usage.'

const SHOW_HELP = `
${EXIT_CODES}

Example:
  postern audit show --last 20 audit.jsonl`

const QUERY_HELP = `
FILE stands for its closed segments and for the logs of workers (FILE.w1 and so on) too. Nothing is verified: see
'postern audit verify'.

${EXIT_CODES}

Examples:
  postern audit query --human alice audit.jsonl
  postern audit query --topic 'plant/+/valve/#' --decision deny --since 7d audit.jsonl
  postern audit query --agent scout --format csv audit.jsonl > scout.csv`

const TAIL_HELP = `
Follows the log, and the logs of workers beside it, through rotation until it is interrupted.

Exit codes: 0 interrupted, 2 the file cannot be read, 64 wrong usage.

Example:
  postern audit tail --decision deny audit.jsonl`

const EXPORT_HELP = `
  ocsf               OCSF 1.5.0, class API Activity, one event in a line
  ecs                Elastic Common Schema 9.4.0, one document in a line
  agent-audit-trail  draft-sharif-agent-audit-trail, one record in a line, a chain for each connection

${EXIT_CODES}

Example:
  postern audit export --format ocsf --since 24h audit.jsonl > events.jsonl`

/** Polling, because the log may lie on a file system without events. */
const POLL_MS = 200

export function queryCommand(): Command {
  const command = new Command('query')
    .description('find records: by human, agent, topic, decision, action, time')
    .argument('<file...>', 'audit logs, oldest first')
    .addOption(
      new Option('--format <format>', 'how to print').choices(['table', 'jsonl', 'csv']).default('table'),
    )
    .addHelpText('after', QUERY_HELP)
    .action(async (files: string[], options: SelectionOptions & { format: string }) => {
      process.exitCode = await reading(files, () => query(files, selectionOf(options), options.format))
    })
  return addSelection(command)
}

export function exportCommand(): Command {
  const command = new Command('export')
    .description('convert records to other formats')
    .argument('<file...>', 'audit logs, oldest first')
    .addOption(
      new Option('--format <format>', 'target')
        .choices(['ocsf', 'ecs', 'agent-audit-trail'])
        .makeOptionMandatory(),
    )
    .addHelpText('after', EXPORT_HELP)
    .action(async (files: string[], options: SelectionOptions & { format: ExportFormat }) => {
      process.exitCode = await reading(files, () =>
        exportRecords(files, selectionOf(options), options.format),
      )
    })
  return addSelection(command)
}

export function showCommand(): Command {
  return new Command('show')
    .description('print an audit log for people, one line per record; does not verify it')
    .argument('<file>', 'audit log')
    .option('--last <n>', 'only the last n records', parseCount)
    .addHelpText('after', SHOW_HELP)
    .action(async (file: string, options: { last?: number }) => {
      process.exitCode = await reading([file], () => show(file, options.last))
    })
}

export function tailCommand(): Command {
  const command = new Command('tail')
    .description('print the last records, then every new one, for people')
    .argument('<file>', 'audit log')
    .option('-n, --last <n>', 'records to begin with', parseCount, 10)
    .addHelpText('after', TAIL_HELP)
    .action(async (file: string, options: SelectionOptions & { last: number }) => {
      process.exitCode = await reading([file], () => tail(file, selectionOf(options), options.last))
    })
  return addSelection(command)
}

async function reading(files: readonly string[], work: () => Promise<void>): Promise<number> {
  try {
    await work()
    return 0
  } catch (error) {
    const { code, path } = error as NodeJS.ErrnoException
    if (code === undefined) throw error
    if (code === 'EPIPE') return 0
    return unreadable(path ?? files.join(', '), error)
  }
}

type ExportFormat = keyof typeof FORMATS | 'agent-audit-trail'

async function query(files: readonly string[], selection: Selection, format: string): Promise<void> {
  if (format === 'csv') await print(csvHeader())
  const found = []
  const leftOut = new LeftOut()
  for await (const record of select(chainsOf(files), selection, leftOut.add)) {
    if (format === 'jsonl') await print(jsonLine(record))
    else if (format === 'csv') await print(csvRow(record))
    else found.push(record)
  }
  for (const row of table(found)) await print(row)
  if (format === 'table') process.stderr.write(`${found.length} record(s)\n`)
  leftOut.tell()
}

const FORMATS = { ocsf: ocsfEvent, ecs: ecsDocument }

async function exportRecords(
  files: readonly string[],
  selection: Selection,
  format: ExportFormat,
): Promise<void> {
  const trail = new AgentAuditTrail()
  const leftOut = new LeftOut()
  for await (const record of select(chainsOf(files), selection, leftOut.add)) {
    const line = format === 'agent-audit-trail' ? trail.line(record) : JSON.stringify(FORMATS[format](record))
    if (line !== undefined) await print(line)
  }
  leftOut.tell()
}

async function show(file: string, last: number | undefined): Promise<void> {
  const kept: string[] = []
  const models = new Models()
  for await (const line of linesOf(file)) {
    for (const text of describe(line, models)) {
      if (last === undefined) await print(text)
      else if (kept.push(text) > last) kept.shift()
    }
  }
  for (const text of kept) await print(text)
}

function describe(line: Buffer, models: Models): string[] {
  const written = readRecord(line)
  if (typeof written === 'string') return [`(${line.length} bytes that are no intact record)`]
  const records = models.records(written)
  const missing = missingFrom(records, written)
  const note = `(record ${written.seq}: ${missing} more, like records that are not here)`
  return [...records.map(formatRecord), ...(missing === 0 ? [] : [note])]
}

async function print(line: string): Promise<void> {
  if (!process.stdout.write(`${line}\n`)) await once(process.stdout, 'drain')
}

async function tail(file: string, selection: Selection, last: number): Promise<void> {
  const colour = process.stdout.isTTY && !process.env['NO_COLOR']
  const shown = (record: AuditRecord): string => {
    const text = formatRecord(record)
    return colour && record.decision === 'deny' ? `\u001b[31m${text}\u001b[0m` : text
  }
  const logs = new FollowedLogs(file)
  // Before anything is printed: who has seen a line may already want no more.
  const ended = new Promise<void>((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, resolve)
    process.stdout.once('error', resolve)
  })
  const earlier = logs.readOn().filter((record) => isSelected(record, selection))
  for (const record of earlier.slice(-last)) process.stdout.write(`${shown(record)}\n`)
  const leftOut = new LeftOut()
  leftOut.add(logs.takeMissing())
  leftOut.tell()
  const again = (): void => {
    for (const record of logs.readOn()) {
      if (isSelected(record, selection)) process.stdout.write(`${shown(record)}\n`)
    }
    leftOut.add(logs.takeMissing())
    leftOut.tell()
    systemClock.after(POLL_MS, again)
  }
  again()
  // Keeps the process alive; what changed before it looked for the first time it would miss.
  watchFile(file, { interval: POLL_MS }, () => {})
  await ended
  unwatchFile(file)
  logs.close()
}

function parseCount(text: string): number {
  if (!/^[1-9]\d{0,8}$/.test(text)) throw new InvalidArgumentError('Write a number from 1 up.')
  return Number(text)
}
