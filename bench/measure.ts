// Runs one load on one path, again and again, and says what each run cost.

import { publish } from './frames.ts'
import type { ConnectLoad, FlowLoad, Load } from './loads.ts'
import { makeClients, makeIssuer, type Path, type PathName, startPath, workersOf } from './paths.ts'
import { usageOf, Worker } from './processes.ts'
import type { Client, SendOrder, Sent } from './source.ts'

/** One run. What does not apply is left out. */
export interface Sample {
  /** Of the proxy process, user and system; per connection for storms. */
  cpuUs?: number
  /** Messages (connections) per second. */
  rate?: number
  /** Round trip of QoS 1; of single messages at QoS 0 the way from source to sink. Microseconds. */
  p50Us?: number
  p99Us?: number
  p999Us?: number
  /** Resident set of the proxy after the run, bytes; for idle loads what each connection added. */
  residentBytes?: number
  /** Share of one core that each end used. */
  sourceBusy?: number
  sinkBusy?: number
}

/** Agents may publish and receive below `agents/bench/data/`; see `policyOf` in paths.ts. */
const ALLOWED = 'agents/bench/data'
const DENIED_TOPIC = 'agents/bench/secret/temperature'

/** Clock and CPU seconds at one moment. */
interface Reading {
  at: number
  proxy: number
  source: number
  sink: number
}

/** Before a flow is measured: what runs for days is not to be judged by its first second. */
const WARM_UP_S = 3
/** Messages per second of it, at least: the just-in-time compiler counts them. */
const WARM_UP_RATE = 10_000
/** A flow at a rate, so that there are enough messages of it; and so long it is warmed up. */
const PACED_S = 2
/** A flow on small cores: many of the periods in which they are handed out. */
const SMALL_CORES_S = 5
/** Before a storm is measured, for each worker: as many as the just-in-time compiler needs. */
const WARM_UP_CONNECTIONS = 12_000
/** The same where each has a token of its own, which takes time to make. */
const WARM_UP_TOKENS = 4000

/** A path with its own source and sink, connected and warm. */
export class Stage {
  readonly #load: Load
  readonly #seconds: number
  readonly #path: Path
  readonly #sink: Worker
  readonly #source: Worker
  #makeClients: (count: number) => Promise<Client[]> = async () => []

  private constructor(load: Load, seconds: number, path: Path, sink: Worker, source: Worker) {
    this.#load = load
    this.#seconds = seconds
    this.#path = path
    this.#sink = sink
    this.#source = source
  }

  static async open(load: Load, name: PathName, seconds: number): Promise<Stage> {
    const alg = 'alg' in load ? load.alg : 'ES256'
    const issuer = await makeIssuer(alg)
    const sink = new Worker('sink.ts')
    const { port } = await sink.ask<{ port: number }>('listen')
    const { rules, tls, coreShare } = load
    const path = await startPath(name, port, { rules, alg, tls, coreShare }, issuer)
    const isPaced = isFlow(load) && load.rate > 0
    const measured = Math.max(seconds, coreShare === undefined ? 0 : SMALL_CORES_S, isPaced ? PACED_S : 0)
    const stage = new Stage(load, measured, path, sink, new Worker('source.ts'))
    if (isFlow(load)) {
      const filter = load.kind === 'deliver' ? `${ALLOWED}/#` : undefined
      const clients = await makeClients(issuer, load.clients)
      await stage.#source.ask('connect', { port: path.port, clients, filter, tls })
      const warmUp = isPaced ? { ...load, rate: Math.max(load.rate, WARM_UP_RATE) } : load
      await stage.#flow(warmUp, Math.min(2 * measured, WARM_UP_S))
    } else {
      stage.#makeClients = (count) => makeClients(issuer, count, load.distinct)
      const warmUp = (load.distinct ? WARM_UP_TOKENS : WARM_UP_CONNECTIONS) * workersOf(name)
      const clients = await stage.#makeClients(load.kind === 'storm' ? warmUp : 200)
      await stage.#source.ask('storm', { port: path.port, clients })
    }
    path.hold()
    return stage
  }

