// Mistakes at the start of a connection. See malformed.ts.
import { bytes, type ConnectOptions, connectV3, prop, publish } from '../support/frames.ts'
import { CLOSED, type MalformedRow, ON, SAYS_WHY } from './malformed.ts'

const SURROGATE = Buffer.of(0x61, 0xed, 0xa0, 0x80)

const ANSWERS = 'Both end the connection; Postern says why in a CONNACK (§3.1.4).'

/** A CONNECT that Mosquitto answers with nothing but a close, unless told otherwise. */
function connect(
  name: string,
  options: ConnectOptions,
  outcome: string,
  differs: MalformedRow['differs'] | null = [CLOSED, ANSWERS],
): MalformedRow {
  return {
    name: `CONNECT ${name}`,
    first: (stage) => stage.connect('a', options),
    outcome,
    ...(differs ? { differs } : {}),
  }
}

const MALFORMED = 'CONNACK 0x81, closed'
const PROTOCOL_ERROR = 'CONNACK 0x82, closed'

export const MALFORMED_CONNECTS: readonly MalformedRow[] = [
  { name: 'PINGREQ as the first packet', first: () => Buffer.of(0xc0, 0x00), outcome: CLOSED },
  { name: 'PUBLISH as the first packet', first: () => publish(), outcome: CLOSED },
  {
    name: 'a second CONNECT',
    first: (stage) => bytes(stage.connect('a'), stage.connect('a')),
    outcome: 'CONNACK 0x00, DISCONNECT 0x82, closed',
    differs: ['CONNACK 0x00, closed', SAYS_WHY],
  },
  {
    name: 'CONNECT of MQTT 3.1.1',
    first: (stage) => connectV3(stage.clientId('old')),
    outcome: 'CONNACK MQTT-3 0x01, closed',
    differs: [
      `CONNACK MQTT-3 0x00, ${ON}`,
      'Postern is for MQTT 5: without Reason Codes it could not say what it denies. It answers in the form of 3.1.1.',
    ],
  },
  connect('with another protocol name', { protocolName: 'MQTX' }, 'CONNACK 0x84, closed'),
  connect('of version 6', { protocolVersion: 6 }, 'CONNACK 0x84, closed', [
    'CONNACK MQTT-3 0x01, closed',
    'Both refuse; Postern in the form of MQTT 5 (§3.1.2.2 [MQTT-3.1.2-2]).',
  ]),
  connect('with the reserved flag', { flags: 0xc3 }, MALFORMED),
  connect('with Will QoS 3', { will: { topic: 'a', qos: 3 } }, MALFORMED),
  connect('with Will QoS and no Will', { flags: 0xca }, MALFORMED),
  connect('with an empty Will Topic', { will: { topic: '' } }, PROTOCOL_ERROR),
  connect('with a wildcard in the Will Topic', { will: { topic: 'a/#' } }, MALFORMED),
  connect('with Receive Maximum 0', { properties: [prop.receiveMaximum(0)] }, PROTOCOL_ERROR),
  connect('with Maximum Packet Size 0', { properties: [prop.maximumPacketSize(0)] }, PROTOCOL_ERROR),
  connect(
    'with Request Problem Information 2',
    { properties: [prop.requestProblemInformation(2)] },
    PROTOCOL_ERROR,
  ),
  connect(
    'with two Session Expiry Intervals',
    { properties: [prop.sessionExpiryInterval(1), prop.sessionExpiryInterval(1)] },
    PROTOCOL_ERROR,
  ),
  connect('with a Topic Alias', { properties: [prop.topicAlias(1)] }, MALFORMED),
  connect(
    'with Authentication Data and no method',
    { properties: [prop.authenticationData('x')] },
    PROTOCOL_ERROR,
    [`CONNACK 0x00, ${ON}`, 'A Protocol Error (§3.1.2.11.10); Postern reads tokens there.'],
  ),
  connect(
    'with an unknown Authentication Method',
    { properties: [prop.authenticationMethod('X')] },
    'CONNACK 0x8c, closed',
    null,
  ),
  connect('with bytes behind it', { trailing: Buffer.of(1, 2, 3) }, MALFORMED),
  connect('with a surrogate in the Client Identifier', { clientId: SURROGATE }, MALFORMED),
  connect('with U+0000 in the Client Identifier', { clientId: 'a\0b' }, MALFORMED),
  connect('with U+0001 in the Client Identifier', { clientId: 'a\u0001b' }, MALFORMED),
]
