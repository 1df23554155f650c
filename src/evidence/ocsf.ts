// Records as OCSF events of class API Activity (6003), schema 1.5.0 with profile security_control. One way: what OCSF
// has no place for stands under `unmapped`. https://schema.ocsf.io/1.5.0/classes/api_activity

import type { AuditAction } from '../audit/event.ts'
import type { AuditRecord } from '../audit/record.ts'
import { idOf } from './record-id.ts'
import { traceIdOf } from './trace-context.ts'

const API_ACTIVITY = 6003
const APPLICATION_ACTIVITY = 6
const OTHER = 99
/** Create, Read, Delete; all else is Other, named by `activity_name`. */
const ACTIVITIES: Readonly<Partial<Record<AuditAction, number>>> = {
  publish: 1,
  will: 1,
  release: 1,
  subscribe: 2,
  deliver: 2,
  unsubscribe: 4,
}
const ACTIVITY_NAMES: Readonly<Record<number, string>> = { 1: 'Create', 2: 'Read', 4: 'Delete' }
const INFORMATIONAL = 1
const MEDIUM = 3

export function ocsfEvent(record: AuditRecord): object {
  const { action, decision, identity, connection, resource, repeated, traceparent } = record
  const activity = ACTIVITIES[action] ?? OTHER
  const denied = decision === 'deny'
  const place = resource?.topic ?? resource?.filter
  return {
    category_uid: APPLICATION_ACTIVITY,
    class_uid: API_ACTIVITY,
    activity_id: activity,
    activity_name: ACTIVITY_NAMES[activity] ?? action,
    type_uid: API_ACTIVITY * 100 + activity,
    time: Date.parse(record.time),
    severity_id: denied ? MEDIUM : INFORMATIONAL,
    status_id: denied ? 2 : 1,
    status: denied ? 'Failure' : 'Success',
    status_code: record.reason,
    status_detail: record.detail ?? record.effect,
    ...(repeated === undefined
      ? {}
      : {
          count: repeated.count,
          start_time: Date.parse(repeated.first),
          end_time: Date.parse(repeated.last),
        }),
    action_id: denied ? 2 : 1,
    action: denied ? 'Denied' : 'Allowed',
    disposition_id: denied ? 2 : 1,
    disposition: denied ? 'Blocked' : 'Allowed',
    metadata: {
      version: '1.5.0',
      profiles: ['security_control'],
      product: { name: 'Postern', vendor_name: 'Postern', feature: { name: record.instance } },
      uid: idOf(record),
      sequence: record.seq,
      correlation_uid: traceIdOf(traceparent) ?? identity?.txn ?? connection?.id ?? record.instance,
      ...(identity?.tenant === undefined ? {} : { tenant_uid: identity.tenant }),
    },
    actor: actorOf(record),
    api: { operation: action, service: { name: 'mqtt' }, version: '5.0' },
    src_endpoint: endpointOf(record),
    ...(place === undefined
      ? {}
      : { resources: [{ name: place, type: resource?.topic === undefined ? 'MQTT filter' : 'MQTT topic' }] }),
    policy: { name: 'policy', uid: record.policy },
    unmapped: {
      effect: record.effect,
      prev: record.prev,
      ...pick(record, [
        'as',
        'entry',
        'packet_id',
        'payload',
        'resource',
        'grant',
        'gap',
        'segment',
        'signer',
        'traceparent',
      ]),
      ...(identity?.actors === undefined ? {} : { actors: identity.actors }),
    },
  }
}

function actorOf({ identity, rules, decision, connection }: AuditRecord): object {
  const { agent, human, token } = identity ?? {}
  return {
    app_name: agent?.id ?? connection?.client_id ?? 'postern',
    ...(agent === undefined ? {} : { app_uid: agent.sub }),
    ...(human === undefined
      ? {}
      : { user: { name: human.id, uid: human.sub, domain: human.iss, type: human.via, type_id: OTHER } }),
    ...(token === undefined
      ? {}
      : { session: { uid: token.jti, issuer: token.iss, expiration_time: Date.parse(token.exp) } }),
    authorizations: Object.entries(rules ?? {}).map(([layer, rule]) => ({
      decision,
      policy: { name: rule, group: { name: layer } },
    })),
  }
}

/** OCSF wants one of ip, uid, name and others. */
function endpointOf({ connection }: AuditRecord): object {
  const { peer, client_id, listener } = connection ?? {}
  const address = /^\[?([^\]]+)\]?:(\d+)$/.exec(peer ?? '')
  return {
    name: client_id ?? peer ?? 'postern',
    ...(client_id === undefined ? {} : { uid: client_id }),
    ...(address === null ? {} : { ip: address[1], port: Number(address[2]) }),
    ...(listener === undefined ? {} : { interface_name: listener }),
  }
}

function pick(record: AuditRecord, names: readonly (keyof AuditRecord)[]): object {
  return Object.fromEntries(
    names.filter((name) => record[name] !== undefined).map((name) => [name, record[name]]),
  )
}
