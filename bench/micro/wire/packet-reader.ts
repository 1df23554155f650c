// What the streaming reader costs for each packet.

import { Direction } from '../../../src/wire/control-packet.ts'
import { PacketReader, Step } from '../../../src/wire/packet-reader.ts'
import { publish } from '../../frames.ts'
import { about, time } from '../timing.ts'

about('wire: reader')

const LIMITS = {
  ...{ publishHeadBytes: 16_384, controlPacketBytes: 16_384, connectBytes: 16_384 },
  ...{ filters: 16, userProperties: 16, packetBytes: 1_000_000 },
}
const FRAMES = 100
const chunk = Buffer.concat(
  Array.from({ length: FRAMES }, () => publish('agents/bench/data/temperature', 64)),
)
const reader = new PacketReader(Direction.CLIENT_TO_SERVER, LIMITS)
time(`packet reader, ${FRAMES} PUBLISH packets with 29-byte topics`, () => {
  reader.load(chunk)
  while (reader.next() === Step.HEAD);
})
