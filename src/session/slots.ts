// Where in the tally a session counts: the catalogue's families as the recorder wants them.

import type { Catalogue } from '../telemetry/catalogue.ts'
import type { Family } from '../telemetry/tally.ts'
import { ALL_FAULTS } from './outcome.ts'
import type { SessionSlots } from './recorder.ts'

export function slotsIn(c: Catalogue): SessionSlots {
  const connects = byLastLabel(c.connects)
  const renewals = byLastLabel(c.renewals)
  const grants = byLastLabel(c.grants)
  const carried = byLastLabel(c.carriedTokens)
  const ended = byLastLabel(c.sessionsEnded)
  return {
    publishes: c.publishes.first,
    subscribes: c.subscribes.first,
    deliveries: c.deliveries.first,
    wills: c.wills.first,
    shadowed: c.shadowed.first,
    connect: (reason) => connects.get(reason)!,
    renewal: (reason) => renewals.get(reason)!,
    grant: (reason) => grants.get(reason)!,
    carried: (reason) => carried.get(reason)!,
    ended: (cause) => ended.get(cause)!,
    clientFaults: c.protocolErrors.first,
    serverFaults: c.protocolErrors.first + ALL_FAULTS.length,
    packets: c.packets.first,
    bytes: c.bytes.first,
    connections: c.connections.first,
  }
}

function byLastLabel(family: Family): ReadonlyMap<string, number> {
  return new Map(family.rows.map((labels, i) => [labels.at(-1)!, family.first + i]))
}
