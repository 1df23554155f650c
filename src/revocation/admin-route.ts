// POST /revocations of the admin listener: an order by whoever holds the secret. Answers as Global Token Revocation
// (draft-parecki-oauth-global-token-revocation-04) says; 204 only when all of it is done, on disk and audited.

import { hash, timingSafeEqual } from 'node:crypto'
import type { Route, RouteAnswer, RouteRequest } from '../telemetry/admin.ts'
import { readOrder } from './order.ts'
import type { Revocations } from './revocations.ts'
import type { SubjectOptions } from './subject.ts'

/** Nothing is lost: it is on disk here, and goes to the store first when that is back. */
const NOT_SHARED =
  'Done on this replica. The store cannot be reached: the other replicas do it when it is back.\n'

const STATUS = { malformed: 400, unsupported: 400, unknown: 404 } as const

export function adminRoute(
  revocations: Revocations,
  secret: () => string,
  options: SubjectOptions,
  count: (result: 'done' | 'refused') => void,
): Route {
  const refuse = (status: number, reason: string, message: string): RouteAnswer => {
    count('refused')
    revocations.refused('admin', reason, `http ${status}`)
    return { status, body: `${message}\n` }
  }
  return {
    maxBytes: 16 * 1024,
    async answer(request: RouteRequest): Promise<RouteAnswer> {
      if (!hasSecret(request.authorization, secret())) {
        const answer = refuse(401, 'unauthenticated', 'A bearer secret is needed.')
        return { ...answer, headers: { 'www-authenticate': 'Bearer' } }
      }
      if (mediaType(request.contentType) !== 'application/json') {
        return refuse(400, 'malformed', 'Send application/json.')
      }
      const read = readOrder(request.body, options)
      if (!read.ok) return refuse(STATUS[read.why], read.why, read.message)
      try {
        await revocations.carryOut({ ...read.order, source: 'admin' })
      } catch (error) {
        if ((error as { code?: unknown }).code !== 'ERR_STORE') throw error
        count('done')
        return { status: 503, body: NOT_SHARED, headers: { 'retry-after': '5' } }
      }
      count('done')
      return { status: 204 }
    },
  }
}

export function mediaType(contentType: string | undefined): string | undefined {
  return contentType?.split(';', 1)[0]?.trim().toLowerCase()
}

/** Compares digests, so that neither length nor content shows in the time it takes. RFC 6750 §2.1 */
export function hasSecret(authorization: string | undefined, secret: string): boolean {
  const given = /^bearer +(\S+)$/i.exec(authorization ?? '')?.[1] ?? ''
  return timingSafeEqual(hash('sha256', given, 'buffer'), hash('sha256', secret, 'buffer'))
}
