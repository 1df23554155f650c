// POST /events/{stream} of the admin listener: a transmitter pushes one SET. RFC 8935.

import type { Route, RouteAnswer } from '../telemetry/admin.ts'
import { hasSecret, mediaType } from './admin-route.ts'
import type { EventStream, Taken } from './event-stream.ts'
import type { Revocations } from './revocations.ts'

export function pushRoute(stream: EventStream, secret: () => string, revocations: Revocations): Route {
  return {
    maxBytes: stream.config.maxBytes,
    async answer({ authorization, contentType, body }): Promise<RouteAnswer> {
      if (!hasSecret(authorization, secret())) {
        revocations.refused('push', 'unauthenticated', 'http 401')
        return {
          ...failure(401, 'authentication_failed', 'A bearer secret is needed.'),
          headers: { 'www-authenticate': 'Bearer' },
        }
      }
      if (mediaType(contentType) !== 'application/secevent+jwt') {
        revocations.refused('push', 'malformed', 'http 400')
        return failure(400, 'invalid_request', 'Send application/secevent+jwt.')
      }
      let taken: Taken
      try {
        taken = await stream.take(body.toString('latin1'), 'push')
      } catch (error) {
        if ((error as { code?: unknown }).code !== 'ERR_STORE') throw error
        return { status: 503, body: 'The other replicas cannot be told at the moment.\n' }
      }
      if (taken.ok) return { status: 202 }
      return taken.retry
        ? { status: 503, body: 'The keys of the transmitter cannot be had at the moment.\n' }
        : failure(400, taken.err, taken.description)
    },
  }
}

/** RFC 8935 §2.3 */
function failure(status: number, err: string, description: string): RouteAnswer {
  return {
    status,
    type: 'application/json',
    body: JSON.stringify({ err, description }),
    headers: { 'content-language': 'en' },
  }
}
