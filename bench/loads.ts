// What is measured: one row per load of the issue, most important first.

import type { PathName } from './paths.ts'

interface Common {
  /** Stable key in the JSON; `--loads` takes it or its beginning. */
  readonly name: string
  readonly title: string
  readonly paths: readonly PathName[]
  readonly clients: number
  /** Of the policy; the last one matches. */
  readonly rules: number
  /** The agents speak TLS 1.3; the proxy ends it. */
  readonly tls: boolean
  /** Each process of the proxy has so much of a core, and all together as much as there are workers. */
  readonly coreShare?: number
}

/** Messages one way, from agents or to subscribers. */
export interface FlowLoad extends Common {
  readonly kind: 'publish' | 'deliver'
  readonly payload: number
  /** Distinct topics. */
  readonly topics: number
  /** Messages per second; 0: as many as go. */
  readonly rate: number
  readonly qos: 0 | 1
  /** Every so many-th message is denied; 0: none. */
  readonly deniedEvery: number
}

/** Connections: opened and closed one after another, or opened and left alone. */
export interface ConnectLoad extends Common {
  readonly kind: 'storm' | 'idle'
  readonly alg: 'ES256' | 'EdDSA' | 'RS256'
  /** Each connection has a token that was never seen before. */
  readonly distinct: boolean
  /** Each connection subscribes to this. */
  readonly filter?: string
}

export type Load = FlowLoad | ConnectLoad

const MAIN: readonly PathName[] = ['direct', 'haproxy', 'nginx', 'pipe', 'codec', 'postern', 'postern-each']
const PROXIES: readonly PathName[] = ['direct', 'haproxy', 'pipe', 'postern', 'postern-each']
/** What it costs when none waits for others, and how much sooner it is there. */
const SINGLE: readonly PathName[] = [...PROXIES, 'postern-prompt']
/** What a record of its own costs by the length of the payload. */
const UNDIGESTED: readonly PathName[] = [...MAIN, 'postern-each-undigested']
const POSTERN: readonly PathName[] = ['haproxy', 'postern', 'postern-each']

const WORKERS: readonly PathName[] = [
  'direct',
  'haproxy',
  'postern',
  'postern-2',
  'postern-each',
  'postern-each-2',
]

/** So that source and sink find what they need beside two of these, on two cores. */
const SMALL_CORE = 0.25

const FLOW = {
  kind: 'publish',
  paths: POSTERN,
  clients: 1,
  rules: 100,
  payload: 64,
  topics: 1,
  rate: 0,
  qos: 0,
  deniedEvery: 0,
  tls: false,
} as const satisfies Omit<FlowLoad, 'name' | 'title'>

const flow = (name: string, title: string, rest: Partial<FlowLoad>): FlowLoad => ({
  ...FLOW,
  name,
  title,
  ...rest,
})

const CONNECT = {
  ...{ paths: POSTERN, rules: 100, distinct: false, clients: 2000, tls: false },
  alg: 'ES256',
} as const
const connecting = (
  kind: ConnectLoad['kind'],
  name: string,
  title: string,
  rest: Partial<ConnectLoad>,
): ConnectLoad => ({ ...CONNECT, kind, name, title, ...rest })

const MIB = 1024 * 1024

