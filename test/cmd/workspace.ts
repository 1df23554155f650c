// A directory as a newcomer makes it: development keys, a policy, a configuration.
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock } from '../../src/clock.ts'
import { agentClaims, DEV_AUDIENCE, DEV_ISSUER, DevIssuer } from '../../src/dev/issuer.ts'

export const POLICY = `version: 1
agents:
  - { id: own-card, allow: publish+subscribe, topic: "agents/{agent_id}/card", retain: allowed }
  - { id: cards, allow: subscribe, topic: agents/+/card }
  - { id: inbox, allow: subscribe, topic: "tasks/{agent_id}/inbox", shareGroups: [workers] }
  - { id: ask, allow: publish, topic: tasks/analyst/inbox, responseTopic: allowed }
users:
  - { id: presence, allow: publish+subscribe, topic: "agents/#", retain: allowed }
  - { id: tasks, allow: publish+subscribe, topic: "tasks/#", users: [alice], shareGroups: [workers] }
`

export class Workspace {
  readonly directory = mkdtempSync(join(tmpdir(), 'postern-cmd-'))
  readonly config = this.path('postern.yaml')
  issuer: DevIssuer

  private constructor(issuer: DevIssuer) {
    this.issuer = issuer
  }

  /** @param changes keys over the defaults, as in a configuration file */
  static async create(changes: Record<string, unknown> = {}, policy = POLICY): Promise<Workspace> {
    const workspace = new Workspace(await DevIssuer.generate(systemClock))
    await workspace.issuer.save(workspace.path('keys'))
    workspace.write('policy.yaml', policy)
    workspace.configure(changes)
    return workspace
  }

  configure(changes: Record<string, unknown>): void {
    const file = {
      listeners: [{ name: 'agents', address: '127.0.0.1:0' }],
      upstream: { address: '127.0.0.1:1' },
      audience: DEV_AUDIENCE,
      issuers: [{ issuer: DEV_ISSUER, jwks: { file: 'keys/jwks.json' } }],
      policy: { file: 'policy.yaml' },
      audit: { file: 'audit.jsonl', flushInterval: '1ms' },
      admin: { address: '127.0.0.1:0' },
      ...changes,
    }
    this.write('postern.yaml', JSON.stringify(file))
  }

  path(name: string): string {
    return join(this.directory, name)
  }

  write(name: string, content: string): string {
    writeFileSync(this.path(name), content)
    return this.path(name)
  }

  /** As careful programs replace files: never half of one. */
  renameOver(name: string, content: string): void {
    this.write(`${name}.new`, content)
    renameSync(this.path(`${name}.new`), this.path(name))
  }

  /** New keys in place of the old ones; returns the issuer that signed until now. */
  async rotateKeys(): Promise<DevIssuer> {
    const before = this.issuer
    this.issuer = await DevIssuer.generate(systemClock)
    this.renameOver('keys/jwks.json', JSON.stringify(this.issuer.publicJwks()))
    return before
  }

  token(agent: string, user = 'alice', lifetimeMs = 900_000, issuer = this.issuer): Promise<string> {
    return issuer.mint(agentClaims({ agent, user }), { lifetimeMs })
  }

  remove(): void {
    rmSync(this.directory, { recursive: true, force: true })
  }
}
