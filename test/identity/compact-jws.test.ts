import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseCompactJws } from '../../src/identity/compact-jws.ts'
import { parseObject } from '../../src/identity/strict-json.ts'
import { encode } from './raw-signer.ts'

const HEADER = encode({ alg: 'ES256' })
const PAYLOAD = encode({ iss: 'https://idp.test' })
const SIGNATURE = encode('signature')
const TOKEN = `${HEADER}.${PAYLOAD}.${SIGNATURE}`

function reasonOf(token: string, maxBytes = 8192): string {
  const jws = parseCompactJws(token, maxBytes)
  return jws.ok ? 'ok' : jws.reason
}

describe('compact form', () => {
  it('TOK-03 reads three parts of base64url', () => {
    const jws = parseCompactJws(TOKEN, 8192)
    expect(jws).toMatchObject({ ok: true, token: TOKEN })
    expect(jws.ok && jws.claims.get('iss')).toBe('https://idp.test')
    expect(jws.ok && jws.header.get('alg')).toBe('ES256')
  })

  it.each([
    ['one part', HEADER],
    ['two parts', `${HEADER}.${PAYLOAD}`],
    ['four parts', `${TOKEN}.${SIGNATURE}`],
    ['five parts (JWE)', `${TOKEN}.${SIGNATURE}.${SIGNATURE}`],
    ['empty header', `.${PAYLOAD}.${SIGNATURE}`],
    ['empty payload', `${HEADER}..${SIGNATURE}`],
    ['empty signature', `${HEADER}.${PAYLOAD}.`],
    ['padding', `${HEADER}.${PAYLOAD}.${SIGNATURE}==`],
    ['leading blank', ` ${TOKEN}`],
    ['trailing newline', `${TOKEN}\n`],
    ['blank inside', `${HEADER}. ${PAYLOAD}.${SIGNATURE}`],
    ['standard base64 alphabet', `${HEADER}.${PAYLOAD}.ab+/`],
    ['a length no base64url has', `${HEADER}.${PAYLOAD}.abcde`],
    ['trailing bits set', `${HEADER}.${PAYLOAD}.ab`],
    ['nothing', ''],
    ['dots only', '..'],
  ])('TOK-03 refuses %s', (_, token) => {
    expect(reasonOf(token)).toBe('malformed_token')
  })

  it('TOK-03 looks at the size before anything else', () => {
    expect(reasonOf('?'.repeat(8193))).toBe('token_too_large')
    expect(reasonOf('?'.repeat(8192))).toBe('malformed_token')
    expect(reasonOf(TOKEN, TOKEN.length)).toBe('ok')
    expect(reasonOf(TOKEN, TOKEN.length - 1)).toBe('token_too_large')
  })
})

