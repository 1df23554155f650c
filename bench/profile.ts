// `npm run bench:profile`: where the proxy's CPU time goes, by `perf` (Debian's linux-perf). Says why a load costs what it
// costs: what the kernel takes, what Node.js does around it, and what is Postern's own.

import { execFile } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { Command } from 'commander'
import { findExecutable, installWithApt } from '../src/dev/debian-package.ts'
import { PosternError } from '../src/errors.ts'
import { LOADS } from './loads.ts'
import { thisMachine } from './machine.ts'
import { Stage } from './measure.ts'
import type { PathName } from './paths.ts'
import { type ProfileReport, partOf, type Shares } from './profile-parts.ts'

const options = new Command('bench:profile')
  .description('Where the CPU time of the proxy goes')
  .option('--loads <names>', 'separated by commas', 'pipelined-256,unbatched-100,connect-es256-known')
  .option('--paths <names>', 'separated by commas', 'postern')
  .option('--seconds <s>', 'how long it is watched', '4')
  .option('--out <file>', 'where the shares go, as JSON')
  .parse()
  .opts<{ loads: string; paths: string; seconds: string; out?: string }>()

const run = promisify(execFile)
const seconds = Number(options.seconds)
if ((await findExecutable('perf')) === undefined) {
  await installWithApt(
    ['linux-perf'],
    'perf',
    (why) => new PosternError('ERR_TOOL_MISSING', 'internal', `perf: ${why}`),
  )
}
// Tells perf the names of what V8 compiles, in files that are taken away again; and V8 begins a log where it is started.
process.env['NODE_OPTIONS'] = '--perf-basic-prof'
const out = options.out === undefined ? undefined : resolve(options.out)
const machine = thisMachine()
const scratch = mkdtempSync(join(tmpdir(), 'postern-profile-'))
process.chdir(scratch)
const report: ProfileReport = {
  ...machine,
  command: ['npm run bench:profile --', ...process.argv.slice(2)].join(' '),
  profiles: [],
}
for (const name of options.loads.split(',')) {
  for (const path of options.paths.split(',') as PathName[]) {
    const load = LOADS.find((each) => each.name === name)
    if (load === undefined) throw new RangeError(`there is no load ${name}`)
    const watched = await watch(await Stage.open(load, path, seconds + 1))
    report.profiles.push({ title: load.title, path, ...watched })
    console.log(load.title, path, watched)
  }
}
process.chdir(tmpdir())
rmSync(scratch, { recursive: true })
if (out !== undefined) writeFileSync(out, `${JSON.stringify(report, undefined, 2)}\n`)

async function watch(stage: Stage): Promise<{ cpuUs: number; shares: Shares }> {
  const file = join(scratch, 'perf.data')
  try {
    const record = ['record', '-q', '-F', '2500', '-o', file, '-p', String(stage.pid), '--', 'sleep']
    const recorded = run('perf', [...record, options.seconds])
    let isRecorded = false
    void recorded.finally(() => {
      isRecorded = true
    })
    const cpuUs: number[] = []
    // A storm of connections may be over sooner.
    while (!isRecorded) cpuUs.push((await stage.run()).cpuUs!)
    await recorded
    const show = ['report', '-i', file, '--no-children', '--sort', 'sym', '-g', 'none', '--stdio', '-q']
    const { stdout } = await run('perf', show, { maxBuffer: 64 * 1024 * 1024 })
    const shares: Shares = {}
    for (const line of stdout.split('\n')) {
      const found = /^\s*([\d.]+)%\s+\[(.)\]\s+(.*)$/.exec(line)
      if (found === null) continue
      const part = partOf(found[2]!, found[3]!)
      shares[part] = (shares[part] ?? 0) + Number(found[1]) / 100
    }
    return { cpuUs: cpuUs.sort((a, b) => a - b)[cpuUs.length >> 1]!, shares }
  } finally {
    await stage.stop()
    for (const name of readdirSync(tmpdir()))
      if (/^perf-\d+\.map$/.test(name)) rmSync(join(tmpdir(), name), { force: true })
  }
}
