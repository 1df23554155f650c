// Every metric of Postern, declared in one place. Label values are closed sets, so that no subject, topic, client id or
// token id can become one (OPS-02). Sets that other layers own are parameters. docs/metrics.md is made from this.

import type { Family, Tally } from './tally.ts'

/** A value that is read when somebody scrapes; labelled ones have one value for each of `rows`. */
export interface GaugeSpec {
  name: string
  help: string
  labelNames: readonly string[]
  rows: readonly (readonly string[])[]
}

/** The closed sets of the other layers, in the order in which they index them. */
export interface CatalogueSets {
  /** Outcomes of a decision; index 0 is the allow, all others deny. */
  verdicts: readonly string[]
  /** Action and verdict of the denials that shadow mode let through. */
  shadowed: readonly (readonly string[])[]
  /** Why a CONNECT is refused. */
  authFailures: readonly string[]
  /** Why a fresh token for a connection is refused. */
  renewalFailures: readonly string[]
  /** Why a just-in-time grant is refused. */
  grantFailures: readonly string[]
  /** Why the token that a message carries is refused. */
  carriedFailures: readonly string[]
  /** Faults of the wire reader. */
  faults: readonly string[]
  /** Why a session ended. */
  endCauses: readonly string[]
  /** Ways by which a revocation comes in. */
  revocationSources: readonly string[]
  /** Kinds of security events. */
  securityEvents: readonly string[]
  /** Configured streams of security events. */
  eventStreams: readonly string[]
  /** Replicas share one. */
  hasStore: boolean
  /** Configured issuers. */
  issuers: readonly string[]
  /** Listeners whose agents bring no credential. */
  brokeredListeners: readonly string[]
}

export const SIDES = ['client', 'server'] as const
export const DIRECTIONS = ['client_to_server', 'server_to_client'] as const
/** Control Packet types 1 to 15, MQTT 5.0 §2.1.2. */
export const PACKET_TYPES = [
  'connect',
  'connack',
  'publish',
  'puback',
  'pubrec',
  'pubrel',
  'pubcomp',
  'subscribe',
  'suback',
  'unsubscribe',
  'unsuback',
  'pingreq',
  'pingresp',
  'disconnect',
  'auth',
] as const
export const RELOADS = ['policy', 'keys', 'revocation', 'tls'] as const
export const RESULTS = ['ok', 'failed'] as const
export const EVENT_RESULTS = ['done', 'ignored', 'refused'] as const
export const TOKEN_CHECKS = ['status_list', 'introspection'] as const
export const TOKEN_CHECK_RESULTS = ['ok', 'refused', 'unavailable'] as const
export const REVOCATION_RESULTS = ['done', 'refused'] as const
/** Where copies of audit records go, and checkpoints. */
export const COPY_PLACES = ['stdout', 'otlp', 'syslog', 'topic'] as const
export const CHECKPOINT_PLACES = ['file', 'stdout', 'url', 'topic'] as const

export const HISTOGRAM = {
  name: 'postern_decision_seconds',
  help: 'Time to decide on one packet: the time for a chunk, shared by the packets decided in it.',
} as const
export const REVOCATION_HISTOGRAM = {
  name: 'postern_revocation_seconds',
  help: 'Time from what caused a revocation (the event, or the call) until the last connection was cut.',
} as const
export const BUILD_INFO = {
  name: 'postern_build_info',
  help: 'Versions of Postern and Node.js; always 1.',
} as const
export const POLICY_INFO = {
  name: 'postern_policy_info',
  help: 'Version of the policy in force; always 1.',
} as const

