// Names of people and agents, and whether two are the same. Pure.

import type { Principal } from './principal.ts'

/** A person or an agent in the name space of an issuer. */
export interface Named {
  iss: string
  sub: string
}

/** What is for the actions of one agent for one human. */
export interface Bearing {
  human: Named
  agent: Named
}

export function isSame(a: Named, b: Named): boolean {
  return a.iss === b.iss && a.sub === b.sub
}

/** Whether it is for the actions of this bearer. */
export function isFor({ human, agent }: Bearing, bearer: Principal): boolean {
  return isSame(human, bearer.human) && isSame(agent, bearer.agent)
}
