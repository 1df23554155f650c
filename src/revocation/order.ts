// The body of a revocation as the admin endpoint and the operator's list take it: that of Global Token Revocation
// (draft-parecki-oauth-global-token-revocation-04), `sub_id`, and besides `action`. Pure.

import { parseObject } from '../identity/strict-json.ts'
import type { Order } from './revocations.ts'
import { readSubject, type SubjectOptions } from './subject.ts'

export type ReadOrder =
  | { ok: true; order: Omit<Order, 'source'> }
  | { ok: false; why: 'malformed' | 'unsupported' | 'unknown'; message: string }

const ACTIONS = ['revoke', 'disable', 'enable'] as const

export function readOrder(body: Buffer, options: SubjectOptions): ReadOrder {
  const object = parseObject(body)
  if (!object.ok) return { ok: false, why: 'malformed', message: 'The body is no JSON object.' }
  return readOrderOf(object.members, options)
}

/** @param members of the JSON object */
export function readOrderOf(members: ReadonlyMap<string, unknown>, options: SubjectOptions): ReadOrder {
  for (const name of members.keys()) {
    if (name !== 'sub_id' && name !== 'action')
      return { ok: false, why: 'malformed', message: 'The body has the members sub_id and action only.' }
  }
  const asked = members.get('action') ?? 'revoke'
  const action = ACTIONS.find((known) => known === asked)
  if (action === undefined) {
    return { ok: false, why: 'malformed', message: `\`action\` is one of ${ACTIONS.join(', ')}.` }
  }
  const subject = readSubject(members.get('sub_id'), options)
  if (!subject.ok) return subject
  const { selector } = subject
  // Whoever has a key can issue or prove anew at any time: only its end helps.
  const isKey = selector.key !== undefined || selector.thumbprint !== undefined
  return { ok: true, order: { do: action === 'revoke' && isKey ? 'disable' : action, selector } }
}
