// `npm run bench:micro`: each part alone. `--smoke` only sees that they run; `--out FILE` keeps the figures as JSON.

import { writeFileSync } from 'node:fs'
import { Command } from 'commander'
import { thisMachine } from '../machine.ts'
import { distributions, figures } from './timing.ts'

const { out } = new Command('bench:micro')
  .description('nanoseconds of CPU for the small operations of the forwarding path, and for tokens')
  .option('--smoke', 'only to see that they run')
  .option('--out <file>', 'where the figures go, as JSON')
  .parse()
  .opts<{ out?: string }>()

const command = ['npm run bench:micro --', ...process.argv.slice(2)].join(' ')
const report = { ...thisMachine(), command, figures, distributions }
await import('./all.ts')
if (out !== undefined) writeFileSync(out, `${JSON.stringify(report, undefined, 2)}\n`)
process.exit(0)
