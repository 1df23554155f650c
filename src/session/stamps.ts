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
  delegation: Config['delegation'],
): WillStamps {
  const named = namedIn(delegation)
  named?.find(source, connect.willPropertiesStart, connect.willPropertiesEnd)
  return {
    carriesToken: named !== undefined && delegation.property !== undefined && named.countOf(TOKEN) > 0,
    changesFor: (principal) => ({
      willWithout: named,
      willAdded: delegation.stamp ? stampsOf(principal, delegation) : undefined,
    }),
  }
}