  /** Of the proxy. */
  get pid(): number {
    return this.#path.pid
  }

  run(): Promise<Sample> {
    const load = this.#load
    if (isFlow(load)) return this.#flow(load, this.#seconds)
    return load.kind === 'storm' ? this.#storm(load) : this.#idle(load)
  }

  async stop(): Promise<void> {
    await this.#source.stop()
    await this.#path.stop()
    await this.#sink.stop()
  }

  async #flow(load: FlowLoad, seconds: number): Promise<Sample> {
    const topics = Array.from({ length: load.topics }, (_, i) => `${ALLOWED}/sensor-${i}/temperature`)
    await this.#source.ask('start')
    const isStamped = load.kind === 'publish' && load.rate > 0 && load.qos === 0
    const stampedBytes = isStamped ? publish(topics[0]!, load.payload).length : 0
    await this.#sink.ask('start', { acknowledge: load.qos === 1, stampedBytes })
    const before = this.#usage()
    let sent: Pick<Sent, 'messages' | 'latencies'>
    if (load.kind === 'deliver') {
      const order = { topics, payload: load.payload, seconds }
      const delivered = await this.#sink.ask<{ messages: number; bytes: number }>('deliver', order)
      await this.#source.ask('received', { bytes: delivered.bytes })
      sent = { messages: delivered.messages, latencies: undefined }
    } else {
      const denied = load.deniedEvery === 0 ? undefined : { topic: DENIED_TOPIC, every: load.deniedEvery }
      const { payload, rate, qos } = load
      const order: SendOrder = { topics, denied, payload, seconds, rate, qos }
      const published = await this.#source.ask<Sent>('send', order)
      const bytes = this.#path.enforces ? published.allowedBytes : published.bytes
      await this.#sink.ask('received', { bytes })
      sent = published
    }
    const sample = this.#since(before, sent.messages)
    const { ages } = isStamped ? await this.#sink.ask<{ ages: Float64Array }>('ages') : {}
    const latencies = ages ?? sent.latencies
    if (latencies === undefined) return sample
    const at = (share: number): number => latencies[Math.floor(latencies.length * share)]! * 1000
    return { ...sample, p50Us: at(0.5), p99Us: at(0.99), p999Us: at(0.999) }
  }

  async #storm(load: ConnectLoad): Promise<Sample> {
    const clients = await this.#makeClients(load.clients)
    const before = this.#usage()
    await this.#source.ask('storm', { port: this.#path.port, clients })
    return this.#since(before, load.clients)
  }

  async #idle(load: ConnectLoad): Promise<Sample> {
    const clients = await this.#makeClients(load.clients)
    await this.#source.ask('connect', { port: this.#path.port, clients: [] })
    await settled()
    const before = usageOf(this.#path.pid).residentBytes
    await this.#source.ask('connect', { port: this.#path.port, clients, filter: load.filter })
    await settled()
    return { residentBytes: (usageOf(this.#path.pid).residentBytes - before) / load.clients }
  }

  #usage(): Reading {
    return {
      at: performance.now(),
      proxy: this.#path.pid === 0 ? 0 : usageOf(this.#path.pid).cpuS,
      source: usageOf(this.#source.pid).cpuS,
      sink: usageOf(this.#sink.pid).cpuS,
    }
  }

  #since(before: Reading, count: number): Sample {
    const now = this.#usage()
    const seconds = (now.at - before.at) / 1000
    const ends = {
      sourceBusy: (now.source - before.source) / seconds,
      sinkBusy: (now.sink - before.sink) / seconds,
    }
    const sample = { rate: count / seconds, ...ends }
    if (this.#path.pid === 0) return sample
    const { residentBytes } = usageOf(this.#path.pid)
    return { ...sample, cpuUs: ((now.proxy - before.proxy) / count) * 1e6, residentBytes }
  }
}

function isFlow(load: Load): load is FlowLoad {
  return load.kind === 'publish' || load.kind === 'deliver'
}

/** Connections that were closed are gone, and the timers of their ends have run. */
function settled(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 3000))
}