describe('header and payload', () => {
  it.each([
    ['two equal members', '{"sub":"a","sub":"b"}', 'duplicate_claim'],
    ['two members equal after unescaping', '{"sub":"a","s\\u0075b":"b"}', 'duplicate_claim'],
    ['two equal members further down', '{"act":{"sub":"a","iss":"i","sub":"b"}}', 'duplicate_claim'],
    ['two equal members in a list', '{"a":[{"x":1,"x":1}]}', 'duplicate_claim'],
    ['__proto__ twice', '{"__proto__":1,"__proto__":2}', 'duplicate_claim'],
    ['a list', '[]', 'malformed_token'],
    ['a string', '"sub"', 'malformed_token'],
    ['null', 'null', 'malformed_token'],
    ['no JSON', '{"sub":}', 'malformed_token'],
    ['two documents', '{}{}', 'malformed_token'],
    ['a byte order mark', '\uFEFF{}', 'malformed_token'],
    ['half of a surrogate pair', '{"sub":"\\ud800"}', 'malformed_token'],
    ['half of a surrogate pair in a name', '{"\\udc00":1}', 'malformed_token'],
    ['33 levels', `{"a":${'['.repeat(32)}${']'.repeat(32)}}`, 'malformed_token'],
    ['32 levels', `{"a":${'['.repeat(31)}${']'.repeat(31)}}`, 'ok'],
    ['the same name at two levels', '{"sub":"a","act":{"sub":"b"}}', 'ok'],
    ['a value that looks like a name', '{"a":"sub","b":"sub"}', 'ok'],
    ['brackets and quotes in strings', '{"a":"}{][\\"","b":"\\\\"}', 'ok'],
    ['equal strings in a list', '{"a":["x","x"]}', 'ok'],
  ])('TOK-12 payload with %s', (_, text, expected) => {
    expect(reasonOf(`${HEADER}.${encode(text)}.${SIGNATURE}`)).toBe(expected)
  })

  it.each([
    ['duplicate member', '{"alg":"none","alg":"ES256"}', 'duplicate_claim'],
    ['list', '[]', 'malformed_token'],
  ])('K3 header with %s', (_, text, expected) => {
    expect(reasonOf(`${encode(text)}.${PAYLOAD}.${SIGNATURE}`)).toBe(expected)
  })

  it('TOK-12 refuses ill-formed UTF-8', () => {
    const bytes = Buffer.concat([Buffer.from('{"sub":"'), Buffer.from([0xc0, 0xaf]), Buffer.from('"}')])
    expect(reasonOf(`${HEADER}.${encode(bytes)}.${SIGNATURE}`)).toBe('malformed_token')
  })

  it('A9 names of Object.prototype are ordinary members', () => {
    const read = parseObject(Buffer.from('{"__proto__":{"sub":"x"},"constructor":"y"}'))
    expect(read.ok && [...read.members.keys()]).toEqual(['__proto__', 'constructor'])
    expect(read.ok && read.members.get('toString')).toBeUndefined()
  })

  it.each([
    ['plain', '{"sub":1,"\\u0061ud":2}', 'aud'],
    ['beyond ASCII', '{"sub":1,"d\\u00e9partement":2}', 'département'],
    ['further down', '{"act":{"sub":1,"\\u0061ud":2}}', 'aud'],
  ])(
    'TOK-12 a name that is written with an escape is read as it is, whatever was read before: %s',
    (_, text, name) => {
      // V8 takes the second name for the one that it has seen here.
      for (const poison of ['{"sub":1,"\\\\":2}', '{"act":{"sub":1,"\\\\":2}}']) {
        expect(JSON.parse(poison)).toBeDefined()
        expect(parseObject(Buffer.from(poison)).ok).toBe(false)
      }
      const read = parseObject(Buffer.from(text))
      expect(read.ok && JSON.stringify([...read.members])).toContain(`"${name}"`)
    },
  )

  it.each(['\\\\', '\\"', '\\n', '\\u0007', 'a\\\\b'])('TOK-12 a member name with %s is refused', (name) => {
    expect(reasonOf(`${HEADER}.${encode(`{"a":{"${name}":1}}`)}.${SIGNATURE}`)).toBe('malformed_token')
  })

  it('TOK-12 property: any object of names that need no escape is read back as it was', () => {
    const name = fc.string({ unit: 'grapheme' }).map((text) => text.replace(/["\\\p{Cc}]/gu, '_'))
    const { value } = fc.letrec((tie) => ({
      leaf: fc.oneof(fc.string({ unit: 'grapheme' }), fc.integer(), fc.boolean(), fc.constant(null)),
      value: fc.oneof(
        { maxDepth: 3 },
        tie('leaf'),
        fc.array(tie('value'), { maxLength: 3 }),
        fc.dictionary(name, tie('value'), { maxKeys: 3 }),
      ),
    }))
    fc.assert(
      fc.property(fc.dictionary(name, value), (object) => {
        const text = JSON.stringify(object)
        const read = parseObject(Buffer.from(text))
        if (!text.isWellFormed() || /\\ud[89a-f]/i.test(text)) return
        expect(read.ok && JSON.stringify(Object.fromEntries(read.members))).toBe(
          JSON.stringify(Object.fromEntries(Object.entries(JSON.parse(text)))),
        )
      }),
    )
  })

  it('no bytes make the reader throw', () => {
    fc.assert(
      fc.property(fc.string(), fc.uint8Array(), (text, bytes) => {
        parseCompactJws(text, 8192)
        parseCompactJws(`${HEADER}.${encode(Buffer.from(bytes))}.${SIGNATURE}`, 8192)
      }),
    )
  })
})
