// What it costs to know a head again by its bytes.

import { KnownHeads, repeatsOf } from '../../../src/session/known-heads.ts'
import { Direction } from '../../../src/wire/control-packet.ts'
import { PacketReader } from '../../../src/wire/packet-reader.ts'
import { publish } from '../../frames.ts'
import { about, type Case, compare, few, spaced, time } from '../timing.ts'

about('session: a head that was allowed before')

const LIMITS = {
  ...{ publishHeadBytes: 16_384, controlPacketBytes: 16_384, connectBytes: 16_384 },
  ...{ filters: 16, userProperties: 16, packetBytes: 1_000_000 },
}
const MOST_TOPICS = 100_000

compare([1, 1000, MOST_TOPICS].map(finding))

const FRAMES = 1000
const frame = publish('agents/bench/data/sensor-7/temperature', 64)
const many = Buffer.concat(Array.from({ length: FRAMES }, () => frame))
time(`${FRAMES} frames with the head of the one before`, () =>
  repeatsOf(many, 0, frame.length - 64, frame.length),
)

/** So many topics in turn, each remembered when it first comes, as far as there is room. */
function finding(topics: number): Case {
  const frames = Array.from({ length: few(topics) }, (_, i) =>
    publish(`agents/bench/data/sensor-${String(i).padStart(6, '0')}/temperature`, 64),
  )
  const { length } = frames[0]!
  const source = Buffer.concat(frames)
  const heads = new KnownHeads()
  heads.use(1)
  for (const frame of frames) {
    const reader = new PacketReader(Direction.CLIENT_TO_SERVER, LIMITS)
    reader.load(frame)
    reader.next()
    if (heads.admits(reader)) heads.add(reader, true, undefined, undefined)
  }
  const calls = few(MOST_TOPICS)
  let found = 0
  const run = (): void => {
    found = 0
    for (let i = 0, at = 0; i < calls; i++, at += length) {
      if (at === source.length) at = 0
      if (heads.find(source, at, source.length) !== undefined) found++
    }
  }
  run()
  const known = `${((found / calls) * 100).toFixed(0)} % of them known`
  return { name: `${spaced(topics)} ${topics === 1 ? 'topic' : 'topics in turn'}, ${known}`, calls, run }
}
