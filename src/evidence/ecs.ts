// Records as documents of the Elastic Common Schema, 9.4.0. The agent is the user that acted, the human for whom it acts
// the user whose rights it used (`user.effective`). What ECS has no field for stands under `postern`. One way.
// https://www.elastic.co/docs/reference/ecs

import type { AuditAction } from '../audit/event.ts'
import { formatRecord } from '../audit/format.ts'
import type { AuditRecord } from '../audit/record.ts'
import { idOf } from './record-id.ts'
import { traceIdOf } from './trace-context.ts'

const ECS_VERSION = '9.4.0'
const ACCESS = ['network', 'access'] as const
const CHANGE = ['configuration', 'change'] as const
/** `event.category` and `event.type`; network access is besides `allowed` or `denied`. */
const KINDS: Readonly<Record<AuditAction, readonly [category: string, type: string]>> = {
  connect: ['authentication', 'start'],
  renew: ['authentication', 'info'],
  token: ['authentication', 'info'],
  disconnect: ['session', 'end'],
  will: ACCESS,
  publish: ACCESS,
  subscribe: ACCESS,
  unsubscribe: ACCESS,
  deliver: ACCESS,
  release: ACCESS,
  payload: ACCESS,
  grant: ['iam', 'info'],
  revoke: ['iam', 'change'],
  policy: CHANGE,
  keys: CHANGE,
  revocation: CHANGE,
  tls: CHANGE,
  signer: CHANGE,
  digest_key: CHANGE,
  start: ['process', 'start'],
  stop: ['process', 'end'],
  gap: ['process', 'info'],
  segment: ['process', 'info'],
}

export function ecsDocument(record: AuditRecord): object {
  const { action, decision, identity, repeated, rules, connection, traceparent } = record
  const { agent, human, tenant } = identity ?? {}
  const [category, type] = KINDS[action]
  const trace = traceIdOf(traceparent)
  const names = [agent?.id, human?.id].filter((name) => name !== undefined)
  return {
    '@timestamp': record.time,
    message: formatRecord(record),
    ecs: { version: ECS_VERSION },
    event: {
      kind: action === 'gap' ? 'pipeline_error' : 'event',
      category: [category],
      type: category === 'network' ? [type, decision === 'allow' ? 'allowed' : 'denied'] : [type],
      action: `mqtt-${action}`,
      outcome: decision === 'allow' ? 'success' : 'failure',
      reason: record.reason,
      id: idOf(record),
      sequence: record.seq,
      module: 'postern',
      dataset: 'postern.audit',
      ...(repeated === undefined ? {} : { start: repeated.first, end: repeated.last }),
    },
    observer: { vendor: 'Postern', product: 'Postern', type: 'proxy', name: record.instance },
    network: { protocol: 'mqtt', transport: 'tcp' },
    ...(connection === undefined ? {} : { client: clientOf(connection) }),
    ...(agent === undefined ? {} : { user: { ...userOf(agent), ...effective(human) } }),
    ...(tenant === undefined ? {} : { organization: { id: tenant } }),
    ...(names.length === 0 ? {} : { related: { user: [...new Set(names)] } }),
    ...(rules === undefined
      ? {}
      : { rule: { ruleset: record.policy, name: Object.values(rules).join(', ') } }),
    ...(trace === undefined ? {} : { trace: { id: trace }, span: { id: traceparent!.split('-')[2] } }),
    ...(identity?.txn === undefined ? {} : { transaction: { id: identity.txn } }),
    postern: own(record),
  }
}

type Identity = NonNullable<AuditRecord['identity']>

function userOf({ iss, sub, id }: NonNullable<Identity['agent']>): object {
  return { id: sub, name: id, domain: iss }
}

/** Whoever is only responsible for an agent lends it no rights. */
function effective(human: Identity['human']): object {
  return human?.via === 'delegation' ? { effective: userOf(human) } : {}
}

function clientOf({ peer }: NonNullable<AuditRecord['connection']>): object {
  const found = /^\[?([^\]]+)\]?:(\d+)$/.exec(peer ?? '')
  if (found === null) return { address: peer ?? 'unix' }
  return { address: found[1], ip: found[1], port: Number(found[2]) }
}

const OWN = [
  ...(['effect', 'connection', 'resource', 'payload', 'packet_id', 'rules', 'policy', 'repeated'] as const),
  ...(['cause', 'grant', 'detail', 'gap', 'segment', 'signer', 'prev', 'mono', 'as', 'entry'] as const),
] satisfies readonly (keyof AuditRecord)[]

function own(record: AuditRecord): object {
  const { human, token, actors } = record.identity ?? {}
  const members = { human, token, actors, ...Object.fromEntries(OWN.map((name) => [name, record[name]])) }
  return Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined))
}
