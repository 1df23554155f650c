// biome-ignore-all lint/suspicious/noTemplateCurlyInString: EMQX writes its placeholders so
import { describe, expect, it } from 'vitest'
import type { IssuerConfig } from '../../src/config/config.ts'
import { AUTH_FAILURES, connackFor } from '../../src/identity/auth-failure.ts'
import {
  type Authentication,
  Authenticator,
  type AuthenticatorConfig,
} from '../../src/identity/authenticator.ts'
import type { Admit } from '../../src/session/context.ts'
import { type ConnectFields, connectFields } from './connect-fields.ts'
import { encode, RawSigner } from './raw-signer.ts'
import { type VerifierKit, verifierKit } from './verifier-kit.ts'

const TRIES = 5
const WINDOW_MS = 60_000

const SETTINGS: AuthenticatorConfig = {
  token: { maxBytes: 8192, fromUsername: false, topic: undefined, methods: ['OAUTH2-JWT'] },
  clientId: { binding: 'exact', separator: '.' },
  limits: { failedTries: TRIES, failedTriesWindow: WINDOW_MS, failedTriesFrom: 'any' },
}

interface Kit extends VerifierKit {
  connect(fields: ConnectFields, address?: string): Promise<Authentication>
}

async function authenticatorKit(
  changes: Partial<IssuerConfig> = {},
  settings: Partial<AuthenticatorConfig> = {},
): Promise<Kit> {
  const kit = await verifierKit(changes)
  const authenticator = new Authenticator(kit.verifier, { ...SETTINGS, ...settings }, kit.clock)
  const admit: Admit = (source, connect, address, tls) =>
    authenticator.authenticate(source, connect, address, tls)
  const connect = (fields: ConnectFields, address = '192.0.2.1'): Promise<Authentication> => {
    const { source, connect: head } = connectFields({ clientId: 'scout', ...fields })
    const answer = admit(source, head, address, undefined, 'agents') as Promise<Authentication>
    // The session may reuse both as soon as the call has returned.
    source.fill(0)
    head.clientIdStart = head.clientIdEnd = 0
    return answer
  }
  return { ...kit, connect }
}

function reasonOf(answer: Authentication): string {
  return answer.ok ? 'ok' : answer.reason
}

describe('from CONNECT to principal', () => {
  it('C1 TOK-13 Password', async () => {
    const kit = await authenticatorKit()
    const answer = await kit.connect({ password: kit.signer.sign(kit.claims()) })
    expect(answer).toMatchObject({
      ok: true,
      clientId: 'scout',
      assigned: false,
      authenticationMethod: undefined,
      principal: { clientId: 'scout', agent: { id: 'scout' }, human: { id: 'alice' } },
    })
  })

  it('TOK-13 Authentication Data: the method is to be repeated', async () => {
    const kit = await authenticatorKit()
    const answer = await kit.connect({ method: 'OAUTH2-JWT', data: kit.signer.sign(kit.claims()) })
    expect(answer).toMatchObject({ ok: true, authenticationMethod: 'OAUTH2-JWT' })
  })

  it('TOK-15 the User Name has no effect', async () => {
    const kit = await authenticatorKit()
    const password = kit.signer.sign(kit.claims())
    const [one, other] = [await kit.connect({ password }), await kit.connect({ password, userName: 'admin' })]
    expect(other).toEqual(one)
  })

  it('TOK-16 C6 the token of scout under the identifier of analyst names whose token it was', async () => {
    const kit = await authenticatorKit()
    const answer = await kit.connect({ clientId: 'analyst', password: kit.signer.sign(kit.claims()) })
    expect(answer).toMatchObject({
      ok: false,
      reason: 'client_id_mismatch',
      reasonCode: 0x85,
      token: { agent: { id: 'scout' }, human: { id: 'alice' } },
    })
  })

  it('TOK-17 C15 an assigned identifier carries the agent and cannot be guessed', async () => {
    const kit = await authenticatorKit({}, { clientId: { binding: 'prefix', separator: '.' } })
    const password = kit.signer.sign(kit.claims())
    const [one, other] = [
      await kit.connect({ clientId: '', password }),
      await kit.connect({ clientId: '', password }),
    ]
    expect(one).toMatchObject({ ok: true, assigned: true })
    expect(one.ok && one.clientId).toMatch(/^scout\.[\w-]{16}$/)
    expect(one.ok && other.ok && one.clientId !== other.clientId).toBe(true)
  })

  it('A1 a ceiling with ${clientid} refuses an identifier that is not one topic level', async () => {
    const kit = await authenticatorKit(
      { ceilings: ['acl'] },
      { clientId: { binding: 'any', separator: '.' } },
    )
    const password = kit.signer.sign(kit.claims({ acl: { sub: ['my/${clientid}/topic'] } }))
    expect(reasonOf(await kit.connect({ clientId: '+', password }))).toBe('client_id_mismatch')
    const good = await kit.connect({ clientId: 'x', password })
    expect(good.ok && good.principal.ceilings[0]?.rules[0]?.filter).toBe('my/x/topic')
  })
})

