// biome-ignore-all lint/suspicious/noTemplateCurlyInString: EMQX writes its placeholders so
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { IssuerConfig } from '../../src/config/config.ts'
import { bindCeilings, MQTT_DETAILS_TYPE, readAif, readCeilings } from '../../src/identity/ceiling.ts'
import type { Ceiling } from '../../src/policy/subject.ts'
import { issuerConfig, TEST_AUDIENCE } from '../support/tokens.ts'
import { outcome, verifierKit } from './verifier-kit.ts'

const ALL_FORMATS = ['scope', 'authorization_details', 'acl'] as const

function read(claims: object, changes: Partial<IssuerConfig> = {}): readonly Ceiling[] | undefined {
  return readCeilings(new Map(Object.entries(claims)), issuerConfig({ ceilings: ALL_FORMATS, ...changes }))
}

function rulesOf(claims: object): unknown {
  return read(claims)?.[0]?.rules
}

const allow = (filter: string, publish: boolean, subscribe: boolean, limits = {}): object => ({
  effect: 'allow',
  publish,
  subscribe,
  filter,
  ...limits,
})

describe('scope as AIF', () => {
  const RFC_EXAMPLE =
    'W1sidG9waWMxIixbInB1YiIsInN1YiJdXSxbInRvcGljMi8jIixbInB1YiJdXSxbIisvdG9waWMzIixbInN1YiJdXV0'
  const RULES = [allow('topic1', true, true), allow('topic2/#', true, false), allow('+/topic3', false, true)]

  it('ACL-15 the example of RFC 9431 decodes to its array', () => {
    expect(JSON.parse(Buffer.from(RFC_EXAMPLE, 'base64url').toString())).toEqual([
      ['topic1', ['pub', 'sub']],
      ['topic2/#', ['pub']],
      ['+/topic3', ['sub']],
    ])
    expect(rulesOf({ scope: RFC_EXAMPLE })).toEqual(RULES)
  })

  it('ACL-15 the same as a JSON value', () => {
    expect(rulesOf({ scope: JSON.parse(Buffer.from(RFC_EXAMPLE, 'base64url').toString()) })).toEqual(RULES)
  })

  it.each([
    ['ordinary scopes', 'openid profile'],
    ['one ordinary scope', 'openid'],
    ['empty text', ''],
    ['empty array', []],
    ['a number', 7],
    ['null', null],
    ['an object', {}],
    ['base64url of something else', Buffer.from('{"a":1}').toString('base64url')],
    ['a filter alone', ['a']],
    ['three members', [['a', ['pub'], 1]]],
    ['permissions as text', [['a', 'pub']]],
    ['no permission', [['a', []]]],
    ['unknown permission', [['a', ['admin']]]],
    ['a bad filter', [['a/#/b', ['pub']]]],
    ['an empty filter', [['', ['pub']]]],
    ['a filter with NUL', [['a\u0000', ['pub']]]],
    ['half of a surrogate pair', Buffer.from('[["\\ud800",["pub"]]]').toString('base64url')],
  ])('ACL-15 %s: the layer is there and grants nothing', (_, scope) => {
    expect(read({ scope })).toEqual([{ format: 'scope', firstMatch: false, rules: [] }])
  })

  it('one entry that cannot be read voids the whole scope', () => {
    expect(
      readAif([
        ['a', ['pub']],
        ['b#', ['pub']],
      ]),
    ).toEqual([])
  })
})