export const LOADS: readonly Load[] = [
  flow('pipelined-64', 'pipelined, 64 B', { paths: MAIN }),
  flow('pipelined-256', 'pipelined, 256 B', { paths: MAIN, payload: 256 }),
  flow('pipelined-1024', 'pipelined, 1 KiB', { paths: UNDIGESTED, payload: 1024 }),
  flow('pipelined-16384', 'pipelined, 16 KiB', { paths: UNDIGESTED, payload: 16_384 }),
  flow('unbatched-100', 'unbatched, 100 clients, 10 k/s', { paths: SINGLE, clients: 100, rate: 10_000 }),
  flow('unbatched-1000', 'unbatched, 1000 clients, 10 k/s', { paths: SINGLE, clients: 1000, rate: 10_000 }),
  flow('deliver-1-64', 'deliveries, 1 subscriber, 64 B', { kind: 'deliver', paths: PROXIES }),
  flow('deliver-100-256', 'deliveries, 100 subscribers, 256 B', {
    kind: 'deliver',
    clients: 100,
    payload: 256,
  }),
  flow('deliver-100-1024', 'deliveries, 100 subscribers, 1 KiB', {
    kind: 'deliver',
    clients: 100,
    payload: 1024,
  }),
  flow('qos1-1k', 'QoS 1 round trips, 1 k/s', { paths: PROXIES, clients: 10, rate: 1000, qos: 1 }),
  flow('qos1-10k', 'QoS 1 round trips, 10 k/s', { paths: PROXIES, clients: 100, rate: 10_000, qos: 1 }),
  flow('rules-10', 'pipelined, 256 B, 10 rules', { payload: 256, rules: 10 }),
  flow('rules-10000', 'pipelined, 256 B, 10 000 rules', { payload: 256, rules: 10_000 }),
  flow('topics-1000', 'pipelined, 256 B, 1000 topics', { payload: 256, topics: 1000 }),
  flow('topics-100000', 'pipelined, 256 B, 100 000 topics', { payload: 256, topics: 100_000 }),
  flow('cold-10000', 'pipelined, 256 B, 100 000 topics, 10 000 rules', {
    ...{ payload: 256, topics: 100_000, rules: 10_000 },
  }),
  flow('denied-10', 'pipelined, 256 B, 10 % denied', { payload: 256, deniedEvery: 10 }),
  flow('tls-1024', 'pipelined, 1 KiB, TLS from the agents', { payload: 1024, tls: true }),
  flow('tls-unbatched-100', 'unbatched, 100 clients, 10 k/s, TLS from the agents', {
    ...{ clients: 100, rate: 10_000, tls: true },
  }),
  flow('workers-256', 'pipelined, 256 B, 8 clients, 1 and 2 workers', {
    ...{ paths: WORKERS, clients: 8, payload: 256 },
  }),
  flow('workers-topics', 'pipelined, 256 B, 8 clients, 100 000 topics, 1 and 2 workers', {
    ...{ paths: WORKERS, clients: 8, payload: 256, topics: 100_000 },
  }),
  connecting('storm', 'workers-connect', 'CONNECT, ES256, every token new, 1 and 2 workers', {
    ...{ paths: ['postern', 'postern-2'], distinct: true },
  }),
  flow('cores-256', 'pipelined, 256 B, 8 clients', {
    paths: ['postern', 'postern-2', 'postern-each', 'postern-each-2'],
    ...{ clients: 8, payload: 256, coreShare: SMALL_CORE },
  }),
  connecting('storm', 'cores-connect', 'CONNECT, ES256, every token new', {
    ...{ paths: ['postern', 'postern-2'], distinct: true, coreShare: SMALL_CORE },
  }),
  flow('payload-1m', 'payloads of 1 MiB', { payload: MIB }),
  flow('payload-100m', 'payloads of 100 MiB', {
    ...{ payload: 100 * MIB, paths: [...POSTERN, 'postern-each-undigested'] },
  }),
  connecting('storm', 'connect-es256-new', 'CONNECT, ES256, every token new', { distinct: true }),
  connecting('storm', 'connect-es256-known', 'CONNECT, ES256, one token', {
    paths: ['haproxy', 'pipe', 'postern', 'postern-each'],
  }),
  connecting('storm', 'connect-eddsa-new', 'CONNECT, EdDSA, every token new', {
    alg: 'EdDSA',
    distinct: true,
  }),
  connecting('storm', 'connect-rs256-new', 'CONNECT, RS256, every token new', {
    alg: 'RS256',
    distinct: true,
  }),
  connecting('idle', 'idle-1000', 'idle connections, 1000', { clients: 1000 }),
  connecting('idle', 'idle-9900', 'idle connections, 9900', { clients: 9900, paths: ['haproxy', 'postern'] }),
  connecting('idle', 'idle-9900-own', 'idle connections, 9900, a token and a subscription each', {
    ...{ paths: ['postern'], clients: 9900, distinct: true, filter: 'agents/bench/data/#' },
  }),
]