describe('failed tries', () => {
  const forge = (kit: VerifierKit): string => new RawSigner('k1').sign(kit.claims())

  it('TOK-18 of 100 bad tokens from one address, the later ones are refused without signature work', async () => {
    const kit = await authenticatorKit()
    const reasons: string[] = []
    for (let i = 0; i < 100; i++) reasons.push(reasonOf(await kit.connect({ password: forge(kit) })))
    expect(reasons.slice(0, TRIES)).toEqual(Array(TRIES).fill('bad_signature'))
    expect(reasons.slice(TRIES)).toEqual(Array(100 - TRIES).fill('rate_limited'))
    expect(kit.keys.asked).toBe(TRIES)
    expect(await kit.connect({ password: forge(kit) })).toMatchObject({ reasonCode: 0x9f })

    const password = kit.signer.sign(kit.claims())
    expect(reasonOf(await kit.connect({ password }))).toBe('rate_limited')
    expect(reasonOf(await kit.connect({ password }, '192.0.2.2'))).toBe('ok')
    kit.clock.advance(WINDOW_MS)
    expect(reasonOf(await kit.connect({ password }))).toBe('ok')
  })

  it('TOK-18 the holder of a good token is limited across addresses', async () => {
    const kit = await authenticatorKit()
    const password = kit.signer.sign(kit.claims())
    for (let i = 0; i < TRIES; i++) {
      expect(reasonOf(await kit.connect({ clientId: 'analyst', password }, `10.0.0.${i}`))).toBe(
        'client_id_mismatch',
      )
    }
    const asked = kit.keys.asked
    expect(reasonOf(await kit.connect({ password }, '10.0.1.1'))).toBe('rate_limited')
    expect(kit.keys.asked).toBe(asked)
    const colleague = kit.signer.sign(kit.claims({ act: { iss: 'https://idp.test', sub: 'rover' } }))
    expect(reasonOf(await kit.connect({ clientId: 'rover', password: colleague }, '10.0.1.1'))).toBe('ok')
  })

  it.each([
    ['forged', (kit: VerifierKit) => forge(kit)],
    [
      'expired',
      (kit: VerifierKit) =>
        kit.signer.sign(kit.claims({ iat: kit.clock.now() / 1000 - 800, exp: kit.clock.now() / 1000 - 100 })),
    ],
    ['of another audience', (kit: VerifierKit) => kit.signer.sign(kit.claims({ aud: 'other' }))],
  ])('TOK-18 nobody locks out a subject with tokens that are %s', async (_, bad) => {
    const kit = await authenticatorKit()
    for (let i = 0; i < 3 * TRIES; i++) await kit.connect({ password: bad(kit) }, `10.0.0.${i}`)
    expect(reasonOf(await kit.connect({ password: kit.signer.sign(kit.claims()) }))).toBe('ok')
  })

  it.each([
    ['127.0.0.1', true],
    ['127.8.9.10', true],
    ['::1', true],
    ['::ffff:127.0.0.1', true],
    ['unix', true],
    ['192.0.2.1', false],
    ['2001:db8::1', false],
  ])(
    'TOK-18 agents that share the host do not lock each other out: %s spared %s',
    async (address, spared) => {
      const limits = { ...SETTINGS.limits, failedTriesFrom: 'remote' as const }
      const kit = await authenticatorKit({}, { limits })
      for (let i = 0; i < TRIES + 1; i++) await kit.connect({ password: 'nonsense' }, address)
      const answer = await kit.connect({ password: kit.signer.sign(kit.claims()) }, address)
      expect(answer).toMatchObject(spared ? { ok: true } : { ok: false, reason: 'rate_limited' })
    },
  )

  it('TOK-18 keys that are unavailable count against nobody', async () => {
    const kit = await authenticatorKit()
    kit.keys.keyFor = async () => ({ ok: false, reason: 'keys_unavailable' })
    const password = kit.signer.sign(kit.claims())
    for (let i = 0; i <= TRIES; i++) {
      expect(await kit.connect({ password })).toMatchObject({ reason: 'keys_unavailable', reasonCode: 0x88 })
    }
  })
})

