// Mistakes in the session: every packet but CONNECT. See malformed.ts.
import {
  ack,
  auth,
  bytes,
  connack,
  disconnect,
  field,
  frame,
  prop,
  publish,
  suback,
  subscribe,
  unsubscribe,
  varint,
} from '../support/frames.ts'
import {
  CLOSED,
  MALFORMED_PACKET,
  type MalformedRow,
  ON,
  OTHER_CODE,
  PROTOCOL_ERROR,
  row,
  SAYS_WHY,
} from './malformed.ts'

const SURROGATE = Buffer.of(0x61, 0xed, 0xa0, 0x80)
const OVERLONG = Buffer.of(0x61, 0xc0, 0xaf)
const levels = (count: number): string => `${'l/'.repeat(count - 1)}l`

type Differs = MalformedRow['differs']
type Publish = Parameters<typeof publish>[0]

const inPublish = (name: string, options: Publish, outcome: string, differs?: Differs): MalformedRow =>
  row(`PUBLISH ${name}`, publish(options), outcome, differs)
const withProperty = (name: string, property: Buffer, outcome: string, differs?: Differs): MalformedRow =>
  inPublish(`with ${name}`, { properties: [property] }, outcome, differs)
const inFilter = (
  name: string,
  filter: string | Buffer,
  options: number,
  outcome: string,
  differs?: Differs,
): MalformedRow => row(`SUBSCRIBE ${name}`, subscribe({ filters: [[filter, options]] }), outcome, differs)

const GRANTED = 'SUBACK id 1 {} 0x00, goes on'
const ONLY_SERVERS = 'Only servers send this packet (§2.1.2).'
const FLAGS = 'Reserved flags must be as in Table 2-2 [MQTT-2.1.3-1].'
const SHARE =
  'No Shared Subscription, and a filter that looks like one is none (§4.8.2 [MQTT-4.8.2-1], [MQTT-4.8.2-2]).'
const LEVELS = 'A bound of Postern: topics have 200 levels at most. Mosquitto allows 201.'

