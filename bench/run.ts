// `npm run bench`: every path on the same loads in one run; prints a table and writes the samples as JSON.

import { execFileSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { Command } from 'commander'
import { LOADS, type Load } from './loads.ts'
import { thisMachine } from './machine.ts'
import { type Sample, Stage } from './measure.ts'
import type { PathName } from './paths.ts'
import { installPrograms } from './programs.ts'
import { whyNoSmallCores } from './small-cores.ts'
import { coreRowsOf, type Report, rowsOf } from './tables.ts'

interface Options {
  smoke?: boolean
  loads: string
  paths?: string
  repeats: string
  seconds: string
  out?: string
}

const options = new Command('bench')
  .description('CPU, throughput and latency of Postern beside blind relays')
  .option('--smoke', 'one short run of a few loads, to see that the benchmark works')
  .option('--loads <names>', 'names or how they begin (`pipelined`), separated by commas', '')
  .option('--paths <names>', 'only these paths, separated by commas')
  .option('--repeats <n>', 'runs of each path, interleaved', '5')
  .option('--seconds <s>', 'length of one run', '1.5')
  .option('--out <file>', 'where the samples go, as JSON')
  .parse()
  .opts<Options>()

const SMOKE_LOADS = ['pipelined-1024', 'unbatched-100', 'deliver-1-64', 'qos1-1k', 'connect-es256-known']

const log = (line: string): void => console.error(line)
const missing = await installPrograms(log)
for (const why of missing.values()) log(why)

const report: Report = {
  ...thisMachine(),
  haproxy: missing.has('haproxy') ? 'missing' : versionOf('haproxy', ['-v']),
  command: ['npm run bench --', ...process.argv.slice(2)].join(' '),
  loads: [],
}
for (const load of chosenLoads()) {
  const paths = load.paths.filter((path) => !missing.has(path) && isChosen(path))
  const { name, title, kind, coreShare } = load
  const why = coreShare === undefined ? undefined : await whyNoSmallCores()
  if (why !== undefined) {
    log(`${name} is left out: ${why}`)
    continue
  }
  log(`${title} …`)
  const samples = await measure(load, paths)
  const result = { name, title, kind, coreShare, samples }
  report.loads.push(result)
  for (const row of coreShare === undefined ? rowsOf(result) : coreRowsOf(result)) console.log(row)
  // After each load, so that a run that is cut short leaves what it has.
  if (options.out !== undefined) {
    mkdirSync(dirname(options.out), { recursive: true })
    writeFileSync(options.out, `${JSON.stringify(report, undefined, 2)}\n`)
  }
}
if (options.smoke === true && options.loads === '') await import('./micro/all.ts')
process.exit(0)

function chosenLoads(): readonly Load[] {
  const parts = options.smoke === true && options.loads === '' ? SMOKE_LOADS : options.loads.split(',')
  const chosen = LOADS.filter(({ name }) =>
    parts.some((part) => `${name}-`.startsWith(part === '' ? '' : `${part}-`)),
  )
  if (options.smoke !== true) return chosen
  return chosen.map((load) => ({ ...load, clients: Math.min(load.clients, 100) }))
}

function isChosen(path: PathName): boolean {
  return options.paths === undefined || options.paths.split(',').includes(path)
}

/** Each path once, then all again: a noisy moment harms every path alike. */
async function measure(load: Load, paths: readonly PathName[]): Promise<Partial<Record<PathName, Sample[]>>> {
  const smoke = options.smoke === true
  const stages = new Map<PathName, Stage>()
  const samples: Partial<Record<PathName, Sample[]>> = {}
  try {
    for (const path of paths) {
      stages.set(path, await Stage.open(load, path, smoke ? 0.3 : Number(options.seconds)))
      samples[path] = []
    }
    const repeats = smoke || load.kind === 'idle' ? 1 : Number(options.repeats)
    for (let i = 0; i < repeats; i++) {
      for (const [path, stage] of stages) samples[path]!.push(await stage.run())
    }
  } finally {
    await Promise.all([...stages.values()].map((stage) => stage.stop()))
  }
  return samples
}

function versionOf(program: string, args: readonly string[]): string {
  return execFileSync(program, args, { encoding: 'utf8' }).split('\n')[0]!.trim()
}
