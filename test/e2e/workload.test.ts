// Tokens of workloads through the whole path. Ids: identity-standards.md 13.2 (KEY) and 13.3 (DEL).
import { afterAll, beforeAll, expect, test } from 'vitest'
import { RawSigner } from '../identity/raw-signer.ts'
import { connect, publish } from '../support/frames.ts'
import type { TestPostern } from '../support/postern.ts'
import type { RawClient } from '../support/raw-client.ts'
import { openStage, type Stage } from '../support/stage.ts'
import { TEST_AUDIENCE } from '../support/tokens.ts'

const CLUSTER = 'https://kubernetes.default.svc.cluster.local'
const cluster = new RawSigner('cluster', 'RS256')
const spire = new RawSigner('spire')
let stage: Stage
let postern: TestPostern

beforeAll(async () => {
  stage = await openStage()
  const issuer = { audience: TEST_AUDIENCE, owners: { scout: 'alice' } }
  const bundle = { keys: [{ ...spire.jwk, use: 'jwt-svid', alg: undefined }], spiffe_sequence: 1 }
  postern = await stage.anotherPostern({
    files: {
      'cluster.json': JSON.stringify({ keys: [cluster.jwk] }),
      'bundle.json': JSON.stringify(bundle),
    },
    config: {
      issuers: [
        {
          ...issuer,
          issuer: CLUSTER,
          jwks: { file: 'cluster.json' },
          algorithms: ['RS256'],
          mapping: 'kubernetes',
          kubernetes: {
            agents: [{ namespace: 'org-a', serviceAccount: 'scout', agent: 'scout', pod: 'scout-*' }],
            tenant: 'namespace',
          },
        },
        {
          ...issuer,
          issuer: 'spiffe://prod.example',
          jwks: { file: 'bundle.json', use: 'jwt-svid' },
          mapping: 'spiffe',
          spiffe: { trustDomain: 'prod.example', paths: ['/ns/{org_id}/sa/{agent_id}'] },
        },
      ],
    },
  })
})
afterAll(() => stage?.stop())

const seconds = (): number => Math.floor(postern.clock.now() / 1000)
const times = (): object => ({ iat: seconds(), exp: seconds() + 600, aud: [TEST_AUDIENCE] })

function projected(pod: string): string {
  const details = {
    namespace: 'org-a',
    pod: { name: pod, uid: 'p' },
    serviceaccount: { name: 'scout', uid: 's' },
  }
  const sub = 'system:serviceaccount:org-a:scout'
  return cluster.sign(
    { ...times(), iss: CLUSTER, sub, jti: 'k8s-1', 'kubernetes.io': details },
    { typ: undefined },
  )
}

async function connectWith(password: string): Promise<{ client: RawClient; code: number | undefined }> {
  const client = await stage.socket(postern)
  client.send(connect({ password }))
  return { client, code: (await client.next('connack')).reasonCode }
}

async function publishes(client: RawClient): Promise<void> {
  const topic = 'a2a/v1/notes/scout/a'
  client.send(publish({ topic, qos: 1 }))
  expect((await client.next('puback')).reasonCode ?? 0).toBeLessThan(0x80)
  expect((await postern.records()).findLast(({ action }) => action === 'publish')).toMatchObject({
    decision: 'allow',
    identity: { agent: { id: 'scout' }, human: { id: 'alice' } },
  })
  client.destroy()
}

const lastReason = async (): Promise<string | undefined> =>
  (await postern.records()).findLast(({ action }) => action === 'connect')?.reason

test('DEL-15 DEL-04 a pod publishes with its projected token, and the record names its owner', async () => {
  const { client, code } = await connectWith(projected('scout-7d9f-x2x'))
  expect(code).toBe(0)
  await publishes(client)
})

test('DEL-15 the token of another pod of the namespace is refused', async () => {
  expect((await connectWith(projected('debug'))).code).toBe(0x87)
  expect(await lastReason()).toBe('workload_mismatch')
})

test('DEL-16 KEY-07 a workload publishes with a JWT-SVID under the keys of its bundle', async () => {
  const svid = spire.sign({ ...times(), sub: 'spiffe://prod.example/ns/org_a/sa/scout' }, { typ: 'JWT' })
  const { client, code } = await connectWith(svid)
  expect(code).toBe(0)
  await publishes(client)
})

test('DEL-16 another trust domain is refused', async () => {
  const claims = { ...times(), iss: 'spiffe://prod.example', sub: 'spiffe://other.example/ns/org_a/sa/scout' }
  expect((await connectWith(spire.sign(claims, { typ: 'JWT' }))).code).toBe(0x87)
  expect(await lastReason()).toBe('wrong_trust_domain')
})
