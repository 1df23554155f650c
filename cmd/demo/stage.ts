// Everything the story needs, in one temporary directory: a broker that only Postern may log in to, a development
// issuer, Postern itself from real files, and a witness at the broker. Owns making and clearing away.

import { hash, type JsonWebKey, randomBytes } from 'node:crypto'
import { appendFileSync } from 'node:fs'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { App } from '../../src/app.ts'
import { Models } from '../../src/audit/models.ts'
import type { AuditRecord, WrittenRecord } from '../../src/audit/record.ts'
import { systemClock } from '../../src/clock.ts'
import { loadConfig } from '../../src/config/load.ts'
import { agentClaims, DEV_AUDIENCE, DEV_ISSUER, DevIssuer, PUBLIC_KEYS_FILE } from '../../src/dev/issuer.ts'
import { type Broker, startMosquitto } from '../../src/dev/mosquitto.ts'
import { findOrInstallMosquitto } from '../../src/dev/mosquitto-install.ts'
import { createLogger } from '../../src/telemetry/logger.ts'
import { version } from '../version.ts'
import { Agent } from './agent.ts'
import type { Teller } from './teller.ts'

const HOST = '127.0.0.1'
const BROKER_USER = 'postern'
/** Forgiven clock difference in the demo's configuration: what an expired token still lives. */
export const LEEWAY_MS = 1_000

export interface Scene {
  stage: Stage
  tell: Teller
}

export interface StageOptions {
  /** Text of the policy. */
  policy: string
  log: (line: string) => void
}

export class Stage {
  readonly directory: string
  readonly broker: Broker
  readonly issuer: DevIssuer
  readonly app: App
  /** Logged in at the broker itself, subscribed to `#`: what it did not see did not get past Postern. */
  readonly witness: Agent
  /** Of the admin endpoint. */
  readonly #secret: string
  /** By Client Identifier, the latest connection. */
  readonly #agents = new Map<string, Agent>()

  private constructor(
    parts: Pick<Stage, 'directory' | 'broker' | 'issuer' | 'app' | 'witness'>,
    secret: string,
  ) {
    this.#secret = secret
    this.directory = parts.directory
    this.broker = parts.broker
    this.issuer = parts.issuer
    this.app = parts.app
    this.witness = parts.witness
  }

