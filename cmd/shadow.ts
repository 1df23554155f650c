// `postern shadow`: what shadow mode let through, from audit logs. Owns arguments and output only.

import { Command } from 'commander'
import { readRecord } from '../src/audit/record-reader.ts'
import { proposeFixes, quoted, type ShadowFix } from '../src/audit/shadow-fix.ts'
import { type ShadowedDenial, ShadowReport } from '../src/audit/shadow-report.ts'
import { chainsOf } from '../src/evidence/chains.ts'
import { linesOf } from '../src/evidence/log-files.ts'
import { EXIT } from './exit.ts'

const HELP = `
Reads audit logs of a Postern with \`mode: shadow\` on a listener or in the policy. What it proposes is exactly what was
seen: read it as a question, not as an answer. Enforcing is safe when the report stays empty.

Exit codes: 0 nothing would have been denied, 1 something would have, 2 a file cannot be read, 64 wrong usage.

Example:
  postern shadow report /var/log/postern/audit.jsonl`

const EXIT_UNREADABLE = 2

export function shadowCommand(): Command {
  const shadow = new Command('shadow').description('see what enforcing would deny')
  shadow
    .command('report')
    .description(
      'say which agents would have been denied by which rule, and the smallest rule that would fix it',
    )
    .argument('<file...>', 'audit logs')
    .option('--json', 'for programs')
    .addHelpText('after', HELP)
    .action(async (files: string[], options: { json?: boolean }) => {
      process.exitCode = await report(files, options.json === true)
    })
  return shadow
}

async function report(files: readonly string[], json: boolean): Promise<number> {
  const found = new ShadowReport()
  let broken = 0
  for (const file of chainsOf(files).flatMap((chain) => chain.files)) {
    try {
      for await (const line of linesOf(file)) {
        const record = readRecord(line)
        if (typeof record === 'string') broken++
        // What is in a batch was allowed.
        else if (record.action !== undefined) found.add(record)
      }
    } catch (error) {
      console.error(`${file} cannot be read: ${(error as NodeJS.ErrnoException).code}`)
      return EXIT_UNREADABLE
    }
  }
  if (broken > 0) console.error(`${broken} line(s) are no intact records: see \`postern audit verify\``)
  if (found.dropped > 0) console.error(`${found.dropped} record(s) of further topics are not in this report`)
  const { denials } = found
  const fixes = proposeFixes(denials)
  if (json) console.log(JSON.stringify({ denials, fixes }, undefined, 2))
  else print(denials, fixes)
  return denials.length === 0 ? EXIT.OK : EXIT.FAILED
}

function print(denials: readonly ShadowedDenial[], fixes: readonly ShadowFix[]): void {
  if (denials.length === 0) return console.log('Nothing would have been denied.')
  for (const [agent, own] of Map.groupBy(denials, (denial) => denial.agent)) {
    const total = own.reduce((sum, { count }) => sum + count, 0)
    console.log(`agent ${quoted(agent)}: ${total} would have been denied`)
    for (const denial of own) console.log(`  ${lineOf(denial)}`)
  }
  console.log('\nWould fix it, for exactly what was seen:')
  for (const under of ['agents', 'users', 'pairs'] as const) {
    const rules = fixes.flatMap((fix) => ('under' in fix && fix.under === under ? [fix.yaml] : []))
    if (rules.length > 0) console.log(`${under}:\n${rules.join('\n').replace(/^/gm, '  ')}`)
  }
  for (const fix of fixes) if ('text' in fix) console.log(`# ${fix.text}`)
}

function lineOf(denial: ShadowedDenial): string {
  const { action, place, user, reason, rules, count, first, last } = denial
  const whom = user === undefined ? '' : ` for ${quoted(user)}`
  const by = rules.map(([layer, rule]) => `${layer}: ${rule === '-' ? 'no rule' : rule}`).join(', ')
  const when = first === last ? first : `${first} to ${last}`
  return `${String(count).padStart(6)} x ${action} ${quoted(place)}${whom} (${reason}; ${by}) ${when}`
}