describe('authorization_details', () => {
  const entry = { type: MQTT_DETAILS_TYPE, actions: ['publish'], topics: ['a/+', 'b'] }

  it('ACL-15 actions, topics and limits', () => {
    expect(
      rulesOf({
        authorization_details: [
          entry,
          {
            ...entry,
            actions: ['publish', 'subscribe'],
            topics: ['c'],
            max_qos: 1,
            retain: false,
            locations: ['x', TEST_AUDIENCE],
          },
          { ...entry, actions: ['subscribe', 'administer'], topics: ['d'], retain: true },
        ],
      }),
    ).toEqual([
      allow('a/+', true, false, { maxQos: 2 }),
      allow('b', true, false, { maxQos: 2 }),
      allow('c', true, true, { maxQos: 1, retain: false }),
      allow('d', false, true, { maxQos: 2 }),
    ])
  })

  it.each([
    ['another type', { type: 'payment_initiation' }],
    ['no type', { type: undefined }],
    ['a member that is not understood', { max_uses: 1 }],
    ['no actions', { actions: undefined }],
    ['unknown actions', { actions: ['all'] }],
    ['actions as text', { actions: 'publish' }],
    ['no topics', { topics: undefined }],
    ['a bad topic', { topics: ['a', 'b/#/c'] }],
    ['another location', { locations: ['https://other.test'] }],
    ['locations as text', { locations: TEST_AUDIENCE }],
    ['a bad QoS', { max_qos: 3 }],
    ['QoS as text', { max_qos: '1' }],
    ['retain as text', { retain: 'false' }],
    ['`max_qos` null', { max_qos: null }],
    ['`retain` null', { retain: null }],
    ['`locations` null', { locations: null }],
  ])('ACL-15 an entry with %s gives nothing', (_, change) => {
    const claim = JSON.parse(JSON.stringify([{ ...entry, ...change }])) as unknown
    expect(rulesOf({ authorization_details: claim })).toEqual([])
  })

  it.each([[{}], ['x'], [null], [[null]], [['x']], [[[]]]])('ACL-15 claim %j gives nothing', (claim) => {
    expect(rulesOf({ authorization_details: claim })).toEqual([])
  })
})

