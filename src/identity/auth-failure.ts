// Why a CONNECT was not authenticated: ONE table from reason to CONNACK Reason Code and the words the client gets.
// The words are coarse; the reason itself goes to audit and metrics only (TOK-20).

import { ReasonCode } from '../wire/reason-code.ts'

/** Where the token was found; `none` when there was none, or more than one. */
export type TokenPlace = 'password' | 'authentication_data' | 'user_name' | 'none'

interface FailureRow {
  /** CONNACK code when the token came as Password or User Name. */
  basic: ReasonCode
  /** CONNACK code when it came in Authentication Data, or not at all. */
  enhanced: ReasonCode
  text: string
  /**
   * Whose allowance of failed tries it uses up. `bearer` (address and token subject) only where the failure needs a
   * live token for this proxy, so that nobody can lock out a subject by naming it in a bad token.
   */
  counts: 'nobody' | 'address' | 'bearer'
}

const { BAD_USER_NAME_OR_PASSWORD, NOT_AUTHORIZED } = ReasonCode

const BAD_TOKEN: FailureRow = {
  basic: BAD_USER_NAME_OR_PASSWORD,
  enhanced: NOT_AUTHORIZED,
  text: 'token not accepted',
  counts: 'address',
}
const NO_TOKEN: FailureRow = {
  basic: NOT_AUTHORIZED,
  enhanced: NOT_AUTHORIZED,
  text: 'token required',
  counts: 'address',
}
const NO_PASSWORD: FailureRow = {
  basic: BAD_USER_NAME_OR_PASSWORD,
  enhanced: BAD_USER_NAME_OR_PASSWORD,
  text: 'token required',
  counts: 'address',
}
const BAD_IDENTITY: FailureRow = {
  basic: NOT_AUTHORIZED,
  enhanced: NOT_AUTHORIZED,
  text: 'not authorized',
  counts: 'bearer',
}

const UNAVAILABLE: FailureRow = {
  basic: ReasonCode.SERVER_UNAVAILABLE,
  enhanced: ReasonCode.SERVER_UNAVAILABLE,
  text: 'try again later',
  counts: 'nobody',
}

