// The User Properties by which Postern names who a message is from, and that no agent can set. Pure.

import type { Config } from '../config/config.ts'
import type { Principal } from '../identity/principal.ts'
import { field } from '../wire/field-writer.ts'
import type { ConnectHead } from '../wire/heads.ts'
import { Property } from '../wire/property.ts'
import { NamedProperties } from '../wire/user-properties.ts'

/** Properties that are taken out of what agents send; the places of two of them, -1: not looked for. */
export interface Taken {
  properties: NamedProperties
  token: number
  grant: number
}

/** Properties that no agent may set, and those of token and grant; undefined: there are none. */
export function takenBy({ delegation, grants }: Pick<Config, 'delegation' | 'grants'>): Taken | undefined {
  const { property, stamp, agentProperty, humanProperty, tenantProperty } = delegation
  const names: string[] = []
  if (property !== undefined || stamp) names.push(agentProperty, humanProperty, tenantProperty)
  const token = property === undefined ? -1 : names.push(property) - 1
  const grant = grants?.property === undefined ? -1 : names.push(grants.property) - 1
  return names.length === 0 ? undefined : { properties: new NamedProperties(names), token, grant }
}

/** The User Properties that name a principal: the human only where the agent acts for one. */
export function stampsOf(
  { agent, human, delegated, tenant }: Principal,
  { agentProperty, humanProperty, tenantProperty }: Config['delegation'],
): Buffer {
  const pair = (name: string, value: string): Buffer =>
    Buffer.concat([Buffer.of(Property.USER_PROPERTY), field(name), field(value)])
  return Buffer.concat([
    pair(agentProperty, agent.id),
    ...(delegated ? [pair(humanProperty, human.id)] : []),
    ...(tenant === undefined ? [] : [pair(tenantProperty, tenant)]),
  ])
}

/** What becomes of the names and the token in a Will, as in a PUBLISH. */
export interface WillStamps {
  /** It carries a token, which nobody can verify when it is sent. */
  readonly carriesToken: boolean
  changesFor(principal: Principal): {
    willWithout: NamedProperties | undefined
    willAdded: Buffer | undefined
  }
}

/** @param source what the offsets of `connect`, which has a Will, point into */
export function readWillStamps(
  source: Buffer,
  connect: ConnectHead,
  config: Pick<Config, 'delegation' | 'grants'>,
): WillStamps {
  const taken = takenBy(config)
  taken?.properties.find(source, connect.willPropertiesStart, connect.willPropertiesEnd)
  return {
    carriesToken: taken !== undefined && taken.token >= 0 && taken.properties.countOf(taken.token) > 0,
    changesFor: (principal) => ({
      willWithout: taken?.properties,
      willAdded: config.delegation.stamp ? stampsOf(principal, config.delegation) : undefined,
    }),
  }
}
