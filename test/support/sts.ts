// A token endpoint in the test's process, with the stub of an identity provider and two clients: `scout-client` with a
// secret, `analyst-client` with a key. Real HTTP, real files, time that can be moved.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { AuditRecord } from '../../src/audit/record.ts'
import { ID_JAG_DRAFT } from '../../src/config/sts-config.ts'
import { loadStsConfig } from '../../src/config/sts-load.ts'
import { writeNewKey } from '../../src/sts/signing-keys.ts'
import { Sts } from '../../src/sts/sts.ts'
import { ClientKey, IdpStub, STUB_IDP } from './idp-stub.ts'
import { TravelClock } from './travel-clock.ts'

export const STS_ISSUER = 'https://sts.example'
export const STS_AUDIENCE = 'https://mqtt.example'
export const SCOUT_SECRET = 'a-secret-of-scout-with-32-characters'
export const GRANT = 'urn:ietf:params:oauth:grant-type:jwt-bearer'
export const ASSERTION_TYPE = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'

export interface Answer {
  status: number
  headers: Headers
  body: Record<string, unknown>
}

export class TestSts {
  readonly directory = mkdtempSync(join(tmpdir(), 'postern-sts-'))
  readonly clock = new TravelClock()
  /** What was logged, newest last. */
  readonly log: { message: string; fields: Record<string, unknown> }[] = []
  idp!: IdpStub
  analyst!: ClientKey
  sts!: Sts

  /** @param changes keys over the defaults, as in a configuration file */
  static async start(changes: Record<string, unknown> = {}): Promise<TestSts> {
    const test = await TestSts.prepare(changes)
    await test.restart()
    return test
  }

  /** Everything but the process. */
  static async prepare(changes: Record<string, unknown> = {}): Promise<TestSts> {
    const test = new TestSts()
    test.idp = await IdpStub.create(test.clock, STS_ISSUER)
    test.analyst = await ClientKey.create(test.clock)
    await writeNewKey(test.path('sts-keys.json'), 'ES256', false)
    test.write('idp.json', test.idp.jwks())
    test.write('analyst.json', JSON.stringify({ keys: [test.analyst.jwk] }))
    test.write('scout.secret', `${SCOUT_SECRET}\n`)
    const file = {
      issuer: STS_ISSUER,
      address: '127.0.0.1:0',
      keysFile: 'sts-keys.json',
      profile: ID_JAG_DRAFT,
      token: { audience: STS_AUDIENCE },
      providers: [{ issuer: STUB_IDP, jwks: { file: 'idp.json' } }],
      clients: [
        { id: 'scout-client', agent: { sub: 'scout' }, secretFile: 'scout.secret' },
        { id: 'analyst-client', agent: { sub: 'analyst' }, jwks: { file: 'analyst.json' } },
      ],
      replayFile: 'replay.jsonl',
      auditFile: 'audit.jsonl',
      ...changes,
    }
    test.write('sts.json', JSON.stringify(file))
    return test
  }

  async restart(): Promise<void> {
    await this.sts?.stop()
    const loaded = loadStsConfig(readFileSync(this.path('sts.json'), 'utf8'), this.path('sts.json'))
    if ('problems' in loaded) throw new Error(JSON.stringify(loaded.problems))
    const at = (fields: object, message: string): void =>
      void this.log.push({ message, fields: { ...fields } })
    const logger = { debug: at, info: at, warn: at, error: at, child: () => logger }
    this.sts = new Sts(loaded.config, { clock: this.clock, logger })
    await this.sts.start()
  }

  get url(): string {
    return `http://${this.sts.address}`
  }

  /** Why the last request was refused, precisely; for the operator only. */
  get lastReason(): unknown {
    return this.log.findLast(({ message }) => message === 'no token issued')?.fields['reason']
  }

  path(name: string): string {
    return join(this.directory, name)
  }

  write(name: string, text: string): void {
    writeFileSync(this.path(name), text)
  }

  /** As `scout-client` with its secret in the form, unless `form` says otherwise; `undefined` leaves a parameter out. */
  async ask(form: Record<string, string | undefined>, headers: Record<string, string> = {}): Promise<Answer> {
    const all = { grant_type: GRANT, client_id: 'scout-client', client_secret: SCOUT_SECRET, ...form }
    const given = Object.entries(all).filter((entry): entry is [string, string] => entry[1] !== undefined)
    return this.post(new URLSearchParams(given).toString(), headers)
  }

  async post(body: string, headers: Record<string, string> = {}): Promise<Answer> {
    const response = await fetch(`${this.url}/token`, {
      method: 'POST',
      headers: { 'content-type': 'application/x-www-form-urlencoded', ...headers },
      body,
    })
    const text = await response.text()
    const isJson = response.headers.get('content-type') === 'application/json'
    return { status: response.status, headers: response.headers, body: isJson ? JSON.parse(text) : { text } }
  }

  /** Ends the process and reads what it has recorded. */
  async records(): Promise<AuditRecord[]> {
    await this.sts.stop()
    return readFileSync(this.path('audit.jsonl'), 'utf8')
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line) as AuditRecord)
  }

  async remove(): Promise<void> {
    await this.sts?.stop()
    rmSync(this.directory, { recursive: true, force: true })
  }
}
