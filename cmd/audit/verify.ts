// `postern audit verify`: proves a log against itself and against checkpoints.

import { Command, InvalidArgumentError } from 'commander'
import type { ChainReport } from '../../src/audit/hash-chain.ts'
import type { ChainHead } from '../../src/audit/record.ts'
import type { OpenedCheckpoint } from '../../src/audit/signed-note.ts'
import { chainsOf, checkpointsOf, strayCheckpoints } from '../../src/evidence/chains.ts'
import { verifyLog } from '../../src/evidence/verify-log.ts'
import { EXIT } from '../exit.ts'
import { collect, EXIT_UNREADABLE, parseKeys, readCheckpoints, unreadable } from './options.ts'

const HELP = `
FILE stands for its closed segments too (FILE.00000001.zst and so on), and for the logs of workers (FILE.w1 and so on),
each with a chain of its own, where there are any. --known is about the chain of FILE itself.

Exit codes:
  0   every file is good
  1   a chain is bad; the first bad record is named
  2   a file cannot be read
  64  wrong usage

Examples:
  postern audit verify audit.jsonl
  postern audit verify --checkpoint newest.note --key verifier.pub audit.jsonl
  postern audit verify audit-2026-10.jsonl audit-2026-11.jsonl
  postern audit verify --known 1200:5f0c…(64 hex digits) audit.jsonl`

interface VerifyOptions {
  partial?: boolean
  known?: ChainHead
  checkpoint?: string[]
  key?: string[]
}

export function verifyCommand(): Command {
  return new Command('verify')
    .description('prove the hash chain of audit logs, or name the first bad record')
    .argument('<file...>', 'audit logs, oldest first')
    .option('--partial', 'accept a first file that begins in the middle of a chain')
    .option(
      '--known <seq:hash>',
      'a record that the last file must hold; finds a tail that was cut off',
      parseHead,
    )
    .option('--checkpoint <file>', 'checkpoints that the log must hold; may be repeated', collect)
    .option(
      '--key <key>',
      'verification key of the checkpoints, or a file with such; may be repeated',
      collect,
    )
    .addHelpText('after', HELP)
    .action(async (files: string[], options: VerifyOptions, command: Command) => {
      const { checkpoint = [], key = [] } = options
      if (checkpoint.length > 0 && key.length === 0) {
        command.error('error: --checkpoint needs --key: a key from the log itself would prove nothing')
      }
      process.exitCode = await verify(files, options, checkpoint, key)
    })
}

async function verify(
  files: readonly string[],
  options: VerifyOptions,
  checkpointFiles: readonly string[],
  keys: readonly string[],
): Promise<number> {
  const verifiers = parseKeys(keys)
  const checkpoints: OpenedCheckpoint[] = []
  for (const file of checkpointFiles) {
    let read: OpenedCheckpoint[] | string
    try {
      read = readCheckpoints(file, verifiers)
    } catch (error) {
      return unreadable(file, error)
    }
    if (typeof read === 'string') {
      process.stdout.write(`BAD ${file}: ${read}\n`)
      return EXIT.FAILED
    }
    checkpoints.push(...read)
  }
  const chains = chainsOf(files)
  const codes: number[] = []
  for (const [i, chain] of chains.entries()) {
    const { known, ...rest } = options
    codes.push(
      await verifyChain(chain.files, i === 0 ? options : rest, checkpointsOf(chain, chains, checkpoints)),
    )
  }
  for (const { origin, size } of strayCheckpoints(chains, checkpoints)) {
    process.stdout.write(
      `BAD The checkpoint of ${size} records of ${origin} is of a worker whose log is not here.\n`,
    )
    codes.push(EXIT.FAILED)
  }
  return Math.max(...codes)
}

async function verifyChain(
  files: readonly string[],
  options: VerifyOptions,
  checkpoints: readonly OpenedCheckpoint[],
): Promise<number> {
  const report = await verifyLog(files, {
    partial: options.partial === true,
    known: options.known,
    checkpoints,
    onFile: (file, told) => process.stdout.write(`${describe(file, told)}\n`),
    onUnreadable: unreadable,
    onProgress: (file, records) => process.stderr.write(`${file}: ${records} records good so far\n`),
  })
  for (const problem of report.problems) process.stdout.write(`BAD ${problem}\n`)
  if (report.confirmed > 0) process.stdout.write(`OK  ${report.confirmed} checkpoint(s) confirmed\n`)
  if (report.tooOld > 0) {
    process.stdout.write(
      `    ${report.tooOld} checkpoint(s) are older than the first record and say nothing about it\n`,
    )
  }
  if (report.unreadable > 0) return EXIT_UNREADABLE
  return report.ok ? EXIT.OK : EXIT.FAILED
}

/** One line on a file. */
export function describe(file: string, report: ChainReport): string {
  if (!report.ok) return `BAD ${file}:${report.line} seq ${report.seq}: ${report.message}`
  if (report.records === 0) return `OK  ${file}: no records`
  const origin = { start: '', continues: ', continues the file before', middle: ', start not proven' }[
    report.begins
  ]
  const lost = report.lost > 0 ? `, records lost ${report.lost}` : ''
  const { seq, hash } = report.head
  return `OK  ${file}: ${report.records} records, seq ${report.first}..${seq}, head ${hash}, sealed gaps ${report.torn}${lost}${origin}`
}

function parseHead(text: string): ChainHead {
  const found = /^([1-9]\d{0,14}):([0-9a-f]{64})$/.exec(text)
  if (!found) throw new InvalidArgumentError('Write a sequence number, a colon and 64 lower-case hex digits.')
  return { seq: Number(found[1]), hash: found[2]! }
}
