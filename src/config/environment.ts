// Overrides from the environment: POSTERN_ and the path in upper snake case, `__` between levels, such as
// POSTERN_UPSTREAM__ADDRESS, POSTERN_LIMITS__CONNECT_BYTES, POSTERN_ISSUERS__0__ISSUER. An empty variable counts as
// absent. Text goes in as it is; everything else is read as YAML: `true`, `100`, `[ES256, Ed25519]`.
import type { Problem } from '../errors.ts'
import { type Path, readSource } from './document.ts'
import { configJsonSchema, type SchemaNode } from './schema.ts'
import { suggest } from './suggestion.ts'

const PREFIX = 'POSTERN_'
/** Read by the command itself, not part of the configuration. */
export const RESERVED_VARIABLES: ReadonlySet<string> = new Set(['POSTERN_CONFIG'])
/**
 * What Kubernetes and Docker put into the environment beside a service named `postern` or `postern-…`, such as
 * POSTERN_SERVICE_HOST and POSTERN_PORT_1883_TCP. None of our keys has this form.
 */
const SERVICE_LINK =
  /^POSTERN(_[A-Z0-9]+)*?_(SERVICE_(HOST|PORT(_[A-Z0-9_]+)?)|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$/

export interface Overrides {
  /** The tree with the overrides applied; a copy where something changed. */
  value: unknown
  /** Path (joined by NUL) of each override to the variable it came from. */
  variables: ReadonlyMap<string, string>
  problems: readonly Problem[]
}

export function applyEnvironment(
  value: unknown,
  env: Readonly<Record<string, string | undefined>>,
): Overrides {
  const root = { value: structuredClone(value) }
  const variables = new Map<string, string>()
  const problems: Problem[] = []
  // Sorted, so that POSTERN_ISSUERS__0 comes before POSTERN_ISSUERS__0__ISSUER and __0 before __1.
  for (const name of Object.keys(env).sort()) {
    const text = env[name]
    if (!name.startsWith(PREFIX) || text === undefined || text === '') continue
    if (RESERVED_VARIABLES.has(name) || SERVICE_LINK.test(name)) continue
    const found = resolve(name)
    const message = typeof found === 'string' ? found : assign(root, found.path, readValue(found.node, text))
    if (message !== undefined)
      problems.push({ file: 'environment', path: '', message: `${name}: ${message}` })
    else if (typeof found !== 'string') variables.set(found.path.join('\0'), name)
  }
  return { value: root.value, variables, problems }
}

/** The variable that overrides `path`. */
export function variableOf(path: Path): string {
  return PREFIX + path.map((segment) => upperSnake(String(segment))).join('__')
}

function upperSnake(key: string): string {
  return key.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()
}

/** The path and schema position that a variable names, or what is wrong with its name. */
function resolve(name: string): { path: Path; node: SchemaNode } | string {
  const path: (string | number)[] = []
  let node: SchemaNode = configJsonSchema
  for (const segment of name.slice(PREFIX.length).split('__')) {
    const { properties, items } = objectForm(node)
    if (properties !== undefined) {
      const key = Object.keys(properties).find((candidate) => upperSnake(candidate) === segment)
      if (key === undefined) {
        const near = suggest(segment, Object.keys(properties))
        const hint = near === undefined ? '' : ` Did you mean ${variableOf([...path, near])}?`
        return `No key of the configuration has this name.${hint} Two underscores stand between levels; see docs/configuration.md.`
      }
      path.push(key)
      node = properties[key]!
    } else if (items !== undefined && /^\d{1,3}$/.test(segment)) {
      path.push(Number(segment))
      node = items
    } else {
      return `\`${path.join('.')}\` has no such key. Set it as a whole, as YAML in one line.`
    }
  }
  return { path, node }
}

/** `admin` is `off` or a section: its keys are those of the section. */
function objectForm(node: SchemaNode): SchemaNode {
  return node.anyOf?.find((form) => form.properties !== undefined) ?? node
}

function readValue(node: SchemaNode, text: string): unknown {
  const types = [node.type ?? node.anyOf?.map((form) => form.type ?? [])].flat(2)
  const list = types.includes('array') && text.startsWith('[')
  return types.includes('string') && !list ? text : readSource(text).value
}

/** Puts `value` at `path`; a message when a list would get a hole. */
function assign(root: { value: unknown }, path: Path, value: unknown): string | undefined {
  let parent = root as Record<string | number, unknown>
  let key: string | number = 'value'
  for (const segment of path) {
    const list = typeof segment === 'number'
    parent[key] ??= list ? [] : {}
    const next = parent[key]
    // Where the file has something else, the schema will complain about the file.
    if (typeof next !== 'object' || next === null || Array.isArray(next) !== list) return undefined
    if (list && segment > (next as unknown[]).length) {
      return `The list has ${(next as unknown[]).length} entries; numbers count from 0 without a gap.`
    }
    parent = next as Record<string | number, unknown>
    key = segment
  }
  parent[key] = value
  return undefined
}