describe('what the client is told', () => {
  it('TOK-20 every reason has a code that CONNACK may carry and one of few sentences', () => {
    const allowed = [0x85, 0x86, 0x87, 0x88, 0x8c, 0x9f]
    const texts = new Set<string>()
    for (const reason of AUTH_FAILURES) {
      for (const place of ['password', 'authentication_data', 'user_name', 'none'] as const) {
        const { code, text } = connackFor(reason, place)
        expect(allowed).toContain(code)
        expect(text).not.toMatch(/expire|signature|audience|issuer|actor|owner|claim/)
        texts.add(text)
      }
    }
    expect(texts.size).toBe(9)
  })

  const now = (kit: VerifierKit): number => kit.clock.now() / 1000
  const causes: [string, (kit: VerifierKit) => string, number, number][] = [
    ['malformed_token', () => 'a.b', 0x86, 0x87],
    ['token_too_large', () => 'a'.repeat(9000), 0x86, 0x87],
    ['duplicate_claim', () => `${encode('{"a":1,"a":1}')}.e30.e30`, 0x86, 0x87],
    ['wrong_token_type', (kit) => kit.signer.sign(kit.claims(), { typ: 'oauth-id-jag+jwt' }), 0x86, 0x87],
    ['unsupported_crit', (kit) => kit.signer.sign(kit.claims(), { crit: ['x'] }), 0x86, 0x87],
    ['unknown_issuer', (kit) => kit.signer.sign(kit.claims({ iss: 'x' })), 0x86, 0x87],
    ['algorithm_not_allowed', (kit) => kit.signer.sign(kit.claims(), { alg: 'none' }), 0x86, 0x87],
    ['unknown_key', (kit) => kit.signer.sign(kit.claims(), { kid: 'x' }), 0x86, 0x87],
    ['bad_signature', (kit) => new RawSigner('k1').sign(kit.claims()), 0x86, 0x87],
    [
      'expired',
      (kit) => kit.signer.sign(kit.claims({ iat: now(kit) - 500, exp: now(kit) - 100 })),
      0x86,
      0x87,
    ],
    ['not_yet_valid', (kit) => kit.signer.sign(kit.claims({ nbf: now(kit) + 100 })), 0x86, 0x87],
    ['issued_in_future', (kit) => kit.signer.sign(kit.claims({ iat: now(kit) + 100 })), 0x86, 0x87],
    ['lifetime_too_long', (kit) => kit.signer.sign(kit.claims({ exp: now(kit) + 3600 })), 0x86, 0x87],
    ['wrong_audience', (kit) => kit.signer.sign(kit.claims({ aud: 'x' })), 0x86, 0x87],
    ['missing_claim', (kit) => kit.signer.sign(kit.claims({ jti: undefined })), 0x86, 0x87],
    ['bad_claim', (kit) => kit.signer.sign(kit.claims({ exp: '1' })), 0x86, 0x87],
    ['proof_required', (kit) => kit.signer.sign(kit.claims({ cnf: {} })), 0x87, 0x87],
    ['actor_missing', (kit) => kit.signer.sign(kit.claims({ act: undefined })), 0x87, 0x87],
    ['actor_malformed', (kit) => kit.signer.sign(kit.claims({ act: 'scout' })), 0x87, 0x87],
    ['actor_is_subject', (kit) => kit.signer.sign(kit.claims({ sub: 'scout' })), 0x87, 0x87],
    ['bad_identifier', (kit) => kit.signer.sign(kit.claims({ act: { iss: 'i', sub: '#' } })), 0x87, 0x87],
  ]
  it.each(causes)(
    'TOK-20 A3 %s: code by the place of the token, nothing of the token in the answer',
    async (reason, make, basic, enhanced) => {
      const kit = await authenticatorKit()
      const token = make(kit)
      const answers = [
        await kit.connect({ password: token }),
        await kit.connect({ method: 'OAUTH2-JWT', data: token }),
      ]
      expect(answers.map((answer) => !answer.ok && [answer.reason, answer.reasonCode])).toEqual([
        [reason, basic],
        [reason, enhanced],
      ])
      const shown = JSON.stringify(answers)
      for (const part of token.split('.').filter((text) => text.length > 8)) expect(shown).not.toContain(part)
    },
  )

  it.each([
    ['TOK-01 no credential', {}, 0x87],
    ['K1 User Name only', { userName: 'scout' }, 0x86],
    ['K1 empty Password', { userName: 'scout', password: '' }, 0x86],
    ['C14 unknown method', { method: 'ace', data: 'x' }, 0x8c],
    ['TOK-13 two places', { method: 'OAUTH2-JWT', data: 'x', password: 'x' }, 0x86],
  ])('%s', async (_, fields, reasonCode) => {
    const kit = await authenticatorKit()
    expect(await kit.connect(fields)).toMatchObject({ ok: false, reasonCode })
  })
})