  /**
   * @param cleanups gets what has to be undone, in the order it was done; also when this rejects
   * @throws PosternError of the part that failed
   */
  static async open(options: StageOptions, cleanups: Cleanups): Promise<Stage> {
    await findOrInstallMosquitto({ log: options.log })
    const directory = await mkdtemp(join(tmpdir(), 'postern-demo-'))
    cleanups.add(() => rm(directory, { recursive: true, force: true }))
    const password = randomBytes(18).toString('base64url')
    const broker = await startMosquitto({ users: { [BROKER_USER]: password } })
    cleanups.add(() => broker.stop())
    const issuer = await DevIssuer.generate(systemClock)
    await issuer.save(directory)
    await writeFile(join(directory, 'broker-password'), password, { mode: 0o600 })
    const secret = randomBytes(18).toString('base64url')
    await writeFile(join(directory, 'admin-secret'), secret, { mode: 0o600 })
    await writeFile(join(directory, 'policy.yaml'), options.policy)
    const held = await issuer.mint(agentClaims({ agent: 'scout', user: 'u1' }))
    await writeFile(join(directory, 'scout.jwt'), held, { mode: 0o600 })
    const configFile = join(directory, 'postern.yaml')
    await writeFile(configFile, configText(broker))
    const app = await startPostern(configFile, directory)
    cleanups.add(() => app.stop())
    const witness = await Agent.connect({
      host: broker.host,
      port: broker.port,
      clientId: 'witness',
      username: BROKER_USER,
      password,
    })
    await witness.subscribe(['#'])
    const stage = new Stage({ directory, broker, issuer, app, witness }, secret)
    cleanups.add(() => stage.#endAgents())
    return stage
  }

  get address(): { host: string; port: number } {
    return { host: HOST, port: Number(this.app.listeners[0]!.address.split(':').at(-1)) }
  }

  /** The listener for which Postern holds the token. */
  get heldAddress(): { host: string; port: number } {
    return { host: HOST, port: Number(this.app.listeners[1]!.address.split(':').at(-1)) }
  }

  get auditFile(): string {
    return join(this.directory, 'audit.jsonl')
  }

  /** A token for `agent` acting for `user`; default life 15 minutes. */
  token(agent: string, user: string, lifetimeMs?: number): Promise<string> {
    const claims = agentClaims({ agent, user })
    return this.issuer.mint(claims, lifetimeMs === undefined ? {} : { lifetimeMs })
  }

  /** A token that is bound to this key (RFC 9449 §6.1). */
  boundToken(agent: string, user: string, privateKey: JsonWebKey): Promise<string> {
    return this.issuer.mint({ ...agentClaims({ agent, user }), cnf: { jkt: thumbprintOf(privateKey) } })
  }

  /** As `connect`, by a challenge that is answered with this key. */
  async connectProving(clientId: string, token: string, privateKey: JsonWebKey): Promise<Agent> {
    const prover = { privateKey, token, audience: DEV_AUDIENCE, clientId }
    const agent = await Agent.connect({ ...this.address, clientId, prover })
    this.#agents.set(clientId, agent)
    return agent
  }

  /** Revokes whom a `sub_id` names. @returns status of the answer */
  async revoke(subject: object): Promise<number> {
    const response = await fetch(`${this.app.adminUrl}/revocations`, {
      method: 'POST',
      headers: { authorization: `Bearer ${this.#secret}`, 'content-type': 'application/json' },
      body: JSON.stringify({ sub_id: subject }),
    })
    return response.status
  }

  /** Connects through Postern; the answer is in `connack`. */
  async connect(clientId: string, token: string, will?: { topic: string; payload: string }): Promise<Agent> {
    const agent = await Agent.connect({
      ...this.address,
      clientId,
      username: 'jwt',
      password: token,
      ...(will === undefined ? {} : { will }),
    })
    this.#agents.set(clientId, agent)
    return agent
  }

  /** The agent that connected last under this name. */
  agent(clientId: string): Agent {
    const agent = this.#agents.get(clientId)
    if (agent === undefined) throw new Error(`${clientId} has not connected`)
    return agent
  }

  /** All audit records so far. */
  async records(): Promise<AuditRecord[]> {
    await this.app.flushAudit()
    const text = await readFile(this.auditFile, 'utf8')
    const models = new Models()
    return text
      .trimEnd()
      .split('\n')
      .flatMap((line) => models.records(JSON.parse(line) as WrittenRecord))
  }

  async #endAgents(): Promise<void> {
    await Promise.all([this.witness, ...this.#agents.values()].map((agent) => agent.end()))
  }
}

/** The newest record of an action. */
export async function lastRecord(
  stage: Stage,
  action: AuditRecord['action'],
): Promise<AuditRecord | undefined> {
  return (await stage.records()).findLast((record) => record.action === action)
}

/** RFC 7638, of an Ed25519 key. */
function thumbprintOf({ crv, kty, x }: JsonWebKey): string {
  return hash('sha256', JSON.stringify({ crv, kty, x }), 'base64url')
}

/** What has to be undone, last thing first. */
export class Cleanups {
  #steps: (() => Promise<void>)[] = []

  add(step: () => Promise<void>): void {
    this.#steps.push(step)
  }

  /** Undoes everything, whatever fails on the way. Idempotent. */
  async run(): Promise<void> {
    for (let step = this.#steps.pop(); step !== undefined; step = this.#steps.pop())
      await step().catch(() => {})
  }
}

async function startPostern(configFile: string, directory: string): Promise<App> {
  const loaded = loadConfig(await readFile(configFile, 'utf8'), configFile, {})
  if ('problems' in loaded) {
    throw new Error(loaded.problems.map(({ path, message }) => `${path}: ${message}`).join('\n'))
  }
  const logFile = join(directory, 'postern.log')
  const logger = createLogger({
    level: loaded.config.log.level,
    clock: systemClock,
    write: (line) => appendFileSync(logFile, line),
  })
  const app = new App(loaded.config, { logger, version })
  await app.start()
  return app
}

function configText(broker: Broker): string {
  return `# Written by the demo.
instance: demo
listeners:
  - name: agents
    address: ${HOST}:0            # any free port
  - name: scout
    address: ${HOST}:0
    credentials: broker            # its agent brings none: Postern holds the token
    credentialSource: { tokenFile: scout.jwt }
upstream:
  address: ${broker.host}:${broker.port}
  username: ${BROKER_USER}
  passwordFile: broker-password
issuers:
  - issuer: ${DEV_ISSUER}
    audience: ${DEV_AUDIENCE}
    jwks: { file: ${PUBLIC_KEYS_FILE} }
    mapping: act
    claims:
      agentId: agent_id
      attributes: { tool: tools, call_id: call_ids }
    maxLifetime: 1h                # so that there is time to play
    leeway: ${LEEWAY_MS}ms
policy: { file: policy.yaml }
delegation: { property: postern-token }
audit: { file: audit.jsonl }
admin: { address: "${HOST}:0" }
proof: { dpop: draft-nandakumar-moq-generic-dpop-proof-00 }
revocation: { file: revocations.jsonl, secretFile: admin-secret }
sessions: { drain: 1s }
`
}