/** Slots of the tally. Row i of a family is slot `first + i`; the order of the rows is given for each. */
export interface Catalogue {
  /** Row 0: accepted; row 1 + i: refused for `authFailures[i]`. */
  connects: Family
  /** Row 0: accepted; row 1 + i: refused for `renewalFailures[i]`. */
  renewals: Family
  /** Row 0: accepted; row 1 + i: refused for `grantFailures[i]`. */
  grants: Family
  /** Row 0: accepted; row 1 + i: refused for `carriedFailures[i]`. */
  carriedTokens: Family
  /** Row i: `verdicts[i]`; so for the three below. */
  publishes: Family
  /** One count for each Topic Filter. */
  subscribes: Family
  deliveries: Family
  wills: Family
  /** Row i: `shadowed[i]`. */
  shadowed: Family
  /** Row i: `endCauses[i]`. */
  sessionsEnded: Family
  /** Row i: client, `faults[i]`; row faults.length + i: server. */
  protocolErrors: Family
  /** Row type - 1: client to server; row 14 + type: server to client. */
  packets: Family
  /** Rows: client to server, server to client. */
  bytes: Family
  /** In seconds. */
  rested: Family
  /** Rows: written, lost. */
  auditRecords: Family
  auditWriteErrors: Family
  /** By place, then sent and lost. */
  auditCopies: Family
  /** By place, then ok and failed. */
  auditCheckpoints: Family
  /** Rows: ok, failed. */
  keyFetches: Family
  /** Row 2 * source index, plus 1 when it was refused. */
  revocations: Family
  /** By event, then done, ignored, refused. */
  securityEvents: Family
  /** Rows: ok, failed. */
  storeRequests: Family
  /** Rows: ok, failed. */
  credentials: Family
  /** Row i: `brokeredListeners[i]`; NaN without a token. */
  credentialRemaining: GaugeSpec
  /** By source, then ok, refused, unavailable. */
  tokenChecks: Family
  /** Row 2 * RELOADS index, plus 1 when it failed. */
  reloads: Family
  /** Rows: unauthenticated, active. A gauge: use `add` with 1 and -1. */
  connections: Family
  auditPendingBytes: GaugeSpec
  /** Row i: `issuers[i]`; NaN before the first set. */
  keySetAge: GaugeSpec
  policyLoaded: GaugeSpec
  revocationMarks: GaugeSpec
  /** Row i: `eventStreams[i]`. */
  eventContactAge: GaugeSpec
  /** Row i: `eventStreams[i]`; NaN before the first. */
  eventVerificationAge: GaugeSpec
  /** No row without a store. */
  storeUp: GaugeSpec
  shadowMode: GaugeSpec
  ready: GaugeSpec
  workers: GaugeSpec
  workerExits: Family
}

