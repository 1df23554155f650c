// `npm run bench:revocation`: how long after one order the last of many live connections is cut, and how long until the
// last agent has seen it. Agents and broker are raw sockets in processes of their own. Prints one line for each repeat;
// `--out FILE` writes all as JSON.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { loadavg, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Command } from 'commander'
import { freePort } from '../src/dev/free-port.ts'
import { makeClients, makeIssuer, policyOf, posternConfig } from './paths.ts'
import { startProgram, usageOf, Worker } from './processes.ts'
import type { Ends } from './source.ts'

/** Milliseconds after the order was sent. */
interface Sample {
  connections: number
  /** The process's own figure (`postern_revocation_seconds`): from the order's arrival to the last cut. */
  cut: number
  /** The call has been answered: cut, on disk, audited. */
  answered: number
  /** An agent has its DISCONNECT 0x98; the first and the last of them. */
  firstPacket: number
  lastPacket: number
  /** The last agent's socket has ended. */
  lastEnd: number
  /** User and system time until then: of Postern, of the agents' process, of the broker. */
  cpu: number
  sourceCpu: number
  sinkCpu: number
  /** Load average of the machine just before: others slow it down. */
  load: number
}

const options = new Command('revocation')
  .option('--connections <n>', 'live connections of one human', '10000')
  .option('--repeats <n>', 'how often', '3')
  .option('--smoke', '200 connections, once')
  .option('--out <file>', 'where the samples go, as JSON')
  .parse()
  .opts<{ connections: string; repeats: string; smoke?: boolean; out?: string }>()

const SECRET = 'a-secret-of-the-operator'
/** Of a process, besides the two sockets of each connection. */
const OTHER_FILES = 60

const asked = options.smoke === true ? 200 : Number(options.connections)
const most = Math.floor((openFiles() - OTHER_FILES) / 2)
const connections = Math.min(asked, most)
if (connections < asked) {
  console.error(`${connections} connections: a process may open ${openFiles()} files here (ulimit -Hn).`)
}
const samples: Sample[] = []
for (let i = 0; i < (options.smoke === true ? 1 : Number(options.repeats)); i++) {
  const sample = await once()
  samples.push(sample)
  const ms = (value: number): string => `${value.toFixed(0)} ms`
  console.log(
    `${sample.connections} connections: cut ${ms(sample.cut)}, last packet ${ms(sample.lastPacket)}, ` +
      `last socket ${ms(sample.lastEnd)}, answered ${ms(sample.answered)}; CPU ${ms(sample.cpu)}, agents ${ms(sample.sourceCpu)}, broker ${ms(sample.sinkCpu)}, load ${sample.load}`,
  )
}
if (options.out !== undefined) {
  const report = { at: new Date().toISOString(), node: process.version, connections, samples }
  writeFileSync(options.out, `${JSON.stringify(report, undefined, 2)}\n`)
}

async function once(): Promise<Sample> {
  const directory = mkdtempSync(join(tmpdir(), 'postern-bench-'))
  const [sink, source] = [new Worker('sink.ts'), new Worker('source.ts')]
  const issuer = await makeIssuer('ES256')
  const { port: sinkPort } = await sink.ask<{ port: number }>('listen')
  const [port, adminPort] = [await freePort(), await freePort()]
  const config = {
    ...posternConfig(port, sinkPort, { rules: 100, alg: 'ES256', tls: false, coreShare: undefined }, 0),
    admin: { address: `127.0.0.1:${adminPort}` },
    revocation: { file: 'revocations.jsonl', secretFile: 'secret' },
  }
  for (const [name, text] of [
    ['jwks.json', JSON.stringify(issuer.publicJwks())],
    ['policy.json', JSON.stringify(policyOf(100))],
    ['secret', SECRET],
    ['postern.json', JSON.stringify(config)],
  ] as const) {
    writeFileSync(join(directory, name), text)
  }
  const profile = process.env['BENCH_PROFILE']
  const flags = profile === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profile}`]
  const script = fileURLToPath(new URL('../cmd/postern.ts', import.meta.url))
  const args = [
    '--max-semi-space-size=16',
    ...flags,
    script,
    'run',
    '--config',
    join(directory, 'postern.json'),
  ]
  const postern = await startProgram(process.execPath, args, port)
  try {
    const clients = await makeClients(issuer, connections)
    await source.ask('connect', { port, clients, filter: 'agents/bench/data/#' })
    const ends = source.ask<Ends>('ended')
    // Answered after it, so that all is in place.
    await source.ask('start')
    const load = Number(loadavg()[0]!.toFixed(2))
    const pids = [postern.pid, source.pid, sink.pid]
    const before = pids.map((pid) => usageOf(pid).cpuS)
    const from = performance.timeOrigin + performance.now()
    const response = await fetch(`http://127.0.0.1:${adminPort}/revocations`, {
      method: 'POST',
      headers: { authorization: `Bearer ${SECRET}`, 'content-type': 'application/json' },
      body: JSON.stringify({ sub_id: { format: 'iss_sub', iss: issuer.issuer, sub: 'alice' } }),
    })
    if (response.status !== 204) throw new Error(`the order was answered ${response.status}`)
    const answered = performance.timeOrigin + performance.now() - from
    const { firstPacketMs, lastPacketMs, lastEndMs, packets } = await ends
    if (packets !== connections) throw new Error(`${packets} of ${connections} had a DISCONNECT`)
    const [cpu, sourceCpu, sinkCpu] = pids.map((pid, i) => 1000 * (usageOf(pid).cpuS - before[i]!))
    const metrics = await (await fetch(`http://127.0.0.1:${adminPort}/metrics`)).text()
    return {
      connections,
      cut: 1000 * Number(/^postern_revocation_seconds_sum (\S+)$/m.exec(metrics)?.[1]),
      answered,
      firstPacket: firstPacketMs - from,
      lastPacket: lastPacketMs - from,
      lastEnd: lastEndMs - from,
      cpu: cpu!,
      sourceCpu: sourceCpu!,
      sinkCpu: sinkCpu!,
      load,
    }
  } finally {
    await postern.stop()
    await Promise.all([source.stop(), sink.stop()])
    rmSync(directory, { recursive: true, force: true })
  }
}

/** Hard limit of open files: Node raises its own limit to it. */
function openFiles(): number {
  const limit = /^Max open files\s+\S+\s+(\S+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1]
  return limit === 'unlimited' ? Number.MAX_SAFE_INTEGER : Number(limit)
}
process.exit(0)
