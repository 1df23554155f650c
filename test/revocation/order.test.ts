// The body of a revocation: subject identifiers to selectors. Ids: identity-standards.md 13.7 (REV).
import { describe, expect, it } from 'vitest'
import { readOrder } from '../../src/revocation/order.ts'

const IDP = 'https://idp.test'
const OPTIONS = { issuers: new Set([IDP]) }

const read = (body: unknown): ReturnType<typeof readOrder> =>
  readOrder(Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)), OPTIONS)
const selectorOf = (sub_id: unknown): unknown => {
  const order = read({ sub_id })
  return order.ok ? order.order.selector : order.why
}

const issSub = (sub: string, iss = IDP) => ({ format: 'iss_sub', iss, sub })

describe('REV-02, REV-11 subject identifiers', () => {
  it.each([
    [issSub('alice'), { subject: { iss: IDP, sub: 'alice' } }],
    [issSub('scout', 'https://agents.test'), { subject: { iss: 'https://agents.test', sub: 'scout' } }],
    [{ format: 'jwt_id', iss: IDP, jti: 'x' }, { token: { iss: IDP, jti: 'x' } }],
    [{ format: 'urn:postern:client', iss: IDP, client_id: 'c' }, { client: { iss: IDP, client_id: 'c' } }],
    [{ format: 'urn:postern:key', iss: IDP, kid: 'k' }, { key: { iss: IDP, kid: 'k' } }],
    [{ format: 'urn:postern:tenant', tenant: 'org' }, { tenant: 'org' }],
    [{ format: 'urn:postern:thumbprint', thumbprint: 'x' }, { thumbprint: 'x' }],
    [
      { format: 'uri', uri: `urn:ietf:params:oauth:jwk-thumbprint:sha-256:${'a'.repeat(43)}` },
      { thumbprint: 'a'.repeat(43) },
    ],
    [
      { format: 'complex', user: issSub('alice'), application: issSub('scout', 'x') },
      { human: { iss: IDP, sub: 'alice' }, agent: { iss: 'x', sub: 'scout' } },
    ],
    [
      { format: 'complex', tenant: { format: 'opaque', id: 'org' }, user: issSub('alice') },
      { tenant: 'org', human: { iss: IDP, sub: 'alice' } },
    ],
    [
      { format: 'complex', session: { format: 'jwt_id', iss: IDP, jti: 'x' } },
      { token: { iss: IDP, jti: 'x' } },
    ],
  ])('%j', (subject, selector) => {
    expect(selectorOf(subject)).toEqual(selector)
  })

  it.each([
    [undefined, 'malformed'],
    ['alice', 'malformed'],
    [[issSub('alice')], 'malformed'],
    [{ iss: IDP, sub: 'alice' }, 'malformed'],
    [{ format: 'iss_sub', iss: IDP }, 'malformed'],
    [{ ...issSub('alice'), also: 1 }, 'malformed'],
    [issSub(''), 'malformed'],
    [{ format: 'iss_sub', iss: IDP, sub: 7 }, 'malformed'],
    [{ format: 'complex' }, 'malformed'],
    [{ format: 'phone_number', phone_number: '+1' }, 'unsupported'],
    [{ format: 'toString' }, 'unsupported'],
    [{ format: 'opaque', id: 'x' }, 'unsupported'],
    [{ format: 'uri', uri: 'https://idp.test/alice' }, 'unsupported'],
    [{ format: 'complex', user: issSub('a'), device: issSub('d') }, 'unsupported'],
    [{ format: 'complex', user: issSub('a'), __proto__x: issSub('d') }, 'unsupported'],
    [{ format: 'complex', tenant: issSub('a') }, 'unsupported'],
    [{ format: 'jwt_id', iss: 'https://other.test', jti: 'x' }, 'unknown'],
    [{ format: 'urn:postern:human', iss: 'https://other.test', sub: 'x' }, 'unknown'],
  ])('%j is %s, and meets nobody', (subject, why) => {
    expect(selectorOf(subject)).toBe(why)
  })
})

describe('REV-15 the body', () => {
  it.each(['revoke', 'disable', 'enable'])('may ask to %s', (action) => {
    expect(read({ sub_id: issSub('a'), action })).toMatchObject({ ok: true, order: { do: action } })
  })

  it.each([
    '',
    '[]',
    '{"sub_id":',
    '{"sub_id":{"format":"iss_sub","iss":"a","sub":"b"},"sub_id":{}}',
    { sub_id: issSub('a'), action: 'kill' },
    { sub_id: issSub('a'), actoin: 'disable' },
  ])('%j is malformed', (body) => {
    expect(read(body)).toMatchObject({ ok: false, why: 'malformed' })
  })

  it('a revoked key is disabled: whoever has it can issue anew at any time', () => {
    expect(read({ sub_id: { format: 'urn:postern:key', iss: IDP, kid: 'k' } })).toMatchObject({
      order: { do: 'disable' },
    })
  })
})