const FAILURES = {
  no_token: NO_TOKEN,
  /** A User Name without a Password, or an empty Password. */
  no_password: NO_PASSWORD,
  two_tokens: { ...BAD_TOKEN, enhanced: BAD_USER_NAME_OR_PASSWORD, text: 'more than one credential' },
  unknown_method: {
    basic: ReasonCode.BAD_AUTHENTICATION_METHOD,
    enhanced: ReasonCode.BAD_AUTHENTICATION_METHOD,
    text: 'authentication method not supported',
    counts: 'address',
  },
  token_too_large: BAD_TOKEN,
  malformed_token: BAD_TOKEN,
  duplicate_claim: BAD_TOKEN,
  unsupported_crit: BAD_TOKEN,
  wrong_token_type: BAD_TOKEN,
  unknown_issuer: BAD_TOKEN,
  algorithm_not_allowed: BAD_TOKEN,
  unknown_key: BAD_TOKEN,
  ambiguous_key: BAD_TOKEN,
  keys_unavailable: UNAVAILABLE,
  bad_signature: BAD_TOKEN,
  /** The token is bound to a key (`cnf`), which its bearer has not proved to hold. */
  proof_required: { ...BAD_TOKEN, basic: NOT_AUTHORIZED },
  /** The method `ace`: a User Name or Password beside it, or no token with its length in Authentication Data. */
  ace_malformed: BAD_TOKEN,
  /** The answer to the challenge, or the proof in CONNECT, does not prove it. */
  proof_failed: { ...BAD_TOKEN, basic: NOT_AUTHORIZED },
  missing_claim: BAD_TOKEN,
  bad_claim: BAD_TOKEN,
  expired: BAD_TOKEN,
  not_yet_valid: BAD_TOKEN,
  issued_in_future: BAD_TOKEN,
  lifetime_too_long: BAD_TOKEN,
  wrong_audience: BAD_TOKEN,
  actor_missing: BAD_IDENTITY,
  actor_malformed: BAD_IDENTITY,
  actor_chain_too_deep: BAD_IDENTITY,
  actor_is_subject: BAD_IDENTITY,
  /** `act` in a token of an issuer whose mapping mode does not read it. */
  actor_unexpected: BAD_IDENTITY,
  sub_profile: BAD_IDENTITY,
  no_owner: BAD_IDENTITY,
  /** A workload's `sub` is none that the configuration names, or fits none of its paths. */
  workload_unknown: BAD_IDENTITY,
  /** A Kubernetes token whose bound account or pod is not as configured, or that is bound to no pod. */
  workload_mismatch: BAD_IDENTITY,
  /** A SPIFFE ID of another trust domain than that of the keys. */
  wrong_trust_domain: BAD_IDENTITY,
  /** A claim that topics are made of is not exactly one topic level. */
  bad_identifier: BAD_IDENTITY,
  client_id_mismatch: {
    basic: ReasonCode.CLIENT_IDENTIFIER_NOT_VALID,
    enhanced: ReasonCode.CLIENT_IDENTIFIER_NOT_VALID,
    text: 'client identifier not allowed',
    counts: 'bearer',
  },
  /** A credential on a listener whose agents bring none (`credentials: broker`). */
  unexpected_credential: {
    basic: BAD_USER_NAME_OR_PASSWORD,
    enhanced: NOT_AUTHORIZED,
    text: 'no credential expected',
    counts: 'address',
  },
  /** Postern holds the token of this listener, and has none that is good. */
  credential_unavailable: {
    basic: ReasonCode.SERVER_UNAVAILABLE,
    enhanced: ReasonCode.SERVER_UNAVAILABLE,
    text: 'try again later',
    counts: 'nobody',
  },
  /** A renewal whose token is of another human, agent, tenant or Client Identifier than the connection. */
  identity_changed: BAD_IDENTITY,
  /** A message carries the token of another agent or tenant than the connection's, or one that is no delegation. */
  foreign_token: BAD_IDENTITY,
  /** The issuer has a status list (`statusList`), and the token no entry in it. */
  status_missing: BAD_TOKEN,
  /** It names a list that is not its issuer's, or an entry that there is not. */
  status_bad_reference: BAD_TOKEN,
  /** The list says: invalid, suspended, or anything but valid. */
  status_not_valid: BAD_TOKEN,
  /** The list cannot be had, or is not to be believed. */
  status_unavailable: UNAVAILABLE,
  /** The issuer says, when asked (`introspection`): not active. */
  not_active: BAD_TOKEN,
  introspection_unavailable: UNAVAILABLE,
  rate_limited: {
    basic: ReasonCode.CONNECTION_RATE_EXCEEDED,
    enhanced: ReasonCode.CONNECTION_RATE_EXCEEDED,
    text: 'too many failed tries',
    counts: 'nobody',
  },
} as const satisfies Record<string, FailureRow>

export type AuthFailure = keyof typeof FAILURES

/** Every reason, in the table's order: a closed set for metric labels. */
export const AUTH_FAILURES = Object.keys(FAILURES) as readonly AuthFailure[]

/** The CONNACK that refuses: Reason Code, and the Reason String if the client asked for problem information. */
export function connackFor(reason: AuthFailure, place: TokenPlace): { code: ReasonCode; text: string } {
  const row = FAILURES[reason]
  const basic = place === 'password' || place === 'user_name'
  return { code: basic ? row.basic : row.enhanced, text: row.text }
}

/** Whose allowance of failed tries a failure uses up; `bearer` means address and token subject (TOK-18). */
export function countsAgainst(reason: AuthFailure): 'nobody' | 'address' | 'bearer' {
  return FAILURES[reason].counts
}
