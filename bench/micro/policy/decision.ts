// What matcher, containment and a whole decision cost: by rules, by topics, and for a topic that was never seen while
// something else has the caches. The topics lie one behind another in a buffer, as the relay hands them in.

import { type Acl, PublishRequest } from '../../../src/policy/acl.ts'
import type { Subject } from '../../../src/policy/subject.ts'
import { compileFilter, covers, matches, type TopicFilter } from '../../../src/policy/topic-filter.ts'
import { Verdict } from '../../../src/policy/verdict.ts'
import { policyFrom } from '../../../test/support/session-rig.ts'
import { policyOf } from '../../paths.ts'
import { about, type Case, compare, distribute, few, spaced, time } from '../timing.ts'

const MOST_TOPICS = 100_000
const SINGLE_CALLS = 20_000
const DISTURBED_CALLS = 2000
/** More than the second-level cache and most of what one process has of the third. */
const DISTURBING_BYTES = 8 * 1024 * 1024
const CACHE_LINE = 64

const topic = Buffer.from('agents/bench/data/sensor-7/temperature')
const filter = compileFilter('agents/+/data/+/temperature') as TopicFilter
const inner = Buffer.from('agents/bench/data/#')
about('policy: matcher')
time('matcher, 38-byte topic, two wildcards', () => matches(filter, topic, 0, topic.length))
time('containment, 19-byte filter', () => covers(filter, inner, 0, inner.length))

const topics = topicsFrom(0, MOST_TOPICS)
const request = new PublishRequest()

about('policy: decision on a PUBLISH, by rules')
compare(
  [10, 100, 10_000].map((rules) =>
    deciding(`${spaced(rules)} rules, ${spaced(MOST_TOPICS)} topics in turn`, bind(rules), MOST_TOPICS),
  ),
)
about('policy: decision on a PUBLISH, by topics')
const acl = bind(100)
compare(
  [1, 1000, MOST_TOPICS].map((different) =>
    deciding(
      `100 rules, ${spaced(different)} ${different === 1 ? 'topic' : 'topics in turn'}`,
      acl,
      different,
    ),
  ),
)
about('policy: decision on a delivery, by rules')
compare(
  [10, 100, 10_000].map((rules) => {
    const own = bind(rules)
    return judging(
      `${spaced(rules)} rules, ${spaced(MOST_TOPICS)} topics in turn`,
      MOST_TOPICS,
      (start, end) => own.decideDelivery(topics.bytes, start, end),
    )
  }),
)

about('policy: a single decision on a topic that was never seen')
let seen = MOST_TOPICS
let sum = 0
const disturbing = new Uint8Array(DISTURBING_BYTES)
const disturb = (i: number): void => {
  for (let at = i % CACHE_LINE; at < disturbing.length; at += CACHE_LINE) sum += disturbing[at]!++
}
for (const rules of [10, 100, 10_000]) {
  const own = bind(rules)
  deciding('', own, MOST_TOPICS).run()
  single(`${spaced(rules)} rules, caches left alone`, own, SINGLE_CALLS, () => {})
  single(`${spaced(rules)} rules, 8 MiB touched before each`, own, DISTURBED_CALLS, disturb)
}
if (!Number.isFinite(sum)) throw new Error('unreachable')

function single(name: string, acl: Acl, most: number, before: (i: number) => void): void {
  const { bytes, starts, length } = topicsFrom(seen, few(most))
  seen += most
  request.topic = bytes
  const decide = (i: number): void => {
    request.topicStart = starts[i]!
    request.topicEnd = starts[i]! + length
    if (acl.decidePublish(request) !== Verdict.ALLOW) throw new Error('denied')
  }
  distribute(name, most, decide, before)
}

function deciding(name: string, acl: Acl, different: number): Case {
  return judging(name, different, (start, end) => {
    request.topic = topics.bytes
    request.topicStart = start
    request.topicEnd = end
    return acl.decidePublish(request)
  })
}

function judging(name: string, different: number, judge: (start: number, end: number) => Verdict): Case {
  const calls = few(MOST_TOPICS)
  const starts = Int32Array.from({ length: calls }, (_, i) => topics.starts[i % different]!)
  const { length } = topics
  const run = (): void => {
    for (let i = 0; i < calls; i++) {
      if (judge(starts[i]!, starts[i]! + length) !== Verdict.ALLOW) throw new Error('denied')
    }
  }
  return { name, calls, run }
}

/** Topics of one length, numbered from `first`, each behind two bytes of length as in a PUBLISH. */
function topicsFrom(first: number, count: number): { bytes: Buffer; starts: Int32Array; length: number } {
  const names = Array.from({ length: count }, (_, i) =>
    Buffer.from(`\0*agents/bench/data/sensor-${String(first + i).padStart(6, '0')}/temperature`),
  )
  const length = names[0]!.length - 2
  const starts = Int32Array.from({ length: count }, (_, i) => i * (length + 2) + 2)
  return { bytes: Buffer.concat(names), starts, length }
}

function bind(rules: number): Acl {
  const party = (id: string) => ({ iss: 'https://issuer.example', sub: id, id })
  const subject: Subject = {
    ...{ agent: party('bench'), human: party('alice'), delegated: true, tenant: undefined },
    ...{ clientId: 'bench', attributes: new Map([['agent_id', ['bench']]]), ceilings: [] },
  }
  const options = { userLayer: 'required', missingCeiling: 'none' } as const
  const more = { qosAboveLimit: 'deny', overlappingDeny: 'refuse' } as const
  return policyFrom(JSON.stringify(policyOf(rules))).bind(subject, { ...options, ...more })
}
