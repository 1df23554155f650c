// Makes the tables of bench/README.md from a JSON file of samples: `node bench/report.ts [samples.json]`.

import { readFileSync, writeFileSync } from 'node:fs'
import { HEADER, type Report, rowsOf } from './tables.ts'

const README = new URL('README.md', import.meta.url)
const SAMPLES = new URL('results/latest.json', import.meta.url)
const START = '<!-- tables: made by `node bench/report.ts`; do not edit -->'
const END = '<!-- end of tables -->'

const report = JSON.parse(readFileSync(process.argv[2] ?? SAMPLES, 'utf8')) as Report
const text = readFileSync(README, 'utf8')
const before = text.slice(0, text.indexOf(START) + START.length)
const after = text.slice(text.indexOf(END))
writeFileSync(README, `${before}\n\n${tables(report)}\n\n${after}`)

function tables({ machine, cores, memoryBytes, node, haproxy, commit, at, command, loads }: Report): string {
  const facts = [
    `- ${machine}, ${cores} cores, ${Math.round(memoryBytes / 2 ** 30)} GiB; Node ${node}; ${haproxy}`,
    `- commit ${commit}, ${at}, \`${command}\``,
  ]
  return [...facts, '', ...HEADER, ...loads.flatMap(rowsOf)].join('\n')
}
