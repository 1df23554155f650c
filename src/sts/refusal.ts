// Why a token was not issued: ONE table from reason to OAuth error, HTTP status and the words the client gets. The words
// are coarse; the reason itself goes to the audit log only. RFC 6749 §5.2, RFC 8707 §2, RFC 7523 §3.1.

export type OAuthError =
  | 'invalid_request'
  | 'invalid_client'
  | 'invalid_grant'
  | 'invalid_scope'
  | 'invalid_target'
  | 'unsupported_grant_type'
  | 'temporarily_unavailable'

interface Row {
  error: OAuthError
  status: number
  description: string
  /** Uses up the allowance of failed tries. */
  counts: boolean
}

const BAD_REQUEST: Row = {
  error: 'invalid_request',
  status: 400,
  description: 'the request is malformed, or lacks a parameter',
  counts: true,
}
const BAD_CLIENT: Row = {
  error: 'invalid_client',
  status: 401,
  description: 'the client is not authenticated',
  counts: true,
}
const BAD_GRANT: Row = {
  error: 'invalid_grant',
  status: 400,
  description: 'the assertion is not accepted',
  counts: true,
}
const BAD_SCOPE: Row = {
  error: 'invalid_scope',
  status: 400,
  description: 'the scope is unknown, or more than is granted',
  counts: true,
}
const UNAVAILABLE: Row = {
  error: 'temporarily_unavailable',
  status: 503,
  description: 'try again later',
  counts: false,
}

export const REFUSALS = {
  malformed_request: BAD_REQUEST,
  missing_parameter: BAD_REQUEST,
  /** A parameter that is there twice. RFC 6749 §3.2. */
  duplicate_parameter: BAD_REQUEST,
  /** A parameter that would narrow the token, and that this server does not know. */
  unsupported_parameter: BAD_REQUEST,
  two_credentials: BAD_REQUEST,
  unsupported_grant_type: {
    error: 'unsupported_grant_type',
    status: 400,
    description: 'only urn:ietf:params:oauth:grant-type:jwt-bearer is served',
    counts: true,
  },
  no_credential: BAD_CLIENT,
  unknown_client: BAD_CLIENT,
  /** Another way of authentication than the one that is configured. */
  wrong_method: BAD_CLIENT,
  wrong_secret: BAD_CLIENT,
  bad_client_assertion: BAD_CLIENT,
  client_assertion_replayed: BAD_CLIENT,
  token_too_large: BAD_GRANT,
  malformed_token: BAD_GRANT,
  duplicate_claim: BAD_GRANT,
  unsupported_crit: BAD_GRANT,
  wrong_token_type: BAD_GRANT,
  unknown_issuer: BAD_GRANT,
  /** An issuer whose assertions this client may not present. */
  issuer_not_allowed: BAD_GRANT,
  algorithm_not_allowed: BAD_GRANT,
  unknown_key: BAD_GRANT,
  ambiguous_key: BAD_GRANT,
  bad_signature: BAD_GRANT,
  missing_claim: BAD_GRANT,
  bad_claim: BAD_GRANT,
  expired: BAD_GRANT,
  not_yet_valid: BAD_GRANT,
  issued_in_future: BAD_GRANT,
  lifetime_too_long: BAD_GRANT,
  wrong_audience: BAD_GRANT,
  client_mismatch: BAD_GRANT,
  /** `act` names another agent than the client is, or a chain. */
  actor_mismatch: BAD_GRANT,
  foreign_tenant: BAD_GRANT,
  /** `cnf`: bound to a key, whose proof is not taken here. */
  proof_required: BAD_GRANT,
  replayed: BAD_GRANT,
  scope_not_allowed: BAD_SCOPE,
  scope_exceeded: BAD_SCOPE,
  wrong_resource: {
    error: 'invalid_target',
    status: 400,
    description: 'no tokens for this resource',
    counts: true,
  },
  rate_limited: { ...UNAVAILABLE, status: 429, description: 'too many refused requests' },
  keys_unavailable: UNAVAILABLE,
  audit_unavailable: UNAVAILABLE,
  replay_unavailable: UNAVAILABLE,
} as const satisfies Record<string, Row>

export type Refusal = keyof typeof REFUSALS

export function refusalRow(reason: Refusal): Row {
  return REFUSALS[reason]
}
