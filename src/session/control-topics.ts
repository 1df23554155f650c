// What an agent publishes for Postern itself: fresh tokens and just-in-time grants. It ends here, whatever the policy
// says.

import type { PacketReader } from '../wire/packet-reader.ts'
import type { MessageProperties } from './message-properties.ts'
import type { EndCause } from './outcome.ts'
import { Disposition } from './relay.ts'
import type { Session } from './session.ts'

export class ControlTopics {
  readonly #session: Session

  constructor(session: Session) {
    this.#session = session
  }

  /**
   * Takes a PUBLISH whose topic is `topic[start, end)` if it is for Postern.
   *
   * @returns what becomes of it, or with what cause the session ends; undefined: it is for somebody else
   */
  take(
    topic: Buffer,
    start: number,
    end: number,
    reader: PacketReader,
    chunk: Buffer,
    message: MessageProperties,
  ): Disposition | EndCause | undefined {
    const { context, renewal, grants, principal } = this.#session
    const isToken = isTopic(context.tokenTopic, topic, start, end)
    if (!isToken && !isTopic(context.grantTopic, topic, start, end)) return undefined
    const { pos, tail, publish } = reader
    const payload = chunk.subarray(pos, pos + tail)
    const answer = isToken
      ? renewal.onPublish(publish, payload)
      : grants.onPublish(publish, payload, message.rights?.principal ?? principal!, message.refusal)
    if (answer === 'refused') return isToken ? 'renewal_refused' : 'publish_denied'
    return answer === 'more' ? Disposition.TAKE : Disposition.DROP
  }

  /** More of a payload; false: it is of another PUBLISH. */
  onPayload(part: Buffer, last: boolean): boolean {
    const { renewal, grants } = this.#session
    return renewal.onPayload(part, last) || grants.onPayload(part, last)
  }

  /** Whether this PUBREL belongs to such a PUBLISH; it is answered. */
  takeRelease(packetId: number): boolean {
    const { renewal, grants } = this.#session
    return renewal.takeRelease(packetId) || grants.takeRelease(packetId)
  }
}

function isTopic(control: Buffer | undefined, topic: Buffer, start: number, end: number): boolean {
  return control?.length === end - start && control.compare(topic, start, end) === 0
}
