// What the PDP is asked: byte ranges and flags of one packet. One mutable object of each kind per asker, filled
// anew for each packet, so that a decision allocates nothing.
import { isTopicFilter } from './topic-filter.ts'

const SLASH = 0x2f
const PLUS = 0x2b
const HASH = 0x23
const SHARE = Buffer.from('$share/')
const EMPTY = Buffer.alloc(0)

/** A PUBLISH, or a Will. Ranges exclude their end; the Topic Name is the one that an alias stood for. */
export class PublishRequest {
  topic: Buffer = EMPTY
  topicStart = 0
  topicEnd = 0
  qos = 0
  retain = false
  /** Bytes of Application Message. */
  payloadLength = 0
  /** A just-in-time grant speaks of it: rules that ask for one may allow it. */
  granted = false
  response: Buffer = EMPTY
  /** -1: no Response Topic. */
  responseStart = -1
  responseEnd = -1
}

/** One filter of a SUBSCRIBE, a share group taken off. */
export class SubscribeRequest {
  buf: Buffer = EMPTY
  /** The filter behind `$share/{group}/`. */
  start = 0
  end = 0
  /** -1: not a shared subscription. */
  groupStart = -1
  groupEnd = -1
  qos = 0
  /** As in a PublishRequest. */
  granted = false
  /** Set by a layer that allows. */
  grantedQos = 0
  readonly refuseOverlap: boolean
  readonly refuseHigherQos: boolean

  constructor(refuseOverlap: boolean, refuseHigherQos: boolean) {
    this.refuseOverlap = refuseOverlap
    this.refuseHigherQos = refuseHigherQos
  }

  /** @returns false for what is no Topic Filter, or no shared subscription after `$share/`. MQTT 5.0 §4.8.2 */
  read(buf: Buffer, start: number, end: number): boolean {
    this.buf = buf
    this.start = start
    this.end = end
    this.groupStart = -1
    this.groupEnd = -1
    if (isShared(buf, start, end)) {
      this.groupStart = start + SHARE.length
      let i = this.groupStart
      for (; i < end && buf[i] !== SLASH; i++) if (buf[i] === PLUS || buf[i] === HASH) return false
      if (i === this.groupStart) return false
      this.groupEnd = i
      this.start = i + 1
    }
    return isTopicFilter(buf, this.start, end)
  }
}

function isShared(buf: Buffer, start: number, end: number): boolean {
  if (end - start < SHARE.length) return false
  for (let i = 0; i < SHARE.length; i++) if (buf[start + i] !== SHARE[i]) return false
  return true
}
