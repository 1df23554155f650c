// The scene of the end-to-end tests: Mosquitto, a recording relay, Postern with the fixture policy, an observer at the
// broker, and agents with tokens on demand.
import { readFileSync } from 'node:fs'
import mqtt, { type MqttClient } from 'mqtt'
import { type Broker, type BrokerOptions, startMosquitto } from '../../src/dev/mosquitto.ts'
import { type ConnectOptions, connect } from './frames.ts'
import { Observer } from './observer.ts'
import type { PacketOf } from './packet-inbox.ts'
import { type PosternOptions, startPostern, type TestPostern } from './postern.ts'
import { RawClient } from './raw-client.ts'
import { RecordingRelay } from './recording-relay.ts'
import { TEST_ISSUER } from './tokens.ts'

export const FIXTURE_POLICY = readFileSync(new URL('../e2e/fixture-policy.yaml', import.meta.url), 'utf8')

/** How claims become principals in the fixture: mode `act`, tenant and tools from claims. */
const ISSUER = { claims: { tenant: 'org_id', attributes: { tool: 'tools', call_id: 'call_ids' } } }
/** Refused CONNECTs of a whole file come from one address. */
const LIMITS = { failedTries: 100_000 }

export interface Identity {
  /** Default `u1`. */
  user?: string
  claims?: Record<string, unknown>
  lifetimeMs?: number
}

export interface AgentOptions extends Identity, Omit<ConnectOptions, 'password'> {}

export class Stage {
  readonly broker: Broker
  readonly relay: RecordingRelay
  readonly observer: Observer
  readonly postern: TestPostern
  readonly #others: TestPostern[] = []
  readonly #clients: RawClient[] = []

  constructor(broker: Broker, relay: RecordingRelay, observer: Observer, postern: TestPostern) {
    this.broker = broker
    this.relay = relay
    this.observer = observer
    this.postern = postern
  }

  /** One more Postern before the same broker, for a test that needs other settings. */
  async anotherPostern(options: StageOptions = {}): Promise<TestPostern> {
    const postern = await posternBefore(this.relay, options)
    this.#others.push(postern)
    return postern
  }

  /** An access token of this agent, acting for a user. */
  token(agent: string, who: Identity = {}, postern = this.postern): Promise<string> {
    return tokenOf(postern, agent, who)
  }

  /** A connection that has sent nothing. */
  async socket(postern = this.postern, name = 'client'): Promise<RawClient> {
    const client = await RawClient.open({ port: postern.port, name })
    this.#clients.push(client)
    return client
  }

  /** Connects and returns the CONNACK too, whatever it says. */
  async tryConnect(
    agent: string,
    options: AgentOptions = {},
    postern = this.postern,
  ): Promise<{ client: RawClient; connack: PacketOf<'connack'> }> {
    const { user, claims, lifetimeMs, ...fields } = options
    const token = await tokenOf(postern, agent, {
      ...(user === undefined ? {} : { user }),
      ...(claims === undefined ? {} : { claims }),
      ...(lifetimeMs === undefined ? {} : { lifetimeMs }),
    })
    const client = await this.socket(postern, agent)
    client.send(connect({ clientId: agent, password: token, ...fields }))
    return { client, connack: await client.next('connack') }
  }

  /** An agent that is connected. */
  async agent(name: string, options: AgentOptions = {}, postern = this.postern): Promise<RawClient> {
    const { client, connack } = await this.tryConnect(name, options, postern)
    if (connack.reasonCode !== 0)
      throw new Error(`${name} was refused: 0x${connack.reasonCode?.toString(16)}`)
    return client
  }

  /** An agent with MQTT.js. */
  async mqttAgent(
    name: string,
    who: Identity = {},
    options: mqtt.IClientOptions = {},
    postern = this.postern,
  ): Promise<MqttClient> {
    return mqtt.connectAsync({
      host: postern.host,
      port: postern.port,
      protocolVersion: 5,
      clientId: name,
      username: 'ignored',
      password: await tokenOf(postern, name, who),
      reconnectPeriod: 0,
      ...options,
    })
  }

  async stop(): Promise<void> {
    for (const client of this.#clients) client.destroy()
    await this.observer.close()
    await Promise.all([this.postern, ...this.#others].map((postern) => postern.stop()))
    await this.relay.stop()
    await this.broker.stop()
  }
}

export interface StageOptions extends Partial<Omit<PosternOptions, 'broker'>> {
  mosquitto?: BrokerOptions
  /** Login of the observer. */
  observer?: { username: string; password: string }
}

export async function openStage(options: StageOptions = {}): Promise<Stage> {
  // Without it every small packet of a QoS 2 flow waits 40 ms for an acknowledgement of TCP.
  const conf = ['set_tcp_nodelay true', ...(options.mosquitto?.conf ?? [])]
  const broker = await startMosquitto({ ...options.mosquitto, conf })
  const relay = await RecordingRelay.start(broker)
  const observer = await Observer.open(broker, options.observer)
  return new Stage(broker, relay, observer, await posternBefore(relay, options))
}

function posternBefore(relay: RecordingRelay, options: StageOptions): Promise<TestPostern> {
  const { mosquitto: _, observer: _o, config, issuer, ...rest } = options
  const upstream = { address: `${relay.host}:${relay.port}`, ...(config?.['upstream'] as object) }
  return startPostern({
    broker: relay,
    policy: FIXTURE_POLICY,
    ...rest,
    config: { ...config, upstream, limits: { ...LIMITS, ...(config?.['limits'] as object) } },
    issuer: { ...ISSUER, ...issuer },
  })
}

function tokenOf(postern: TestPostern, agent: string, who: Identity): Promise<string> {
  const claims = {
    sub: who.user ?? 'u1',
    act: { iss: TEST_ISSUER, sub: agent },
    agent_id: agent,
    org_id: 'org_a',
    ...who.claims,
  }
  return postern.issuer.mint(claims, who.lifetimeMs === undefined ? {} : { lifetimeMs: who.lifetimeMs })
}
