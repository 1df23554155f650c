// `postern audit report`: one self-contained HTML page about a period.

import { writeFileSync } from 'node:fs'
import { basename } from 'node:path'
import { Command } from 'commander'
import type { OpenedCheckpoint } from '../../src/audit/signed-note.ts'
import { chainsOf, checkpointsOf, strayCheckpoints } from '../../src/evidence/chains.ts'
import { ReportPage } from '../../src/evidence/report-page.ts'
import { select } from '../../src/evidence/selection.ts'
import { verifyLog } from '../../src/evidence/verify-log.ts'
import { EXIT } from '../exit.ts'
import {
  addSelection,
  collect,
  EXIT_UNREADABLE,
  LeftOut,
  parseKeys,
  readCheckpoints,
  type SelectionOptions,
  selectionOf,
  unreadable,
} from './options.ts'

const HELP = `
The page says whether the log is whole, as 'postern audit verify' would, whatever is selected.

Exit codes: 0 written, and the log is whole; 1 written, and it is not; 2 a file cannot be read or written.

Example:
  postern audit report --since 2026-03-01 --until 2026-04-01 --out march.html audit.jsonl`

interface ReportOptions extends SelectionOptions {
  out: string
  checkpoint?: string[]
  key?: string[]
}

export function reportCommand(): Command {
  const command = new Command('report')
    .description('write one HTML page: who acted for whom, denials by rule, timeline, chain status')
    .argument('<file...>', 'audit logs, oldest first')
    .requiredOption('--out <file>', 'the page')
    .option('--checkpoint <file>', 'checkpoints that the log must hold; may be repeated', collect)
    .option(
      '--key <key>',
      'verification key of the checkpoints, or a file with such; may be repeated',
      collect,
    )
    .addHelpText('after', HELP)
    .action(async (files: string[], options: ReportOptions, command: Command) => {
      const { checkpoint = [], key = [] } = options
      if (checkpoint.length > 0 && key.length === 0) command.error('error: --checkpoint needs --key')
      try {
        process.exitCode = await report(files, options, checkpoint, key)
      } catch (error) {
        const { code, path } = error as NodeJS.ErrnoException
        if (code === undefined) throw error
        process.exitCode = unreadable(path ?? files.join(', '), error)
      }
    })
  return addSelection(command)
}

async function report(
  logs: readonly string[],
  options: ReportOptions,
  checkpointFiles: readonly string[],
  keys: readonly string[],
): Promise<number> {
  const selection = selectionOf(options)
  const chain: { ok: boolean; text: string }[] = []
  const verifiers = parseKeys(keys)
  const checkpoints: OpenedCheckpoint[] = []
  for (const file of checkpointFiles) {
    const read = readCheckpoints(file, verifiers)
    if (typeof read === 'string') chain.push({ ok: false, text: `${basename(file)}: ${read}` })
    else checkpoints.push(...read)
  }
  const chains = chainsOf(logs)
  for (const one of chains) {
    const verified = await verifyLog(one.files, {
      partial: false,
      checkpoints: checkpointsOf(one, chains, checkpoints),
      onFile: (file, told) => {
        const text = told.ok
          ? `${basename(file)}: records ${told.first} to ${told.head.seq} follow one another, head ${told.head.hash}`
          : `${basename(file)}, line ${told.line}: ${told.message}`
        chain.push({ ok: told.ok, text })
      },
    })
    for (const text of verified.problems) chain.push({ ok: false, text })
    if (verified.confirmed > 0) {
      chain.push({ ok: true, text: `${verified.confirmed} signed checkpoint(s) confirm it` })
    }
  }
  for (const { origin } of strayCheckpoints(chains, checkpoints)) {
    chain.push({ ok: false, text: `A checkpoint of ${origin} is of a worker whose log is not here` })
  }
  const page = new ReportPage()
  const leftOut = new LeftOut()
  for await (const record of select(chains, selection, leftOut.add)) page.add(record)
  leftOut.tell()
  const { sinceMs, untilMs } = selection
  const names = chains.flatMap(({ files }) => files).map((file) => basename(file))
  const html = page.html({ files: names, sinceMs, untilMs, madeMs: Date.now(), chain })
  try {
    writeFileSync(options.out, html)
  } catch (error) {
    process.stderr.write(`${options.out} cannot be written: ${(error as NodeJS.ErrnoException).code}\n`)
    return EXIT_UNREADABLE
  }
  return chain.every(({ ok }) => ok) ? EXIT.OK : EXIT.FAILED
}
