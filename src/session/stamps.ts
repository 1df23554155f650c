// The User Properties by which Postern names who a message is from, and that no agent can set. Pure.

import type { Config } from '../config/config.ts'
import type { Principal } from '../identity/principal.ts'
import { field } from '../wire/field-writer.ts'
import type { ConnectHead } from '../wire/heads.ts'
import { Property } from '../wire/property.ts'
import { NamedProperties } from '../wire/user-properties.ts'

/** Place of the token's property among those of `namedIn`. */
export const TOKEN = 3

/** Properties that no agent may set, and that of the token; undefined: there are none. */
export function namedIn(delegation: Config['delegation']): NamedProperties | undefined {
  const { property, stamp, agentProperty, humanProperty, tenantProperty } = delegation
  if (property === undefined && !stamp) return undefined
  const stamps = [agentProperty, humanProperty, tenantProperty]
  return new NamedProperties(property === undefined ? stamps : [...stamps, property])
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

/** What becomes of a Will, as of a PUBLISH. */
export interface WillChanges {
  /** It carries a token, which nobody could verify when it is sent. */
  carriesToken: boolean
  /** Its properties as the broker gets them; undefined: as they are. */
  properties(principal: Principal): Buffer[] | undefined
}

/** @param source what the offsets of `connect` point into; there is a Will */
export function readWillChanges(
  source: Buffer,
  connect: ConnectHead,
  delegation: Config['delegation'],
): WillChanges {
  const named = namedIn(delegation)
  const { willPropertiesStart: start, willPropertiesEnd: end } = connect
  named?.find(source, start, end)
  return {
    carriesToken: named !== undefined && delegation.property !== undefined && named.countOf(TOKEN) > 0,
    properties: (principal) => {
      if (named === undefined || (named.count === 0 && !delegation.stamp)) return undefined
      const others = named.others(source, start, end)
      return delegation.stamp ? [...others, stampsOf(principal, delegation)] : others
    },
  }
}
