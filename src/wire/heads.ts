// What the reader found in a head: offsets into `PacketReader.source`, end exclusive, -1 for absent.
// PUBLISH and acknowledgements: one object per reader, filled anew for each packet; copy what must outlive the packet. The
// others are made for each packet.

/** PUBLISH variable header. MQTT 5.0 §3.3.2. */
export class PublishHead {
  qos = 0
  dup = false
  retain = false
  topicStart = 0
  /** Equal to `topicStart` for an empty Topic Name, which a Topic Alias must then stand for. */
  topicEnd = 0
  /** 0 at QoS 0. */
  packetId = 0
  /** First byte after the Property Length field. */
  propertiesStart = 0
  propertiesEnd = 0
  /** 0 when the property is absent; the reader refuses a Topic Alias of 0. */
  topicAlias = 0
  responseTopicStart = -1
  responseTopicEnd = -1
  correlationDataStart = -1
  correlationDataEnd = -1
  /** Value of the User Property `traceparent`, the last if there are several; W3C Trace Context. */
  traceparentStart = -1
  traceparentEnd = -1
  /** Seconds; -1 when absent: the message does not expire. */
  messageExpiryInterval = -1
  /** Bytes of Application Message after the head. */
  payloadLength = 0
}

/** PUBACK, PUBREC, PUBREL, PUBCOMP; also DISCONNECT and AUTH, with `packetId` 0. */
export class AckHead {
  packetId = 0
  /** 0x00 when the packet leaves it out. */
  reasonCode = 0
  /** DISCONNECT only: Session Expiry Interval in seconds, -1 when absent. */
  sessionExpiryInterval = -1
  /** AUTH only. */
  authenticationMethodStart = -1
  authenticationMethodEnd = -1
  authenticationDataStart = -1
  authenticationDataEnd = -1
}

/** SUBSCRIBE and UNSUBSCRIBE, read whole. MQTT 5.0 §3.8, §3.10. */
export class FilterList {
  packetId = 0
  /** Start of the Property Length field, so that [propertyLengthStart, propertiesEnd) can be copied as is. */
  propertyLengthStart = 0
  propertiesEnd = 0
  /** 0 when absent. */
  subscriptionIdentifier = 0
  count = 0
  /** Bytes of filter i: source[filterStart[i], filterEnd[i]), the `$share/` prefix included. */
  filterStart: number[] = []
  filterEnd: number[] = []
  /** Subscription Options byte of filter i; unused for UNSUBSCRIBE. */
  options: number[] = []

  /** The filters as text, in order. */
  texts(source: Buffer): string[] {
    const texts: string[] = []
    for (let i = 0; i < this.count; i++)
      texts.push(source.toString('utf8', this.filterStart[i], this.filterEnd[i]))
    return texts
  }
}

/** SUBACK and UNSUBACK, read whole. */
export class CodeList {
  packetId = 0
  propertyLengthStart = 0
  propertiesEnd = 0
  codesStart = 0
  codesEnd = 0
}

/** CONNECT, read whole. MQTT 5.0 §3.1. Ranges exclude the two-byte length prefix. */
export class ConnectHead {
  cleanStart = false
  /** Seconds, 0 is off. */
  keepAlive = 0
  propertyLengthStart = 0
  propertiesStart = 0
  propertiesEnd = 0
  /** Seconds; 0 when absent, as the specification says. */
  sessionExpiryInterval = 0
  /** 65535 when absent. */
  receiveMaximum = 65_535
  /** 0 when absent: no limit was set. */
  maximumPacketSize = 0
  topicAliasMaximum = 0
  /** true when absent. */
  requestProblemInformation = true
  authenticationMethodStart = -1
  authenticationMethodEnd = -1
  authenticationDataStart = -1
  authenticationDataEnd = -1
  clientIdStart = 0
  clientIdEnd = 0
  hasWill = false
  willQos = 0
  willRetain = false
  willPropertiesStart = -1
  willPropertiesEnd = -1
  /** Seconds; -1: not said. */
  willMessageExpiryInterval = -1
  /** Seconds. */
  willDelayInterval = 0
  willResponseTopicStart = -1
  willResponseTopicEnd = -1
  willTopicStart = -1
  willTopicEnd = -1
  willPayloadStart = -1
  willPayloadEnd = -1
  userNameStart = -1
  userNameEnd = -1
  passwordStart = -1
  passwordEnd = -1
}

/** CONNACK, read whole. MQTT 5.0 §3.2. */
export class ConnackHead {
  sessionPresent = false
  reasonCode = 0
  propertiesStart = 0
  propertiesEnd = 0
  /** -1 when absent. */
  sessionExpiryInterval = -1
  receiveMaximum = 65_535
  maximumQos = 2
  retainAvailable = true
  /** 0 when absent. */
  maximumPacketSize = 0
  topicAliasMaximum = 0
  /** -1 when absent. */
  serverKeepAlive = -1
  assignedClientIdStart = -1
  assignedClientIdEnd = -1
}
