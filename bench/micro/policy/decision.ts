// What matcher, containment and a whole decision cost, from 10 to 10 000 rules.

import { type Acl, PublishRequest } from '../../../src/policy/acl.ts'
import type { Subject } from '../../../src/policy/subject.ts'
import { compileFilter, covers, matches, type TopicFilter } from '../../../src/policy/topic-filter.ts'
import { policyFrom } from '../../../test/support/session-rig.ts'
import { policyOf } from '../../paths.ts'
import { time } from '../timing.ts'

const topic = Buffer.from('agents/bench/data/sensor-7/temperature')
const filter = compileFilter('agents/+/data/+/temperature') as TopicFilter
const inner = Buffer.from('agents/bench/data/#')
time('matcher, 38-byte topic, two wildcards', () => matches(filter, topic, 0, topic.length))
time('containment, 19-byte filter', () => covers(filter, inner, 0, inner.length))

for (const rules of [10, 100, 10_000]) {
  const acl = bind(rules)
  const request = new PublishRequest()
  request.topic = topic
  request.topicEnd = topic.length
  time(`decision, ${rules} rules, the last one matches`, () => acl.decidePublish(request))
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