/** Declares all families in `tally`. Call once, at start. */
export function declareCatalogue(tally: Tally, sets: CatalogueSets): Catalogue {
  const counter = (name: string, help: string, labelNames: string[], rows: string[][]): Family =>
    tally.declare({ name, help, kind: 'counter', labelNames, rows })
  const gauge = (name: string, help: string): GaugeSpec => ({ name, help, labelNames: [], rows: [[]] })
  const decided = ['decision', 'reason']
  const verdicts = sets.verdicts.map((name, i) => [i === 0 ? 'allow' : 'deny', name])

  return {
    connects: counter('postern_connects_total', 'CONNECT packets decided.', decided, [
      ['allow', 'ok'],
      ...sets.authFailures.map((name) => ['deny', name]),
    ]),
    renewals: counter('postern_renewals_total', 'Fresh tokens for open connections decided.', decided, [
      ['allow', 'ok'],
      ...sets.renewalFailures.map((name) => ['deny', name]),
    ]),
    grants: counter('postern_grants_total', 'Just-in-time grants decided.', decided, [
      ['allow', 'ok'],
      ...sets.grantFailures.map((name) => ['deny', name]),
    ]),
    carriedTokens: counter(
      'postern_carried_tokens_total',
      'Tokens carried by PUBLISH packets verified; one that is still in mind is not verified again.',
      decided,
      [['allow', 'ok'], ...sets.carriedFailures.map((name) => ['deny', name])],
    ),
    publishes: counter('postern_publishes_total', 'PUBLISH packets from agents decided.', decided, verdicts),
    subscribes: counter(
      'postern_subscribes_total',
      'Topic Filters in SUBSCRIBE packets decided.',
      decided,
      verdicts,
    ),
    deliveries: counter('postern_deliveries_total', 'PUBLISH packets to agents decided.', decided, verdicts),
    wills: counter('postern_wills_total', 'Will Messages decided.', decided, verdicts),
    shadowed: counter(
      'postern_shadowed_total',
      'Denials that shadow mode let through; each is a `deny` in the family of its packet too.',
      ['action', 'reason'],
      sets.shadowed.map((row) => [...row]),
    ),
    sessionsEnded: counter(
      'postern_sessions_ended_total',
      'Sessions ended.',
      ['cause'],
      sets.endCauses.map((cause) => [cause]),
    ),
    protocolErrors: counter(
      'postern_protocol_errors_total',
      'Packets that MQTT 5.0 forbids.',
      ['side', 'fault'],
      pairs(SIDES, sets.faults),
    ),
    packets: counter(
      'postern_packets_total',
      'MQTT Control Packets received.',
      ['direction', 'type'],
      pairs(DIRECTIONS, PACKET_TYPES),
    ),
    bytes: counter(
      'postern_bytes_total',
      'Bytes received.',
      ['direction'],
      DIRECTIONS.map((direction) => [direction]),
    ),
    rested: counter(
      'postern_rested_seconds_total',
      'Time that the process rested so that more messages of QoS 0 share a waking (`coalesceQos0`).',
      [],
      [[]],
    ),
    auditRecords: counter(
      'postern_audit_records_total',
      'Audit records; PUBLISH packets that share one count each.',
      ['result'],
      [['written'], ['lost']],
    ),
    auditWriteErrors: counter(
      'postern_audit_write_errors_total',
      'Failed writes of the audit log.',
      [],
      [[]],
    ),
    auditCopies: counter(
      'postern_audit_copies_total',
      'Audit records copied to other places, counted in the same way.',
      ['place', 'result'],
      pairs(COPY_PLACES, ['sent', 'lost']),
    ),
    auditCheckpoints: counter(
      'postern_audit_checkpoints_total',
      'Checkpoints of the audit log handed to a place.',
      ['place', 'result'],
      pairs(CHECKPOINT_PLACES, RESULTS),
    ),
    keyFetches: counter(
      'postern_key_fetches_total',
      'Fetches of key sets (JWKS).',
      ['result'],
      RESULTS.map((result) => [result]),
    ),
    revocations: counter(
      'postern_revocations_total',
      'Revocations asked for.',
      ['source', 'result'],
      pairs(sets.revocationSources, REVOCATION_RESULTS),
    ),
    securityEvents: counter(
      'postern_security_events_total',
      'Security events (SSF) received.',
      ['event', 'result'],
      pairs(sets.securityEvents, EVENT_RESULTS),
    ),
    storeRequests: counter(
      'postern_store_requests_total',
      'Requests to the store that replicas share.',
      ['result'],
      RESULTS.map((result) => [result]),
    ),
    credentials: counter(
      'postern_credentials_total',
      'Attempts to get a fresh token for the agents of a listener with `credentials: broker`.',
      ['result'],
      RESULTS.map((result) => [result]),
    ),
    credentialRemaining: {
      name: 'postern_credential_remaining_seconds',
      help: 'Time until the token that is held for the agents of a listener ends; NaN before the first.',
      labelNames: ['listener'],
      rows: sets.brokeredListeners.map((listener) => [listener]),
    },
    tokenChecks: counter(
      'postern_token_checks_total',
      'Tokens looked up in a status list, or asked about at their issuer.',
      ['source', 'result'],
      pairs(TOKEN_CHECKS, TOKEN_CHECK_RESULTS),
    ),
    reloads: counter(
      'postern_reloads_total',
      'Reloads of files.',
      ['what', 'result'],
      pairs(RELOADS, RESULTS),
    ),
    connections: tally.declare({
      name: 'postern_connections',
      help: 'Open connections from agents.',
      kind: 'gauge',
      labelNames: ['state'],
      rows: [['unauthenticated'], ['active']],
    }),
    auditPendingBytes: gauge(
      'postern_audit_pending_bytes',
      'Bytes of audit records that are not on disk yet.',
    ),
    keySetAge: {
      name: 'postern_key_set_age_seconds',
      help: 'Time since the key set (JWKS) of an issuer was last read; NaN before the first time.',
      labelNames: ['issuer'],
      rows: sets.issuers.map((issuer) => [issuer]),
    },
    policyLoaded: gauge(
      'postern_policy_loaded_timestamp_seconds',
      'When the policy in force was loaded (Unix time).',
    ),
    revocationMarks: gauge('postern_revocation_marks', 'Revocations that keep tokens out at the moment.'),
    eventContactAge: {
      name: 'postern_event_source_age_seconds',
      help: 'Time since the last sign of life of a stream of security events.',
      labelNames: ['stream'],
      rows: sets.eventStreams.map((stream) => [stream]),
    },
    eventVerificationAge: {
      name: 'postern_event_verification_age_seconds',
      help: 'Time since the last verification event of a stream; NaN before the first.',
      labelNames: ['stream'],
      rows: sets.eventStreams.map((stream) => [stream]),
    },
    storeUp: {
      name: 'postern_store_up',
      help: '1 while what other replicas do is known here, else 0; absent without a store.',
      labelNames: [],
      rows: sets.hasStore ? [[]] : [],
    },
    shadowMode: gauge(
      'postern_shadow_mode',
      '1 while a listener or a rule set of the policy in force is in shadow mode, else 0.',
    ),
    workers: gauge(
      'postern_workers',
      'Processes that take connections; below `workers` while one is started again.',
    ),
    workerExits: counter(
      'postern_worker_exits_total',
      'Workers that ended unasked and were started again.',
      [],
      [[]],
    ),
    ready: gauge('postern_ready', '1 when all checks of /readyz are good, else 0.'),
  }
}

function pairs(outer: readonly string[], inner: readonly string[]): string[][] {
  return outer.flatMap((a) => inner.map((b) => [a, b]))
}