describe('EMQX acl', () => {
  it('ACL-15 array form: the first match decides', () => {
    const acl = [
      { permission: 'deny', action: 'publish', topic: 'a/secret' },
      { permission: 'allow', action: 'all', topic: 'a/#', qos: [0, 1], retain: true },
      { permission: 'allow', action: 'subscribe', topic: 'eq b/#', qos: 2, retain: 'all' },
    ]
    expect(read({ acl })).toEqual([
      {
        format: 'acl',
        firstMatch: true,
        rules: [
          { effect: 'deny', publish: true, subscribe: false, filter: 'a/secret' },
          allow('a/#', true, true, { qos: [0, 1], retain: true }),
          allow('b/#', false, true, { literal: true, qos: [2] }),
        ],
      },
    ])
  })

  it('ACL-15 old form: lists of topics', () => {
    expect(read({ acl: { pub: ['a', 7], sub: ['b/#'], all: ['eq c+'], other: ['d'] } })).toEqual([
      {
        format: 'acl',
        firstMatch: false,
        rules: [
          allow('a', true, false),
          allow('b/#', false, true),
          allow('c+', true, true, { literal: true }),
        ],
      },
    ])
  })

  it('ACL-15 an empty list `qos` denies every QoS, and allows none', () => {
    const rule = { action: 'publish', topic: 'a', qos: [] }
    const rules = rulesOf({
      acl: [
        { ...rule, permission: 'deny' },
        { ...rule, permission: 'allow' },
      ],
    })
    expect(rules).toEqual([
      { effect: 'deny', publish: true, subscribe: false, filter: 'a' },
      allow('a', true, false, { qos: [] }),
    ])
  })

  const unreadable = [
    ['a QoS that is null', { qos: null }],
    ['no topic', { topic: undefined }],
    ['a bad topic', { topic: 'a/#/b' }],
    ['another placeholder', { topic: 'a/${username}' }],
    ['a nested placeholder', { topic: 'a/${client_attrs.x}' }],
    ['an unknown action', { action: 'admin' }],
    ['a bad QoS', { qos: [3] }],
    ['a bad retain', { retain: 'yes' }],
    ['a condition that is not understood', { ipaddr: '10.0.0.0/8' }],
  ] as const
  it.each(unreadable)('ACL-15 an allow rule with %s is left out', (_, change) => {
    const acl = [{ permission: 'allow', action: 'publish', topic: 'a', ...change }]
    expect(rulesOf({ acl: JSON.parse(JSON.stringify(acl)) })).toEqual([])
  })
  it.each(unreadable)('ACL-15 a deny rule with %s makes the token unusable', (_, change) => {
    const acl = [{ permission: 'deny', action: 'publish', topic: 'a', ...change }]
    expect(read({ acl: JSON.parse(JSON.stringify(acl)) })).toBeUndefined()
  })
  it.each([['forbid'], [undefined], [null]])(
    'ACL-15 a rule with permission %j makes the token unusable',
    (permission) => {
      expect(read({ acl: [{ permission, action: 'publish', topic: 'a' }] })).toBeUndefined()
    },
  )
  it.each([[7], ['x'], [null]])('ACL-15 claim %j gives nothing', (acl) => {
    expect(rulesOf({ acl })).toEqual([])
  })

  it('${clientid} is the bound identifier', () => {
    const ceilings = read({ acl: { pub: ['a/${clientid}/b', 'eq ${clientid}'] } })!
    expect(bindCeilings(ceilings, 'scout')?.[0]?.rules.map((rule) => rule.filter)).toEqual([
      'a/scout/b',
      'scout',
    ])
  })

  it('${clientid} is replaced as text, not as a replacement pattern', () => {
    const ceilings = read({ acl: { pub: ['a/${clientid}'] } })!
    expect(bindCeilings(ceilings, 'x$&$1')?.[0]?.rules[0]?.filter).toBe('a/x$&$1')
  })

  it.each([['+'], ['#'], ['a/b'], ['$SYS'], ['']])('A1 A5 ${clientid} cannot become %j', (clientId) => {
    expect(bindCeilings(read({ acl: { sub: ['my/${clientid}/topic'] } })!, clientId)).toBeUndefined()
    expect(bindCeilings(read({ acl: { sub: ['my/topic'] } })!, clientId)).toHaveLength(1)
  })

  it('${clientid} in another format is plain text', () => {
    const ceilings = read({ scope: [['${clientid}', ['pub']]] })!
    expect(bindCeilings(ceilings, '#')?.[0]?.rules[0]?.filter).toBe('${clientid}')
  })
})

describe('layers', () => {
  it('ACL-15 each format found is a layer of its own; formats that are not configured are not read', () => {
    const claims = { scope: 'openid', acl: [], authorization_details: [] }
    expect(read(claims)?.map((ceiling) => ceiling.format)).toEqual(['scope', 'authorization_details', 'acl'])
    expect(read(claims, { ceilings: ['acl'] })?.map((ceiling) => ceiling.format)).toEqual(['acl'])
    expect(read(claims, { ceilings: [] })).toEqual([])
  })

  it('DEL-09 a token without a ceiling: no layer, or one that denies', () => {
    expect(read({}, { missingCeiling: 'none' })).toEqual([])
    expect(read({}, { missingCeiling: 'deny' })).toEqual([{ format: 'scope', firstMatch: false, rules: [] }])
    expect(read({ scope: 'x' }, { missingCeiling: 'deny' })).toHaveLength(1)
  })

  it('K4 the acl claim counts whatever other claims say', async () => {
    const kit = await verifierKit({ ceilings: ['acl'] })
    expect(outcome(await kit.verify({ acl: [{ permission: 'deny' }] }))).toBe('bad_claim')
    const result = await kit.verify({ acl: { pub: ['a'] } })
    expect(result.ok && result.principal.ceilings).toHaveLength(1)
  })

  it('property: no claim value makes the readers throw', () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.constantFrom(...ALL_FORMATS), (value, format) => {
        read({ [format]: value })
      }),
    )
  })
})
