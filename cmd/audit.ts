// `postern audit`: proves audit logs offline and prints them for people. Owns arguments, output and exit codes only.

import { once } from 'node:events'
import { createReadStream } from 'node:fs'
import { Command, InvalidArgumentError } from 'commander'
import { formatRecord } from '../src/audit/format.ts'
import { type ChainReport, ChainVerifier } from '../src/audit/hash-chain.ts'
import { type ChainHead, MAX_RECORD_BYTES } from '../src/audit/record.ts'
import { readRecord } from '../src/audit/record-reader.ts'
import { EXIT } from './exit.ts'

const EXIT_UNREADABLE = 2
/** A line on standard error for each so many bytes. */
const PROGRESS_BYTES = 256 * 1024 * 1024
const READ_BYTES = 256 * 1024

const EXIT_CODES = `
Exit codes:
  0   every file is good
  1   a chain is bad; the first bad record is named
  2   a file cannot be read
  64  wrong usage`

const VERIFY_HELP = `${EXIT_CODES}

Examples:
  postern audit verify audit.jsonl
  postern audit verify audit-2026-10.jsonl audit-2026-11.jsonl
  postern audit verify --known 1200:5f0c…(64 hex digits) audit.jsonl`

const SHOW_HELP = `
Exit codes: 0 printed, 2 the file cannot be read, 64 wrong usage.

Example:
  postern audit show --last 20 audit.jsonl`

const HELP = `
Examples:
  postern audit verify audit.jsonl
  postern audit show --last 20 audit.jsonl`

/** The subcommands `verify` and `show`. */
export function auditCommand(): Command {
  const audit = new Command('audit').description('verify and show audit logs')
  audit.addHelpText('after', HELP)
  audit.exitOverride((error) => process.exit(error.exitCode === 0 ? 0 : EXIT.USAGE))
  audit
    .command('verify')
    .description('prove the hash chain of audit logs, or name the first bad record')
    .argument('<file...>', 'audit logs, oldest first')
    .option('--partial', 'accept a first file that begins in the middle of a chain')
    .option(
      '--known <seq:hash>',
      'a record that the last file must hold; finds a tail that was cut off',
      parseHead,
    )
    .addHelpText('after', VERIFY_HELP)
    .action(async (files: string[], options: VerifyOptions) => {
      process.exitCode = await verifyFiles(files, options)
    })
  audit
    .command('show')
    .description('print an audit log for people, one line per record; does not verify it')
    .argument('<file>', 'audit log')
    .option('--last <n>', 'only the last n records', parseCount)
    .addHelpText('after', SHOW_HELP)
    .action(async (file: string, options: { last?: number }) => {
      process.exitCode = await showFile(file, options.last)
    })
  return audit
}

interface VerifyOptions {
  partial?: boolean
  known?: ChainHead
}

async function verifyFiles(files: readonly string[], options: VerifyOptions): Promise<number> {
  let code = 0
  let before: ChainHead | undefined
  for (const [i, file] of files.entries()) {
    const known = i === files.length - 1 ? options.known : undefined
    const partial = i === 0 && options.partial === true
    const verifier = new ChainVerifier({ before, partial, known })
    try {
      await readInto(verifier, file)
    } catch (error) {
      code = unreadable(file, error)
      before = undefined
      continue
    }
    const report = verifier.end()
    process.stdout.write(`${describe(file, report)}\n`)
    if (!report.ok && code === 0) code = EXIT.FAILED
    before = report.ok ? report.head : undefined
  }
  return code
}

async function readInto(verifier: ChainVerifier, file: string): Promise<void> {
  let read = 0
  for await (const chunk of createReadStream(file, { highWaterMark: READ_BYTES })) {
    verifier.push(chunk as Buffer)
    if (verifier.done) return
    const before = read
    read += (chunk as Buffer).length
    if (Math.floor(read / PROGRESS_BYTES) > Math.floor(before / PROGRESS_BYTES)) {
      process.stderr.write(`${file}: ${verifier.records} records good so far\n`)
    }
  }
}

function describe(file: string, report: ChainReport): string {
  if (!report.ok) return `BAD ${file}:${report.line} seq ${report.seq}: ${report.message}`
  if (report.records === 0) return `OK  ${file}: no records`
  const origin = { start: '', continues: ', continues the file before', middle: ', start not proven' }[
    report.begins
  ]
  const lost = report.lost > 0 ? `, records lost ${report.lost}` : ''
  const { seq, hash } = report.head
  return `OK  ${file}: ${report.records} records, seq ${report.first}..${seq}, head ${hash}, sealed gaps ${report.torn}${lost}${origin}`
}

async function showFile(file: string, last: number | undefined): Promise<number> {
  const kept: Buffer[] = []
  try {
    for await (const line of linesOf(file)) {
      if (last === undefined) await print(line)
      else if (kept.push(Buffer.from(line)) > last) kept.shift()
    }
  } catch (error) {
    return unreadable(file, error)
  }
  for (const line of kept) await print(line)
  return 0
}

async function print(line: Buffer): Promise<void> {
  const record = readRecord(line)
  const text =
    typeof record === 'object' ? formatRecord(record) : `(${line.length} bytes that are no intact record)`
  if (!process.stdout.write(`${text}\n`)) await once(process.stdout, 'drain')
}

/** Lines without their newline, each valid until the next is asked for. Not readline, which also splits at U+2028. */
async function* linesOf(file: string): AsyncGenerator<Buffer> {
  let rest: Buffer = Buffer.alloc(0)
  for await (const chunk of createReadStream(file, { highWaterMark: READ_BYTES })) {
    rest = Buffer.concat([rest, chunk as Buffer])
    let start = 0
    for (let end = rest.indexOf('\n'); end >= 0; end = rest.indexOf('\n', start)) {
      yield rest.subarray(start, end)
      start = end + 1
    }
    rest = rest.subarray(start)
    if (rest.length > MAX_RECORD_BYTES) break
  }
  if (rest.length > 0) yield rest
}

function unreadable(file: string, error: unknown): number {
  process.stderr.write(`${file} cannot be read: ${(error as NodeJS.ErrnoException).code}\n`)
  return EXIT_UNREADABLE
}

function parseHead(text: string): ChainHead {
  const found = /^([1-9]\d{0,14}):([0-9a-f]{64})$/.exec(text)
  if (!found) throw new InvalidArgumentError('Write a sequence number, a colon and 64 lower-case hex digits.')
  return { seq: Number(found[1]), hash: found[2]! }
}

function parseCount(text: string): number {
  if (!/^[1-9]\d{0,8}$/.test(text)) throw new InvalidArgumentError('Write a number from 1 up.')
  return Number(text)
}
