// Sends checkpoints by HTTP POST. The only file of the audit trail that speaks HTTP.

import { request } from 'undici'
import { PosternError } from '../errors.ts'
import type { CheckpointPlace } from './checkpointer.ts'

const TIMEOUT_MS = 5000

/** Any 2xx answer counts as taken; redirects do not. */
export function checkpointHook(url: string): CheckpointPlace {
  return {
    name: 'url',
    async send(note) {
      const answer = await request(url, {
        method: 'POST',
        headers: { 'content-type': 'text/plain; charset=utf-8' },
        body: note,
        headersTimeout: TIMEOUT_MS,
        bodyTimeout: TIMEOUT_MS,
      })
      await answer.body.dump({ limit: 64 * 1024 })
      if (answer.statusCode < 200 || answer.statusCode > 299) {
        throw new PosternError('ERR_AUDIT_EXPORT', 'internal', `the hook answered ${answer.statusCode}`)
      }
    },
  }
}
