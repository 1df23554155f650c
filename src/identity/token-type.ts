// What kind of token a JWT says it is (`typ`). Only access tokens authenticate a CONNECT; every other kind is refused,
// each with a label of its own. RFC 8725 §3.11, RFC 9068 §2.1, TOK-05, DEL-11.

/** `access` and `untyped` can be accepted; the other classes never. */
export const TOKEN_CLASSES = [
  'access',
  'untyped',
  'id_token',
  'id_jag',
  'transaction_token',
  'security_event',
  'logout_token',
  'status_list',
  'introspection',
  'dpop_proof',
  'client_attestation',
  'workload_identity',
  'workload_proof',
  'jit_grant',
  'request_object',
  'other',
] as const
export type TokenClass = (typeof TOKEN_CLASSES)[number]

const CLASS_BY_TYPE: ReadonlyMap<string, TokenClass> = new Map<string, TokenClass>([
  ['at+jwt', 'access'],
  ['jwt', 'untyped'],
  ['jose', 'untyped'],
  ['oauth-id-jag+jwt', 'id_jag'],
  ['txntoken+jwt', 'transaction_token'],
  ['secevent+jwt', 'security_event'],
  ['logout+jwt', 'logout_token'],
  ['statuslist+jwt', 'status_list'],
  ['token-introspection+jwt', 'introspection'],
  ['dpop+jwt', 'dpop_proof'],
  ['dpop-proof+jwt', 'dpop_proof'],
  ['oauth-client-attestation+jwt', 'client_attestation'],
  ['oauth-client-attestation-pop+jwt', 'client_attestation'],
  ['wit+jwt', 'workload_identity'],
  ['wpt+jwt', 'workload_proof'],
  ['mqtt-jit-grant+jwt', 'jit_grant'],
  ['oauth-authz-req+jwt', 'request_object'],
])

/** Claims that only another kind of token carries: an untyped one with any of them is of that kind. */
const TELLTALE_CLAIMS: readonly (readonly [claim: string, tokenClass: TokenClass])[] = [
  ['events', 'security_event'],
  ['nonce', 'id_token'],
  ['at_hash', 'id_token'],
  ['c_hash', 'id_token'],
  ['tctx', 'transaction_token'],
  ['req_wl', 'transaction_token'],
  ['status_list', 'status_list'],
  ['token_introspection', 'introspection'],
]

/**
 * Classifies by the header's `typ`, case-insensitive, with or without `application/` (RFC 7515 §4.1.9); a token
 * without a telling `typ` also by its claims.
 */
export function classOf(
  header: ReadonlyMap<string, unknown>,
  claims: ReadonlyMap<string, unknown>,
): TokenClass {
  const typ = header.has('typ') ? header.get('typ') : 'jwt'
  if (typeof typ !== 'string') return 'other'
  const name = typ.toLowerCase().replace(/^application\//, '')
  const tokenClass = CLASS_BY_TYPE.get(name) ?? 'other'
  if (tokenClass !== 'untyped') return tokenClass
  return TELLTALE_CLAIMS.find(([claim]) => claims.has(claim))?.[1] ?? 'untyped'
}
