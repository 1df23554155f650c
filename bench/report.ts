// Makes the tables of bench/README.md from the JSON files of bench/results: `node bench/report.ts`.

import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import type { Machine } from './machine.ts'
import { type MicroReport, microTables } from './micro/tables.ts'
import { type ProfileReport, profileTable } from './profile-parts.ts'
import {
  CORES_HEADER,
  coreRowsOf,
  HEADER,
  type Report,
  type RevocationReport,
  revocationTable,
  rowsOf,
} from './tables.ts'

const README = new URL('README.md', import.meta.url)

fill<Report>('latest.json', 'tables', ({ haproxy, loads, ...run }) => {
  const onSmallCores = loads.filter(({ coreShare }) => coreShare !== undefined)
  const rest = loads.filter(({ coreShare }) => coreShare === undefined)
  const small = onSmallCores.length === 0 ? [] : ['', ...CORES_HEADER, ...onSmallCores.flatMap(coreRowsOf)]
  return [...facts(run, `; ${haproxy}`), ...HEADER, ...rest.flatMap(rowsOf), ...small]
})
fill<RevocationReport>('revocation.json', 'revocation', revocationTable)
fill<ProfileReport>('profile.json', 'profile', (report) => [...facts(report), ...profileTable(report)])
fill<MicroReport>('micro.json', 'parts', (report) => [...facts(report), ...microTables(report)])

/** Puts lines in place of what stands between two marks. */
function fill<R>(file: string, marks: string, linesOf: (report: R) => string[]): void {
  const path = new URL(`results/${file}`, import.meta.url)
  if (!existsSync(path)) return
  const lines = linesOf(JSON.parse(readFileSync(path, 'utf8')) as R)
  const text = readFileSync(README, 'utf8')
  const start = `<!-- ${marks}: made by \`node bench/report.ts\`; do not edit -->`
  const before = text.slice(0, text.indexOf(start) + start.length)
  const after = text.slice(text.indexOf(`<!-- end of ${marks} -->`))
  writeFileSync(README, `${before}\n\n${lines.join('\n')}\n\n${after}`)
}

function facts(run: Machine & { command: string }, more = ''): string[] {
  const { machine, cores, memoryBytes, node, commit, at, command } = run
  return [
    `- ${machine}, ${cores} cores, ${Math.round(memoryBytes / 2 ** 30)} GiB; Node ${node}${more}`,
    `- commit ${commit}, ${at}, \`${command}\``,
    '',
  ]
}
