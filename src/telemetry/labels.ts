// The labels of all metrics, in words.

/** What each label may hold, for docs/metrics.md. */
export const LABELS: ReadonlyMap<string, string> = new Map([
  ['decision', '`allow` or `deny`'],
  [
    'reason',
    'for an allow `allow` (`ok` for a CONNECT and a token), else the name of the reason to deny; the same names as in the audit log',
  ],
  ['action', '`publish`, `subscribe`, `deliver` or `will`'],
  ['cause', 'why a session ended; the same names as in the audit log'],
  ['side', '`client` (agent) or `server` (broker): who sent it'],
  ['fault', 'name of the fault that the packet reader found'],
  ['direction', '`client_to_server` or `server_to_client`'],
  ['type', 'MQTT Control Packet type in lower case'],
  [
    'result',
    '`ok` or `failed`; for audit records `written` or `lost`, for their copies `sent` or `lost`, for revocations and security events `done`, `ignored` or `refused`, for token checks `ok`, `refused` or `unavailable`',
  ],
  ['what', '`policy`, `keys` or `revocation` (secrets and list), `tls` (certificates)'],
  [
    'event',
    'last part of the type of a security event; `unknown` for others, and for what could not be read',
  ],
  ['stream', 'a configured stream of security events'],
  [
    'source',
    '`admin` endpoint, operator’s `list`, security events by `push` or `poll`, another replica by the `store`, a look at a `status_list` or by `introspection`',
  ],
  ['place', 'where it goes, by its key under `audit.copies` or `audit.checkpoints`; `file`: beside the log'],
  ['state', '`unauthenticated` (CONNECT not finished) or `active`'],
  ['issuer', 'a configured issuer'],
  ['listener', 'name of a listener with `credentials: broker`'],
  ['version', 'of Postern, or digest of the policy in force'],
  ['node', 'version of Node.js'],
  ['le', 'upper bound of the bucket in seconds'],
])
