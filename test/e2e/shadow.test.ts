// Shadow mode through the whole path: the agent works as if there were no rules, and the trail says what would have been.
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { publish, subscribe } from '../support/frames.ts'
import type { TestPostern } from '../support/postern.ts'
import { openStage, type Stage } from '../support/stage.ts'

const run = promisify(execFile)
const POLICY = `
version: 1
agents:
  - { id: own, allow: publish+subscribe, topic: "agents/{agent_id}/#", maxQos: 1 }
  - { id: sealed, deny: publish, topic: vault/# }
users:
  - { id: any, allow: publish+subscribe, topic: "agents/#" }
`

let stage: Stage
beforeAll(async () => {
  stage = await openStage({
    policy: POLICY,
    config: { listeners: [{ name: 'agents', address: '127.0.0.1:0', mode: 'shadow' }] },
  })
})
afterAll(() => stage?.stop())

/** `postern shadow report`: exit code and output. */
async function report(postern: TestPostern, ...options: string[]): Promise<{ code: number; stdout: string }> {
  await postern.app.flushAudit()
  const file = join(postern.directory, 'audit.jsonl')
  return run(process.execPath, ['cmd/postern.ts', 'shadow', 'report', ...options, file]).then(
    ({ stdout }) => ({ code: 0, stdout }),
    (error: { code: number; stdout: string }) => ({ code: error.code, stdout: error.stdout }),
  )
}

describe('a listener in shadow mode', () => {
  test('lets a denied PUBLISH through, and records and counts it as denied', async () => {
    const scout = await stage.agent('scout')
    scout.send(publish({ topic: 'news/today', payload: 'x', qos: 1, packetId: 7 }))
    expect(await scout.next('puback')).toMatchObject({ messageId: 7, reasonCode: 0 })
    expect((await stage.observer.seen()).map(({ topic }) => topic)).toContain('news/today')
    const record = (await stage.postern.records()).findLast(({ action }) => action === 'publish')
    expect(record).toMatchObject({
      decision: 'deny',
      reason: 'no_rule',
      effect: 'shadowed',
      rules: { agent: '-', user: '-' },
    })
    expect(await stage.postern.metric('postern_shadowed_total{action="publish",reason="no_rule"}')).toBe(1)
    expect(await stage.postern.metric('postern_publishes_total{decision="deny",reason="no_rule"}')).toBe(1)
    expect(await stage.postern.metric('postern_shadow_mode')).toBe(1)
  })

  test('grants a denied SUBSCRIBE as it was asked, and delivers', async () => {
    const analyst = await stage.agent('analyst')
    analyst.send(
      subscribe({
        packetId: 1,
        filters: [
          ['news/#', 2],
          ['agents/analyst/in', 2],
        ],
      }),
    )
    // The second filter is allowed at QoS 1 only; shadow mode narrows nothing.
    expect((await analyst.next('suback')).granted).toEqual([2, 2])
    const scout = await stage.agent('scout')
    scout.send(publish({ topic: 'news/late', payload: 'y' }))
    expect((await analyst.next('publish')).topic).toBe('news/late')
    const records = await stage.postern.records()
    expect(records.findLast(({ action }) => action === 'deliver')).toMatchObject({
      decision: 'deny',
      effect: 'shadowed',
      resource: { topic: 'news/late' },
    })
    expect(await stage.postern.metric('postern_shadowed_total{action="deliver",reason="no_rule"}')).toBe(1)
    expect(await stage.postern.metric('postern_shadowed_total{action="subscribe",reason="no_rule"}')).toBe(1)
  })

  test('lets a denied Will through', async () => {
    await stage.agent('gtm', { will: { topic: 'wills/gtm', payload: 'bye' } })
    const record = (await stage.postern.records()).findLast(({ action }) => action === 'will')
    expect(record).toMatchObject({ decision: 'deny', reason: 'no_rule', effect: 'shadowed' })
  })

  test('never accepts an invalid token', async () => {
    const { connack } = await stage.tryConnect('scout', { claims: { aud: 'https://elsewhere.test' } })
    expect(connack.reasonCode).toBeGreaterThanOrEqual(0x80)
  })
})

test('what `shadow report` proposes, put into the policy, lets enforcing deny nothing more', async () => {
  const { code, stdout } = await report(stage.postern)
  expect(code).toBe(1)
  expect(stdout).toContain('agent "scout": 2 would have been denied')
  expect(stdout).toMatch(/1 x publish "news\/today" for "u1" \(no_rule; agent: no rule, user: no rule\)/)
  const { fixes } = JSON.parse((await report(stage.postern, '--json')).stdout) as {
    fixes: { under?: string; yaml: string }[]
  }
  const added = (under: string) =>
    fixes
      .filter((fix) => fix.under === under)
      .map(({ yaml }) => yaml.replace(/^/gm, '  '))
      .join('\n')
  const policy = POLICY.replace('agents:\n', `agents:\n${added('agents')}\n`).replace(
    'users:\n',
    `users:\n${added('users')}\n`,
  )
  const enforcing = await stage.anotherPostern({ policy })
  const scout = await stage.agent('scout', {}, enforcing)
  scout.send(publish({ topic: 'news/today', qos: 1, packetId: 7 }))
  expect((await scout.next('puback')).reasonCode).toBe(0)
  const analyst = await stage.agent('analyst', {}, enforcing)
  analyst.send(subscribe({ packetId: 1, filters: [['news/#', 2]] }))
  expect((await analyst.next('suback')).granted).toEqual([2])
  await stage.agent('gtm', { will: { topic: 'wills/gtm', payload: 'bye' } }, enforcing)
  // Exactly what was seen: nobody else, nowhere else.
  analyst.send(publish({ topic: 'news/today', qos: 1, packetId: 8 }))
  expect((await analyst.next('puback')).reasonCode).toBe(0x87)
  expect((await report(enforcing)).code).toBe(0)
})

test('a deny rule is named, and no rule is proposed against it', async () => {
  const postern = await stage.anotherPostern({
    policy: `${POLICY.replace('version: 1', 'version: 1\nmode: { agents: shadow, users: shadow }')}`,
  })
  const scout = await stage.agent('scout', {}, postern)
  scout.send(
    publish({ topic: 'vault/x', qos: 1, packetId: 1 }),
    publish({ topic: 'agents/scout/big', qos: 2, packetId: 2 }),
  )
  expect((await scout.next('puback')).reasonCode).toBe(0)
  expect((await scout.next('pubrec')).reasonCode).toBe(0)
  const { stdout } = await report(postern)
  expect(stdout).toContain('# rule sealed denies this and beats every allow')
  expect(stdout).toContain('# rule own: write maxQos: 2')
})
