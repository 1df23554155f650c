// Subject identifiers (RFC 9493, with the additions of SSF 1.0) to selectors, and names of our own for what has none.
// Pure.

import type { Selector } from './selector.ts'

export type ReadSubject =
  | { ok: true; selector: Selector }
  /** `unknown`: of an issuer that is not configured. */
  | { ok: false; why: 'malformed' | 'unsupported' | 'unknown'; message: string }

export interface SubjectOptions {
  /** Configured issuers: only they can have issued a token that is in use. */
  issuers: ReadonlySet<string>
  /** Whose `sub` an `opaque` identifier is; undefined: it names nobody. */
  opaqueIssuer?: string | undefined
  /** An attribute `email` is mapped from a claim that the issuer has verified. */
  email?: boolean
  /**
   * For events: members of a complex subject that are not understood are passed over, but for these (SSF 1.0,
   * `critical_subject_members`). undefined: none is passed over.
   */
  critical?: ReadonlySet<string>
}

type Members = ReadonlyMap<string, unknown>
type Row = { members: readonly string[]; read: (m: Record<string, string>) => Selector; ofIssuer?: boolean }

/** Members of a complex subject. */
const UNDERSTOOD: readonly string[] = ['user', 'application', 'session', 'tenant']

/** RFC 9278. */
const THUMBPRINT_URI = /^urn:ietf:params:oauth:jwk-thumbprint:sha-256:([A-Za-z0-9_-]{43})$/

/** Format -> its members, all text. `ofIssuer`: `iss` is the issuer of tokens, not merely a name space. */
const FORMATS: ReadonlyMap<string, Row> = new Map<string, Row>([
  ['iss_sub', { members: ['iss', 'sub'], read: ({ iss, sub }) => ({ subject: { iss: iss!, sub: sub! } }) }],
  [
    'jwt_id',
    {
      members: ['iss', 'jti'],
      ofIssuer: true,
      read: ({ iss, jti }) => ({ token: { iss: iss!, jti: jti! } }),
    },
  ],
  [
    'urn:postern:human',
    {
      members: ['iss', 'sub'],
      ofIssuer: true,
      read: ({ iss, sub }) => ({ human: { iss: iss!, sub: sub! } }),
    },
  ],
  [
    'urn:postern:agent',
    { members: ['iss', 'sub'], read: ({ iss, sub }) => ({ agent: { iss: iss!, sub: sub! } }) },
  ],
  [
    'urn:postern:client',
    {
      members: ['iss', 'client_id'],
      ofIssuer: true,
      read: ({ iss, client_id }) => ({ client: { iss: iss!, client_id: client_id! } }),
    },
  ],
  [
    'urn:postern:key',
    { members: ['iss', 'kid'], ofIssuer: true, read: ({ iss, kid }) => ({ key: { iss: iss!, kid: kid! } }) },
  ],
  ['urn:postern:tenant', { members: ['tenant'], read: ({ tenant }) => ({ tenant: tenant! }) }],
  [
    'urn:postern:thumbprint',
    { members: ['thumbprint'], read: ({ thumbprint }) => ({ thumbprint: thumbprint! }) },
  ],
])

/** Reads a `sub_id`. What is not understood whole is refused: left out, a member would make it meet more. */
export function readSubject(value: unknown, options: SubjectOptions): ReadSubject {
  const members = membersOf(value)
  const format = members?.get('format')
  if (members === undefined || typeof format !== 'string') {
    return refuse('malformed', 'A subject is an object with a `format`.')
  }
  if (format === 'complex') return readComplex(members, options)
  if (format === 'opaque') return readOpaque(members, options)
  if (format === 'uri') return readUri(members)
  if (format === 'email' && options.email === true) {
    const email = textsOf(members, ['email'])?.['email']
    if (email === undefined) return refuse('malformed', 'This format has the member email, as text.')
    return { ok: true, selector: { email } }
  }
  const row = FORMATS.get(format)
  if (row === undefined) return refuse('unsupported', 'This subject format is not supported.')
  const texts = textsOf(members, row.members)
  if (texts === undefined)
    return refuse('malformed', `This format has the members ${row.members.join(', ')}, as text.`)
  if (row.ofIssuer === true && !options.issuers.has(texts['iss']!)) {
    return refuse('unknown', 'The issuer is not configured.')
  }
  return { ok: true, selector: row.read(texts) }
}

/** SSF 1.0: all members that are there are to match. */
function readComplex(members: Members, options: SubjectOptions): ReadSubject {
  let selector: Selector = {}
  for (const [name, value] of members) {
    if (name === 'format') continue
    if (!UNDERSTOOD.includes(name) && options.critical?.has(name) === false) continue
    const part = readPart(name, value, options)
    if (!part.ok) return part
    const twice = Object.keys(part.selector).some((kind) => Object.hasOwn(selector, kind))
    if (twice) return refuse('unsupported', 'Two members of the complex subject name the same thing.')
    selector = { ...selector, ...part.selector }
  }
  return Object.keys(selector).length > 0
    ? { ok: true, selector }
    : refuse('malformed', 'A complex subject has at least one member.')
}

function readPart(name: string, value: unknown, options: SubjectOptions): ReadSubject {
  if (name === 'tenant') {
    const members = membersOf(value)
    const id = members?.get('format') === 'opaque' ? textsOf(members, ['id'])?.['id'] : undefined
    if (id !== undefined) return { ok: true, selector: { tenant: id } }
  }
  if (!UNDERSTOOD.includes(name)) {
    return refuse('unsupported', 'A complex subject may have user, application, session and tenant.')
  }
  const part = readSubject(value, options)
  if (!part.ok) return part
  const { subject, ...rest } = part.selector
  if (subject === undefined) return part
  if (name === 'user') return { ok: true, selector: { ...rest, human: subject } }
  if (name === 'application') return { ok: true, selector: { ...rest, agent: subject } }
  return refuse('unsupported', `\`${name}\` cannot be named by issuer and subject.`)
}

function readOpaque(members: Members, { opaqueIssuer }: SubjectOptions): ReadSubject {
  const id = textsOf(members, ['id'])?.['id']
  if (id === undefined) return refuse('malformed', 'This format has the member id, as text.')
  return opaqueIssuer === undefined
    ? refuse('unsupported', 'It is not configured whom an opaque identifier names.')
    : { ok: true, selector: { subject: { iss: opaqueIssuer, sub: id } } }
}

function readUri(members: Members): ReadSubject {
  const uri = textsOf(members, ['uri'])?.['uri']
  if (uri === undefined) return refuse('malformed', 'This format has the member uri, as text.')
  const thumbprint = THUMBPRINT_URI.exec(uri)?.[1]
  return thumbprint === undefined
    ? refuse('unsupported', 'Of URIs only JWK thumbprints (RFC 9278) with SHA-256 are supported.')
    : { ok: true, selector: { thumbprint } }
}

/** undefined unless there is `format` and exactly these members, all non-empty text. */
function textsOf(members: Members, names: readonly string[]): Record<string, string> | undefined {
  if (members.size !== names.length + 1) return undefined
  const texts: Record<string, string> = Object.create(null)
  for (const name of names) {
    const text = members.get(name)
    if (typeof text !== 'string' || text === '') return undefined
    texts[name] = text
  }
  return texts
}

function membersOf(value: unknown): Members | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? new Map(Object.entries(value))
    : undefined
}

function refuse(why: 'malformed' | 'unsupported' | 'unknown', message: string): ReadSubject {
  return { ok: false, why, message }
}
