// What it costs to know a head again by its bytes.

import { KnownHeads, repeatsOf } from '../../../src/session/known-heads.ts'
import { Direction } from '../../../src/wire/control-packet.ts'
import { PacketReader } from '../../../src/wire/packet-reader.ts'
import { publish } from '../../frames.ts'
import { time } from '../timing.ts'

const LIMITS = {
  ...{ publishHeadBytes: 16_384, controlPacketBytes: 16_384, connectBytes: 16_384 },
  ...{ filters: 16, userProperties: 16, packetBytes: 1_000_000 },
}
for (const topics of [1, 1000]) {
  const frames = Array.from({ length: topics }, (_, i) =>
    publish(`agents/bench/data/sensor-${i}/temperature`, 64),
  )
  const heads = new KnownHeads()
  heads.use(1)
  for (const frame of frames) {
    const reader = new PacketReader(Direction.CLIENT_TO_SERVER, LIMITS)
    reader.load(frame)
    reader.next()
    heads.add(reader, true, undefined, undefined)
  }
  let next = 0
  time(`known head, ${topics} topics in turn`, () => {
    const frame = frames[next++ % topics]!
    return heads.find(frame, 0, frame.length)
  })
}

const frame = publish('agents/bench/data/sensor-7/temperature', 64)
const many = Buffer.concat(Array.from({ length: 1000 }, () => frame))
time('1000 frames with the head of the one before', () => repeatsOf(many, 0, frame.length - 64, frame.length))
