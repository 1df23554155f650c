// The Will in a CONNECT, as a PUBLISH that is judged now and at every change of rights. MQTT 5.0 §3.1.2.5

import type { Config } from '../config/config.ts'
import { PublishRequest } from '../policy/request.ts'
import type { ConnectHead } from '../wire/heads.ts'
import { readWillStamps, type WillStamps } from './stamps.ts'

export interface Will {
  readonly request: PublishRequest
  readonly topic: string
  readonly stamps: WillStamps
}

/** @param source what the offsets of `connect`, which has a Will, point into; copied from */
export function readWill(
  source: Buffer,
  connect: ConnectHead,
  config: Pick<Config, 'delegation' | 'grants'>,
): Will {
  const request = new PublishRequest()
  request.topic = Buffer.from(source.subarray(connect.willTopicStart, connect.willTopicEnd))
  request.topicStart = 0
  request.topicEnd = request.topic.length
  request.qos = connect.willQos
  request.retain = connect.willRetain
  request.payloadLength = connect.willPayloadEnd - connect.willPayloadStart
  if (connect.willResponseTopicStart < 0) request.responseStart = -1
  else {
    const { willResponseTopicStart, willResponseTopicEnd } = connect
    request.response = Buffer.from(source.subarray(willResponseTopicStart, willResponseTopicEnd))
    request.responseStart = 0
    request.responseEnd = request.response.length
  }
  return { request, topic: request.topic.toString(), stamps: readWillStamps(source, connect, config) }
}
