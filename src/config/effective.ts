// The effective configuration in the form of the file, for `postern check`: every default filled in, no secret.
import { stringify } from 'yaml'
import type { Address, Config } from './config.ts'
import { formatAddress, formatDuration, formatSize } from './fields.ts'

/** Stands for a secret that is set. */
export const SECRET_MARK = '«set»'

const DURATIONS = new Set([
  ...['connectTimeout', 'timeout', 'cooldown', 'cacheAge', 'staleAge', 'maxLifetime', 'leeway', 'drain'],
  ...[
    'flushInterval',
    'coalesceQos0',
    'failedTriesWindow',
    'maxAge',
    'keepFor',
    'margin',
    'interval',
    'silence',
    'window',
  ],
])
const SIZES = new Set([
  ...[
    'maxBytes',
    'connectBytes',
    'publishHeadBytes',
    'controlPacketBytes',
    'packetBytes',
    'maxPending',
    'maxPayload',
  ],
])

/** YAML that loads to the same configuration, but for the password: `«set»` stands in its place. */
export function describeConfig(config: Config): string {
  const { upstream } = config
  const shown = {
    ...config,
    upstream: { ...upstream, password: upstream.password === undefined ? undefined : SECRET_MARK },
    token: { ...config.token, topic: config.token.topic ?? 'off' },
    proof: { ...config.proof, dpop: config.proof.dpop ?? 'off' },
    clientId: clientId(config),
    grants: grants(config),
    revocation: config.revocation ?? 'off',
    admin: config.admin ?? 'off',
  }
  return stringify(shown, written, { lineWidth: 0, aliasDuplicateObjects: false })
}

function grants({ grants }: Config): object | 'off' {
  if (grants === undefined) return 'off'
  return { ...grants, property: grants.property ?? 'off', topic: grants.topic ?? 'off' }
}

/** A separator that no binding reads would be a contradiction. */
function clientId({ clientId }: Config): object {
  return clientId.binding === 'prefix' ? clientId : { binding: clientId.binding }
}

function written(key: unknown, value: unknown): unknown {
  if (typeof key !== 'string' || value === undefined) return value
  if (key === 'address' && typeof value === 'object') return formatAddress(value as Address)
  // An attribute or an owner may bear one of these names too; its value is text.
  if (typeof value !== 'number') return isEmptyMap(value) ? undefined : value
  if (DURATIONS.has(key)) return formatDuration(value)
  return SIZES.has(key) ? formatSize(value) : value
}

function isEmptyMap(value: unknown): boolean {
  return (
    typeof value === 'object' && value !== null && !Array.isArray(value) && Object.keys(value).length === 0
  )
}
