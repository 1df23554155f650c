// The two sides of the comparison: a Mosquitto on its own, and an equal one behind Postern with a policy that allows
// everything. Both have the same recording relay as the last hop to the broker.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Broker, type BrokerOptions, startMosquitto } from '../../src/dev/mosquitto.ts'
import { startPostern, type TestPostern } from '../support/postern.ts'
import { Relay } from './relay.ts'

const EVERYTHING = `allow: publish+subscribe, topics: ["#", "$SYS/#", "$mine/#", "$CONTROL/#"], retain: allowed, shareGroups: any`

export const POLICY = `
version: 1
agents:
  - { id: everything, ${EVERYTHING} }
users:
  - { id: everything-for-users, ${EVERYTHING} }
`

/** Nothing of Postern's own may show: no binding, sessions as the client asks, no limit below the protocol's. */
export const CONFIG = {
  clientId: { binding: 'any' },
  sessions: { delegated: 'resume', unknownRelease: 'forward' },
  limits: {
    connectTimeout: '5m',
    connectBytes: '1MiB',
    publishHeadBytes: '1MiB',
    controlPacketBytes: '1MiB',
    filtersPerPacket: 65_535,
    subscriptions: 1_000_000,
    userProperties: 65_535,
    topicAliases: 65_535,
    failedTries: 1_000_000,
  },
}

export type SideName = 'direct' | 'postern'

/** Where a client connects on one side, and the broker at its end. */
export class Side {
  readonly name: SideName
  readonly relay: Relay
  broker: Broker
  postern: TestPostern | undefined
  readonly #options: BrokerOptions

  private constructor(name: SideName, broker: Broker, relay: Relay, options: BrokerOptions) {
    this.name = name
    this.broker = broker
    this.relay = relay
    this.#options = options
  }

  static async start(name: SideName, options: BrokerOptions): Promise<Side> {
    const broker = await startMosquitto(options)
    const relay = await Relay.listen(broker)
    const side = new Side(name, broker, relay, options)
    if (name === 'postern') {
      side.postern = await startPostern({
        broker: { host: '127.0.0.1', port: relay.port },
        policy: POLICY,
        config: CONFIG,
      })
    }
    return side
  }

  get entry(): { host: string; port: number } {
    return { host: '127.0.0.1', port: this.postern?.port ?? this.relay.port }
  }

  /** Ends the broker at once, as a crash would. */
  async killBroker(): Promise<void> {
    process.kill(this.broker.pid, 'SIGKILL')
    await this.broker.stop()
  }

  /** SIGTERM: the broker says goodbye and saves its state. */
  stopBroker(): Promise<void> {
    return this.broker.stop()
  }

  async startBroker(): Promise<void> {
    this.broker = await startMosquitto({ ...this.#options, port: this.broker.port })
  }

  async stop(): Promise<void> {
    await this.postern?.stop()
    await this.relay.close()
    await this.broker.stop()
  }
}

/** The Mosquitto whose behaviour is written down. Others are compared too, but what is known of them is less. */
export const KNOWN_MOSQUITTO = '2.0.11'

export interface Pair {
  direct: Side
  postern: Side
  /** Both brokers are KNOWN_MOSQUITTO. */
  isKnown: boolean
  /** The password of every client, on both sides; the direct broker takes any. */
  token: string
  stop(): Promise<void>
}

/** @param options.persistent sessions outlive a restart of the broker */
export async function startPair(
  options: { conf?: readonly string[]; persistent?: boolean } = {},
): Promise<Pair> {
  const directory = await mkdtemp(join(tmpdir(), 'postern-pair-'))
  const start = async (name: SideName): Promise<Side> => {
    // Equal brokers, but each with files of its own.
    const persistence = options.persistent === true ? await mkdtemp(join(directory, name)) : undefined
    return Side.start(name, {
      ...(options.conf ? { conf: options.conf } : {}),
      ...(persistence === undefined ? {} : { persistence }),
    })
  }
  const [direct, postern] = await Promise.all([start('direct'), start('postern')])
  const token = await postern.postern!.issuer.mint()
  return {
    direct,
    postern,
    isKnown: direct.broker.log.some((line) => line.startsWith(`mosquitto version ${KNOWN_MOSQUITTO} `)),
    token,
    stop: async () => {
      await Promise.all([direct.stop(), postern.stop()])
      await rm(directory, { recursive: true, force: true })
    },
  }
}