export const MALFORMED_PACKETS: readonly MalformedRow[] = [
  row('packet type 0', Buffer.of(0x00, 0x00), MALFORMED_PACKET, [PROTOCOL_ERROR, OTHER_CODE('§2.1.2')]),
  row('CONNACK of a client', connack(), PROTOCOL_ERROR, [CLOSED, SAYS_WHY]),
  row('SUBACK of a client', suback(), PROTOCOL_ERROR, [ON, ONLY_SERVERS]),
  row('PINGRESP of a client', Buffer.of(0xd0, 0x00), PROTOCOL_ERROR, [ON, ONLY_SERVERS]),
  row('AUTH without enhanced authentication', auth(), PROTOCOL_ERROR, [CLOSED, SAYS_WHY]),
  row('AUTH 0x19 without enhanced authentication', auth(0x19), PROTOCOL_ERROR, [CLOSED, SAYS_WHY]),
  row('PINGREQ with a body', Buffer.of(0xc0, 0x01, 0x00), MALFORMED_PACKET, [
    ON,
    'PINGREQ has none (§3.12).',
  ]),
  row('PINGREQ with flags', Buffer.of(0xc1, 0x00), MALFORMED_PACKET, [ON, FLAGS]),
  row('Remaining Length in more bytes than needed', Buffer.of(0xc0, 0x80, 0x00), MALFORMED_PACKET, [
    ON,
    'The shortest form is required [MQTT-1.5.5-1].',
  ]),
  row('Remaining Length of five bytes', Buffer.of(0x30, 0xff, 0xff, 0xff, 0xff, 0x01), MALFORMED_PACKET, [
    CLOSED,
    SAYS_WHY,
  ]),

  inPublish('with QoS 3', { qos: 3 }, MALFORMED_PACKET),
  inPublish('with DUP at QoS 0', { dup: true }, MALFORMED_PACKET, [ON, 'DUP must be 0 [MQTT-3.3.1-2].']),
  inPublish('without topic and alias', { topic: '' }, PROTOCOL_ERROR),
  inPublish('to a filter', { topic: 'a/+' }, MALFORMED_PACKET, [PROTOCOL_ERROR, OTHER_CODE('§3.3.2.1')]),
  inPublish('with U+0000 in the topic', { topic: 'a\0b' }, MALFORMED_PACKET),
  inPublish('with U+0001 in the topic', { topic: 'a\u0001b' }, MALFORMED_PACKET),
  inPublish('with U+FFFF in the topic', { topic: 'a\uffffb' }, MALFORMED_PACKET),
  inPublish('with a surrogate in the topic', { topic: SURROGATE }, MALFORMED_PACKET),
  inPublish('with an overlong form in the topic', { topic: OVERLONG }, MALFORMED_PACKET),
  inPublish('with 200 topic levels', { topic: levels(200) }, ON),
  inPublish('with 201 topic levels', { topic: levels(201) }, 'DISCONNECT 0x90, closed', [ON, LEVELS]),
  inPublish('with Packet Identifier 0', { qos: 1, packetId: 0 }, PROTOCOL_ERROR),
  withProperty('Topic Alias 0', prop.topicAlias(0), 'DISCONNECT 0x94, closed', [
    MALFORMED_PACKET,
    OTHER_CODE('§3.3.2.3.4'),
  ]),
  withProperty('a Topic Alias above the maximum', prop.topicAlias(11), 'DISCONNECT 0x94, closed'),
  inPublish(
    'with a Topic Alias that was never set',
    { topic: '', properties: [prop.topicAlias(2)] },
    PROTOCOL_ERROR,
  ),
  withProperty('a Subscription Identifier', prop.subscriptionIdentifier(1), PROTOCOL_ERROR, [
    ON,
    'A client must not send one [MQTT-3.3.4-6].',
  ]),
  withProperty('a property that does not exist', Buffer.of(0x7f, 0), MALFORMED_PACKET),
  withProperty('a property of CONNECT', prop.sessionExpiryInterval(1), MALFORMED_PACKET),
  withProperty('two Content Types', bytes(prop.contentType('a'), prop.contentType('a')), PROTOCOL_ERROR, [
    CLOSED,
    SAYS_WHY,
  ]),
  withProperty('Payload Format Indicator 2', prop.payloadFormatIndicator(2), PROTOCOL_ERROR, [
    ON,
    'There are 0 and 1 (§3.3.2.3.2).',
  ]),
  withProperty('a wildcard in the Response Topic', prop.responseTopic('a/#'), PROTOCOL_ERROR, [
    ON,
    'It must not contain one [MQTT-3.3.2-14]; Postern judges Response Topics.',
  ]),
  withProperty('an empty Response Topic', prop.responseTopic(''), PROTOCOL_ERROR, [
    ON,
    'Topic Names have a character at least [MQTT-4.7.3-1].',
  ]),
  withProperty('ill-formed UTF-8 in a User Property', prop.userProperty('k', OVERLONG), MALFORMED_PACKET, [
    CLOSED,
    SAYS_WHY,
  ]),
  row(
    'PUBLISH whose properties reach past its end',
    frame(0x30, field('a'), 20, 0x01, 0x00),
    MALFORMED_PACKET,
  ),
  row(
    'PUBLISH whose Property Length has a needless byte',
    frame(0x30, field('a'), varint(0, 2)),
    MALFORMED_PACKET,
  ),
  row('PUBLISH that ends in its topic', frame(0x30, 0x00, 0x10, 'short'), MALFORMED_PACKET),

  row('PUBACK with Packet Identifier 0', ack('puback', 0), PROTOCOL_ERROR, [CLOSED, SAYS_WHY]),
  row('PUBACK with Reason Code 0x55', ack('puback', 1, 0x55), PROTOCOL_ERROR, [
    ON,
    'Only the codes of the table are allowed [MQTT-3.4.2-1].',
  ]),
  row('PUBACK with bytes behind it', frame(0x40, 0, 1, 0, 0, 9, 9), MALFORMED_PACKET, [
    ON,
    'The packet ends with its properties (§3.4.2).',
  ]),
  row('PUBACK with flags', frame(0x42, 0, 1), MALFORMED_PACKET, [ON, FLAGS]),
  row('PUBREL without its flags', frame(0x60, 0, 1), MALFORMED_PACKET, [CLOSED, SAYS_WHY]),
  row('PUBREL with Reason Code 0x10', ack('pubrel', 1, 0x10), PROTOCOL_ERROR, [
    'PUBCOMP id 1, goes on',
    'Only the codes of the table are allowed [MQTT-3.6.2-1].',
  ]),

  row('SUBSCRIBE without its flags', frame(0x80, 0, 1, 0, field('a'), 0), MALFORMED_PACKET),
  row('SUBSCRIBE with Packet Identifier 0', subscribe({ packetId: 0 }), PROTOCOL_ERROR, [
    MALFORMED_PACKET,
    OTHER_CODE('§2.2.1 [MQTT-2.2.1-3]'),
  ]),
  row('SUBSCRIBE without a filter', subscribe({ filters: [] }), PROTOCOL_ERROR, [
    MALFORMED_PACKET,
    OTHER_CODE('§3.8.3 [MQTT-3.8.3-2]'),
  ]),
  inFilter('with QoS 3', 'a', 3, PROTOCOL_ERROR, [MALFORMED_PACKET, OTHER_CODE('§3.8.3.1')]),
  inFilter('with Retain Handling 3', 'a', 0x30, PROTOCOL_ERROR, [MALFORMED_PACKET, OTHER_CODE('§3.8.3.1')]),
  inFilter('with reserved option bits', 'a', 0x40, MALFORMED_PACKET),
  inFilter('to an empty filter', '', 0, MALFORMED_PACKET),
  inFilter('to a#', 'a#', 0, MALFORMED_PACKET),
  inFilter('to a/#/b', 'a/#/b', 0, MALFORMED_PACKET),
  inFilter('to a+/b', 'a+/b', 0, MALFORMED_PACKET),
  inFilter('with a surrogate', SURROGATE, 0, MALFORMED_PACKET),
  inFilter('with 201 levels', levels(201), 0, 'DISCONNECT 0x8f, closed', [GRANTED, LEVELS]),
  inFilter('to $share', '$share', 0, MALFORMED_PACKET, [PROTOCOL_ERROR, OTHER_CODE('§4.8.2')]),
  ...['$share/g', '$share/g/', '$share//x', '$share/+/x'].map((filter) =>
    inFilter(`to ${filter}`, filter, 0, MALFORMED_PACKET, [GRANTED, SHARE]),
  ),
  inFilter('with No Local on a shared subscription', '$share/g/x', 0x04, PROTOCOL_ERROR, [
    GRANTED,
    'A Protocol Error [MQTT-3.8.3-4].',
  ]),
  row(
    'SUBSCRIBE with Subscription Identifier 0',
    subscribe({ properties: [prop.subscriptionIdentifier(0)] }),
    PROTOCOL_ERROR,
    [MALFORMED_PACKET, OTHER_CODE('§3.8.2.1.2')],
  ),
  row(
    'SUBSCRIBE with two Subscription Identifiers',
    subscribe({ properties: [prop.subscriptionIdentifier(1), prop.subscriptionIdentifier(2)] }),
    PROTOCOL_ERROR,
    [CLOSED, SAYS_WHY],
  ),
  row(
    'two SUBSCRIBEs at a time with one Packet Identifier',
    bytes(subscribe(), subscribe()),
    'SUBACK id 1 {} 0x91, SUBACK id 1 {} 0x01, goes on',
    [
      'SUBACK id 1 {} 0x01, SUBACK id 1 {} 0x01, goes on',
      'The identifier is in use [MQTT-2.2.1-3]; Postern must know which SUBACK is for which filters.',
    ],
  ),
  row('UNSUBSCRIBE without a filter', unsubscribe([]), PROTOCOL_ERROR, [
    MALFORMED_PACKET,
    OTHER_CODE('§3.10.3 [MQTT-3.10.3-2]'),
  ]),
  row('UNSUBSCRIBE with Packet Identifier 0', unsubscribe(['a'], 0), PROTOCOL_ERROR, [
    MALFORMED_PACKET,
    OTHER_CODE('§2.2.1 [MQTT-2.2.1-3]'),
  ]),
  row('UNSUBSCRIBE from a/#/b', unsubscribe(['a/#/b']), MALFORMED_PACKET),

  row('DISCONNECT with Reason Code 0x01', disconnect(0x01), PROTOCOL_ERROR, [CLOSED, SAYS_WHY]),
  row('DISCONNECT with flags', Buffer.of(0xe1, 0x00), MALFORMED_PACKET, [CLOSED, SAYS_WHY]),
  row(
    'DISCONNECT with a Session Expiry Interval after 0 in CONNECT',
    disconnect(0, [prop.sessionExpiryInterval(9)]),
    PROTOCOL_ERROR,
  ),
  row('DISCONNECT with a property of PUBLISH', disconnect(0, [prop.topicAlias(1)]), MALFORMED_PACKET, [
    CLOSED,
    SAYS_WHY,
  ]),
]
