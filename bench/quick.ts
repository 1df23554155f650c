import { publish } from './frames.ts'
import { makeClients, makeIssuer, type PathName, startPath } from './paths.ts'
import { usageOf, Worker } from './processes.ts'
const issuer = await makeIssuer()
const only = process.argv[2]?.split(',') as PathName[] | undefined
const names = only ?? (['haproxy', 'pipe', 'postern'] as PathName[])
const loads = [
  { name: '64 B', payload: 64, messages: 1_000_000, rate: 0, clients: 1 },
  { name: '256 B', payload: 256, messages: 800_000, rate: 0, clients: 1 },
  { name: '1 KiB', payload: 1024, messages: 400_000, rate: 0, clients: 1 },
  { name: '16 KiB', payload: 16384, messages: 60_000, rate: 0, clients: 1 },
  { name: '100 clients', payload: 64, messages: 40_000, rate: 20_000, clients: 100 },
].filter((l) => !process.argv[3] || process.argv[3].split(',').includes(l.name))
for (const load of loads) {
  const cells: string[] = []
  for (const name of names) {
    const sink = new Worker('sink.ts')
    const { port } = await sink.receive<{ port: number }>('listening')
    const path = await startPath(name, port, { rules: 100 }, issuer)
    const source = new Worker('source.ts')
    console.log('started', name, path.port)
    source.send({ type: 'connect', port: path.port, clients: await makeClients(issuer, load.clients), filter: undefined })
    await source.receive('connected'); console.log('connected')
    const topics = ['agents/bench/data/temperature']
    const frame = publish(topics[0]!, load.payload)
    const run = async (messages: number) => {
      let n = messages
      if (load.rate === 0) { let per = 0, size = 0; while (size < 65536) { size += frame.length; per++ } ; n = Math.ceil(messages / load.clients / per) * per * load.clients }
      sink.send({ type: 'expect', bytes: n * frame.length, acknowledge: false })
      await sink.receive('expecting')
      const before = path.pid ? usageOf(path.pid) : { cpuS: 0 }
      const t = performance.now()
      const done = sink.receive('complete')
      source.send({ type: 'send', topics, payload: load.payload, messages: n, rate: load.rate, qos: 0 })
      await done
      const wall = (performance.now() - t) / 1000
      const cpu = path.pid ? usageOf(path.pid).cpuS - before.cpuS : 0
      return { us: (cpu / n) * 1e6, rate: n / wall }
    }
    await run(load.messages / 4)
    const { us, rate } = await run(load.messages)
    cells.push(`${name} ${us.toFixed(3)} µs ${(rate / 1000).toFixed(0)}k/s`)
    await source.stop(); await path.stop(); await sink.stop()
  }
  console.log(load.name.padEnd(12), cells.join('   '))
}
process.exit(0)
