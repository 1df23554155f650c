// Kubernetes manifests against their schemas (kubernetes-models), strictly: a key that the schema does not know is an
// error, as it would be lost without a word.
import { parseAllDocuments } from 'yaml'

export interface Manifest {
  apiVersion: string
  kind: string
  metadata: { name: string; namespace?: string; labels?: Record<string, string> }
  // Manifests are read by tests that know what they look for.
  // biome-ignore lint/suspicious/noExplicitAny: their shape is what validate() is for
  [key: string]: any
}

export interface PodSpec {
  securityContext: Record<string, unknown>
  terminationGracePeriodSeconds: number
  automountServiceAccountToken: boolean
  initContainers?: Container[]
  containers: Container[]
  volumes: { name: string }[]
}

export interface Container {
  name: string
  restartPolicy?: string
  image: string
  // biome-ignore lint/suspicious/noExplicitAny: as above
  [key: string]: any
}

export function readManifests(text: string): Manifest[] {
  // As kubectl reads it: in YAML 1.1, where 0440 is octal.
  return parseAllDocuments(text, { version: '1.1' })
    .map((document) => {
      if (document.errors.length > 0) throw document.errors[0]
      return document.toJS() as Manifest | null
    })
    .filter((manifest) => manifest !== null)
}

const PACKAGES: readonly [RegExp, string][] = [
  [/^monitoring\.coreos\.com\//, '@kubernetes-models/prometheus-operator/'],
  [/^cert-manager\.io\//, '@kubernetes-models/cert-manager/'],
  [/^/, 'kubernetes-models/'],
]

/** What is wrong with a manifest; empty: nothing. */
export async function validate(manifest: Manifest): Promise<string[]> {
  const { apiVersion, kind, metadata } = manifest
  const name = `${kind} ${metadata?.name}`
  const source = PACKAGES.find(([pattern]) => pattern.test(apiVersion))![1]
  // The same form in both versions; the packages know the newer one.
  const version = kind.startsWith('MutatingAdmissionPolicy')
    ? apiVersion.replace('v1beta1', 'v1')
    : apiVersion
  const module = (await import(/* @vite-ignore */ `${source}${version}/${kind}`)) as Record<
    string,
    new (
      data: object,
    ) => { validate(): void }
  >
  const problems: string[] = []
  const unread: string[] = []
  const model = new module[kind]!({ ...manifest, apiVersion: version })
  for (const [key, value] of Object.entries(manifest)) {
    if (typeof value === 'object') Object.assign(model, { [key]: watched(value, key, unread) })
  }
  try {
    model.validate()
  } catch (error) {
    problems.push(`${name}: ${(error as Error).message}`)
  }
  return [...problems, ...unread.filter(Boolean).map((path) => `${name}: no such key: ${path}`)]
}

/** The validators read each key that they know, and only those: what they leave unread is unknown. */
function watched(value: unknown, path: string, unread: string[]): unknown {
  if (typeof value !== 'object' || value === null) return value
  const slots = new Map<string, number>()
  const copy = Array.isArray(value)
    ? value.map((item, i) => watched(item, `${path}[${i}]`, unread))
    : Object.fromEntries(
        Object.entries(value).map(([key, item]) => {
          slots.set(key, unread.push(`${path}.${key}`) - 1)
          return [key, watched(item, `${path}.${key}`, unread)]
        }),
      )
  return new Proxy(copy, {
    get(target, key, receiver) {
      const slot = typeof key === 'string' ? slots.get(key) : undefined
      if (slot !== undefined) unread[slot] = ''
      return Reflect.get(target, key, receiver)
    },
  })
}

/** The pods that a set of manifests makes. */
export function podsOf(manifests: readonly Manifest[]): PodSpec[] {
  return manifests.flatMap((manifest) => (manifest['spec']?.template?.spec as PodSpec | undefined) ?? [])
}

export function containersOf(pod: PodSpec): Container[] {
  return [...(pod.initContainers ?? []), ...pod.containers]
}
