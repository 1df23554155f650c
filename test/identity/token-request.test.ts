// Asking a token endpoint, and everything that it may answer.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { decodeJwt, jwtVerify } from 'jose'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { TokenEndpointConfig } from '../../src/config/credential-config.ts'
import { TokenRequester } from '../../src/identity/token-request.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { ClientKey } from '../support/idp-stub.ts'

const JSON_TYPE = { 'content-type': 'application/json' }
const directory = mkdtempSync(join(tmpdir(), 'postern-request-'))
const clock = new FakeClock()
let key: ClientKey
let url: string
let answer: (response: ServerResponse) => void
let asked: { headers: IncomingMessage['headers']; form: Record<string, string> }[] = []
const server = createServer(async (request, response) => {
  let body = ''
  for await (const part of request) body += part
  asked.push({ headers: request.headers, form: Object.fromEntries(new URLSearchParams(body)) })
  answer(response)
})

beforeAll(async () => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/token`
  key = await ClientKey.create(clock)
  writeFileSync(file('key.json'), key.privateJwk)
  writeFileSync(file('secret'), 'se:cret+1\nformer\n')
  writeFileSync(file('jag.jwt'), 'a.b.c\n')
})
beforeEach(() => {
  asked = []
  answer = (response) => send(response, { access_token: 'x.y.z', token_type: 'bearer', expires_in: 300 })
})
afterAll(() => {
  server.closeAllConnections()
  server.close()
  rmSync(directory, { recursive: true })
})

function file(name: string): string {
  return join(directory, name)
}

function send(response: ServerResponse, body: unknown, status = 200, headers: object = JSON_TYPE): void {
  response.writeHead(status, { ...headers }).end(typeof body === 'string' ? body : JSON.stringify(body))
}

async function ask(changes: Partial<TokenEndpointConfig> = {}, time = clock) {
  const requester = new TokenRequester(
    {
      url,
      grant: 'jwt-bearer',
      assertionFile: file('jag.jwt'),
      clientId: 'scout client',
      clientSecretFile: file('secret'),
      clientKeyFile: undefined,
      audience: undefined,
      scope: undefined,
      resource: undefined,
      caFile: undefined,
      timeout: 5_000,
      ...changes,
    },
    time,
  )
  try {
    return await requester.request()
  } finally {
    await requester.close()
  }
}

describe('a request', () => {
  it('DEL-14 jwt-bearer with the assertion of the file, and the secret as Basic, encoded like a form', async () => {
    expect(await ask({ scope: 'cards inbox', resource: 'https://mqtt.example' })).toEqual({
      ok: true,
      token: 'x.y.z',
    })
    const [{ headers, form }] = asked as [(typeof asked)[number]]
    expect(form).toEqual({
      grant_type: 'urn:ietf:params:oauth:grant-type:jwt-bearer',
      assertion: 'a.b.c',
      scope: 'cards inbox',
      resource: 'https://mqtt.example',
    })
    const basic = Buffer.from(headers.authorization!.slice('Basic '.length), 'base64').toString()
    expect(basic).toBe('scout%20client:se%3Acret%2B1')
  })

  it('DEL-14 client_credentials, authenticated by a key', async () => {
    await ask({
      grant: 'client_credentials',
      assertionFile: undefined,
      clientSecretFile: undefined,
      clientKeyFile: file('key.json'),
      audience: 'https://as.example',
    })
    const { form } = asked[0]!
    expect(form).toMatchObject({
      grant_type: 'client_credentials',
      client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
    })
    const { payload } = await jwtVerify(form['client_assertion']!, key.jwk, {
      issuer: 'scout client',
      subject: 'scout client',
      audience: 'https://as.example',
      currentDate: new Date(clock.now()),
    })
    expect(payload.exp! - payload.iat!).toBe(60)
    expect(decodeJwt(form['client_assertion']!).jti).toMatch(/^[0-9a-f-]{36}$/)
  })
})

describe('no token', () => {
  const good = { access_token: 'x.y.z', token_type: 'Bearer' }
  const rows: [string, (response: ServerResponse) => void, string, string?][] = [
    ['an OAuth error', (r) => send(r, { error: 'invalid_grant' }, 400), 'refused', '400 invalid_grant'],
    ['an error with a text of its own', (r) => send(r, { error: 'eyJ.x\n' }, 400), 'refused', '400'],
    ['an error page', (r) => send(r, '<html>', 502, { 'content-type': 'text/html' }), 'refused', '502'],
    ['a redirect', (r) => send(r, '', 302, { location: url }), 'refused', '302'],
    ['another type', (r) => send(r, good, 200, { 'content-type': 'text/html' }), 'bad_answer'],
    ['no JSON', (r) => send(r, '{'), 'bad_answer'],
    ['null', (r) => send(r, 'null'), 'bad_answer'],
    ['a token of another kind', (r) => send(r, { ...good, token_type: 'DPoP' }), 'bad_answer'],
    ['no token', (r) => send(r, { token_type: 'Bearer' }), 'bad_answer'],
    ['a token with a line break', (r) => send(r, { ...good, access_token: 'x.y\n.z' }), 'bad_answer'],
    ['an endless answer', (r) => send(r, { ...good, x: 'x'.repeat(100_000) }), 'too_large'],
    ['a closed connection', (r) => r.destroy(), 'unreachable'],
  ]
  it.each(rows)('DEL-14 %s', async (_, reply, reason, detail) => {
    answer = reply
    expect(await ask()).toEqual({ ok: false, reason, ...(detail === undefined ? {} : { detail }) })
    expect(asked).toHaveLength(1)
  })

  it('DEL-14 a silent endpoint, after the timeout', async () => {
    const time = new FakeClock()
    answer = () => time.advance(5_000)
    expect(await ask({}, time)).toEqual({ ok: false, reason: 'timeout' })
    expect(time.pendingCount).toBe(0)
  })

  it.each([
    ['no assertion', { assertionFile: file('none') }, 'unreadable_file'],
    ['no secret', { clientSecretFile: file('none') }, 'unreadable_file'],
    ['no authorities', { caFile: file('none') }, 'unreadable_file'],
    ['a key that is none', { clientSecretFile: undefined, clientKeyFile: file('secret') }, 'bad_client_key'],
  ])('DEL-14 %s: nothing is asked', async (_, changes, reason) => {
    expect(await ask({ audience: 'https://as.example', ...changes })).toEqual({ ok: false, reason })
    expect(asked).toHaveLength(0)
  })
})
