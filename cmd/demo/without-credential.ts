// The part of the story in which the agent holds no credential at all: Postern has its token.

import { Agent } from './agent.ts'
import type { Scene } from './stage.ts'

const CARD = 'a2a/v1/agents/scout/card'

export async function withoutCredential({ stage, tell }: Scene): Promise<void> {
  const where = { ...stage.heldAddress, clientId: 'scout' }
  tell.tries('scout, on a listener with `credentials: broker`: CONNECT without User Name and Password')
  const scout = await Agent.connect(where)
  tell.gets('CONNACK', scout.connack, 0x00)
  tell.tries(`scout: PUBLISH ${CARD}, QoS 1, retained`)
  tell.gets('PUBACK', await scout.publish(CARD, '{"name":"scout"}', { retain: true }), 0x00)
  tell.why(
    'Postern holds its token and renews it: whoever talks the agent into something finds nothing to take',
  )
  const published = (await stage.records()).findLast(({ action }) => action === 'publish')
  tell.audit(published, {
    decision: 'allow',
    reason: 'allow',
    effect: 'forwarded',
    agent: 'scout',
    user: 'u1',
    rules: { agent: 'own-presence', user: 'any-user-presence' },
  })
  await scout.end()
  tell.tries('somebody with a good token, on the same listener: CONNECT')
  const other = await Agent.connect({ ...where, username: 'jwt', password: await stage.token('scout', 'u2') })
  tell.gets('CONNACK', other.connack, 0x86)
  const refused = (await stage.records()).findLast(({ action }) => action === 'connect')
  tell.audit(refused, { decision: 'deny', reason: 'unexpected_credential', effect: 'connack 0x86' })
}
