// The effective configuration: what schema.ts reads from a file, with every default filled in and paths absolute.
// Durations are milliseconds, sizes bytes, in this type; files write `5s`, `16KiB`. Maps of names have no prototype.

import type { CredentialSourceConfig } from './credential-config.ts'

export interface Address {
  kind: 'tcp' | 'unix'
  host: string
  port: number
  /** Unix socket path; empty for TCP. */
  path: string
}

export interface ListenerConfig {
  name: string
  address: Address
  /** `shadow`: what would be denied is recorded, counted and let through; tokens are checked all the same. */
  mode: 'enforce' | 'shadow'
  /** CIDRs of load balancers whose PROXY protocol v2 header is required and believed; empty: no such header. */
  proxyProtocolFrom: readonly string[]
  /** undefined: plain TCP. */
  tls?: TlsConfig | undefined
  /** `broker`: agents bring no credential; Postern holds the token of `credentialSource`. */
  credentials: 'agent' | 'broker'
  /** With `credentials: broker` only. */
  credentialSource?: CredentialSourceConfig | undefined
}

export interface TlsConfig {
  certFile: string
  keyFile: string
  minVersion: 'TLSv1.2' | 'TLSv1.3'
  /** `request`: any certificate is taken, for the token says which; `verify`: one of `clientCaFile` is needed. */
  clientCertificates: 'none' | 'request' | 'verify'
  clientCaFile: string | undefined
}

export interface UpstreamConfig {
  address: Address
  connectTimeout: number
  /** Template such as `{agent_id}`; undefined: no user name. */
  username: string | undefined
  /** Read from `password` or `passwordFile`. */
  password: string | undefined
  tls: UpstreamTlsConfig | undefined
  /** `v2`: the broker is told the agent’s address. */
  proxyProtocol: 'off' | 'v2'
}

/** Files in PEM, read again when they change. */
export interface UpstreamTlsConfig {
  /** undefined: the certificate authorities that Node.js knows. */
  caFile: string | undefined
  /** Client certificate and its key; both or none. */
  certFile: string | undefined
  keyFile: string | undefined
  /** Name that the broker’s certificate must have; undefined: the host of the address. */
  serverName: string | undefined
}

export type MappingMode = 'act' | 'client' | 'claims' | 'self' | 'kubernetes' | 'spiffe'

export interface KubernetesConfig {
  /** A service account that is not listed is refused. */
  agents: readonly {
    namespace: string
    serviceAccount: string
    agent: string
    uid?: string | undefined
    /** Name of the pod that the token is bound to, with `*` for a part of it. */
    pod?: string | undefined
  }[]
  tenant: 'none' | 'namespace'
}

export interface SpiffeConfig {
  trustDomain: string
  /** Such as `/ns/{org_id}/sa/{agent_id}`; the first that fits counts. */
  paths: readonly string[]
}

export interface IssuerConfig {
  issuer: string
  /** The token's `aud` must contain one of these. */
  audience: readonly string[]
  jwks: {
    url: string | undefined
    file: string | undefined
    /** `jwt-svid`: only keys of this use, as a SPIFFE bundle has them; default `sig`, or none. */
    use?: 'sig' | 'jwt-svid'
    /** Fetch limits for `url`. */
    timeout: number
    maxBytes: number
    /** At most one refetch for an unknown `kid` in this time. */
    cooldown: number
    /** A set older than this is fetched again. */
    cacheAge: number
    /** While fetches fail, the last good set is used up to this age. */
    staleAge: number
  }
  algorithms: readonly string[]
  mapping: MappingMode
  /** Claim names whose values are used in topics. Undefined: by mode, see docs; a claim that is not named is not read. */
  claims: {
    /** Short agent name. Default: the agent's `sub`; mode `claims`: `agent_id`. */
    agentId: string | undefined
    userId: string | undefined
    tenant: string | undefined
    /** Further claims usable as placeholders and in conditions: attribute name -> claim name. */
    attributes: Readonly<Record<string, string>>
  }
  kubernetes?: KubernetesConfig | undefined
  spiffe?: SpiffeConfig | undefined
  /** Modes `self`, `kubernetes`, `spiffe`: agent id -> responsible human. */
  owners: Readonly<Record<string, string>>
  /** Also accept a missing `typ` or `JWT`. */
  legacyTyp: boolean
  /** A signing key that is gone from `jwks`: its live connections go on until their token expires, or are cut. */
  onWithdrawnKey?: 'ignore' | 'cut'
  requireClientId: boolean
  /** Tokens that are bound to no key (`cnf`) are refused. */
  requireProof?: boolean
  requireSubProfile: boolean
  maxLifetime: number
  leeway: number
  maxActorDepth: number
  /** Which token ceilings are read: any of `scope`, `authorization_details`, `acl`. */
  ceilings: readonly ('scope' | 'authorization_details' | 'acl')[]
  /** undefined: its lists, if it has any, are not looked at. */
  statusList?: StatusListConfig | undefined
  /** undefined: it is not asked. */
  introspection?: IntrospectionConfig | undefined
  /** What a token with none of them means: `none` = no ceiling layer, `deny` = nothing is allowed. */
  missingCeiling: 'none' | 'deny'
}

/** Whose just-in-time grants are taken. */
export interface GrantIssuerConfig {
  issuer: string
  audience: readonly string[]
  /** Neither `url` nor `file`: the keys of the token issuer of this name. */
  jwks: IssuerConfig['jwks']
  algorithms: readonly string[]
  /** Issuer in whose name space `sub`, the human, is. */
  subjects: string
  leeway: number
}

export interface GrantsConfig {
  /** Journal of the uses; undefined: a `store` is there, which counts them. */
  file: string | undefined
  issuers: readonly GrantIssuerConfig[]
  /** User Property of a PUBLISH that carries a grant; undefined: none. */
  property: string | undefined
  /** Topic Name that takes grants; undefined: none. */
  topic: string | undefined
  maxLifetime: number
  /** Longest grant. */
  maxBytes: number
  /** Longest payload that a grant may be bound to. */
  maxPayload: number
}

/** Token status lists of an issuer. */
export interface StatusListConfig {
  draft: 'draft-ietf-oauth-status-list-21'
  /** How the addresses of its lists begin, each up to a `/`. */
  uris: readonly string[]
  /** A token without a status is refused. */
  required: boolean
  /** Between two looks at tokens in use, and two fetches of a list that sets no shorter time. */
  maxAge: number
  timeout: number
  /** Of a list, as sent and decompressed. */
  maxBytes: number
  maxListBytes: number
}

/** Introspection of an issuer's tokens, RFC 7662. */
export interface IntrospectionConfig {
  url: string
  clientId: string
  secretFile: string
  /** How long an answer counts, and between two questions about a token in use. */
  cache: number
  timeout: number
}

/** A stream of security events: SSF 1.0, SETs (RFC 8417) by push (RFC 8935) or poll (RFC 8936). */
export interface EventStreamConfig {
  /** Names it in paths, metrics and messages. */
  name: string
  /** `iss` of its SETs. */
  issuer: string
  audience: readonly string[]
  jwks: IssuerConfig['jwks']
  algorithms: readonly string[]
  maxBytes: number
  /** Bearer secret: of the pushing transmitter, or shown to the polled one. */
  secretFile: string
  /** undefined: it pushes to `/events/{name}` of the admin listener. */
  poll: { url: string; interval: number; timeout: number } | undefined
  /** Silent for longer than this: not ready. */
  silence: number
  onSilence: 'continue' | 'deny'
  /** `opaque` identifiers are the `sub` of `issuer`. */
  opaque: boolean
  /** `email` identifiers are compared with the attribute `email`. */
  email: boolean
  /** Members of complex subjects that must be understood. */
  criticalMembers: readonly string[]
  /** CAEP events on risk, device compliance and assurance. */
  onRisk: 'ignore' | 'revoke'
}

/** What replicas share, in Redis or Valkey. */
export interface StoreConfig {
  /** `redis://` or `rediss://`; exactly one of `url` and `urlFile` is there. */
  url: string | undefined
  urlFile: string | undefined
  username: string | undefined
  passwordFile: string | undefined
  tls: UpstreamTlsConfig | undefined
  /** Before every key. */
  prefix: string
  /** For one answer. */
  timeout: number
  /** Without contact: nobody is let in, or it goes on by what this replica knows. */
  onFailure: 'deny' | 'continue'
}

export interface Config {
  /** Names this process in audit records. */
  instance: string
  /** Processes that serve agents; 1: this one. */
  workers: number
  /** Longest rest, milliseconds; 0: none. */
  coalesceQos0: number
  listeners: readonly ListenerConfig[]
  upstream: UpstreamConfig
  issuers: readonly IssuerConfig[]
  token: {
    maxBytes: number
    /** Accept the token in the User Name too. */
    fromUsername: boolean
    /** Bearer methods of enhanced authentication. */
    methods: readonly string[]
    /** Topic Name that takes fresh tokens of clients that connected with a password; undefined: none. */
    topic: string | undefined
  }
  proof: {
    /** The draft whose proofs are taken; undefined: none. */
    dpop: 'draft-nandakumar-moq-generic-dpop-proof-00' | undefined
    /** Authentication Method by which tokens are challenged. */
    method: string
    /** For the answer to a challenge. */
    timeout: number
    /** How far `iat` of a proof may be from now. */
    window: number
    /** Method `ace` of RFC 9431. */
    ace: boolean
    /** Keys that `cnf.jwe` is decrypted with; undefined: symmetric keys are not taken. */
    aceKeysFile: string | undefined
    algorithms: readonly string[]
  }
  delegation: {
    /** User Property with the token of the human that a PUBLISH is for; undefined: none. */
    property: string | undefined
    /** Tokens kept in mind for each connection. */
    tokens: number
    /** Every PUBLISH names who it is from; otherwise only one that carried a token. */
    stamp: boolean
    /** User Properties that only Postern sets. */
    agentProperty: string
    humanProperty: string
    tenantProperty: string
  }
  clientId: {
    /** `exact`: equal to the agent id; `prefix`: agent id, or agent id + separator + suffix; `any`: not bound. */
    binding: 'exact' | 'prefix' | 'any'
    separator: string
  }
  policy: {
    file: string
    /** `required`: a delegated principal needs an allow of the user rules; `none`: that layer does not apply. */
    userLayer: 'required' | 'none'
  }
  denial: {
    publishQos0: 'drop' | 'disconnect'
    /** `drop`: swallowed and acknowledged to the broker; `disconnect`: DISCONNECT 0x87. */
    delivery: 'drop' | 'disconnect'
    /** Answer 0x80 in place of 0x87, so that topics cannot be probed. */
    hideTopics: boolean
    /** SUBSCRIBE above the rule's QoS: grant the lower one, or refuse. */
    qosAboveLimit: 'downgrade' | 'deny'
    /** A filter that overlaps a deny rule: refuse, or grant and filter the deliveries. */
    overlappingDeny: 'refuse' | 'filter'
  }
  sessions: {
    /** Delegated agents: `fresh` forces Clean Start 1 and Session Expiry 0; `resume` keeps what the client asked. */
    delegated: 'fresh' | 'resume'
    /** A PUBREL whose PUBLISH no connection of this process judged: PUBCOMP 0x92, or forwarded. */
    unknownRelease: 'refuse' | 'forward'
    /** Retained messages: as the agent asks, or at most as long as its token is good (RFC 9431). */
    retainedExpiry: 'keep' | 'token'
    /** SIGTERM: sessions get DISCONNECT 0x8B spread over this time. */
    drain: number
  }
  audit: {
    /** `-`: standard output. */
    file: string
    durability: 'async' | 'write-ahead'
    onFailure: 'deny' | 'continue'
    /** Records are on disk at the latest after this. */
    flushInterval: number
    /** Unwritten bytes above which the log stops accepting. */
    maxPending: number
    /** A record for every PUBLISH, or only for those that were not forwarded. */
    publishes: 'all' | 'denied'
    /** Whether records of like PUBLISH packets refer to one of them; `auto`: unless records are copied elsewhere. */
    records: 'auto' | 'short' | 'full'
    payloadDigest: 'sha256' | 'hmac' | 'none'
    /** How humans are named: as in the token, or by a keyed digest. */
    subjects: 'plain' | 'hmac'
    digestKeyFile: string | undefined
    segments: {
      maxBytes: number
      maxAge: number
      compression: 'zstd' | 'gzip' | 'none'
      /** Closed segments that are kept; 0: all. */
      keep: number
      /** 0: never removed for their age. */
      keepFor: number
    }
    repeats: {
      /** Identical actions per second and session with a record each; 0: all. */
      rate: number
      interval: number
    }
    checkpoints: {
      /** undefined: no checkpoints. */
      keyFile: string | undefined
      records: number
      interval: number
      stdout: boolean
      url: string | undefined
      topic: string | undefined
    }
    copies: {
      stdout: boolean
      otlp: string | undefined
      syslog: string | undefined
      topic: string | undefined
    }
  }
  /** undefined: what requires a grant is denied. */
  grants: GrantsConfig | undefined
  /** undefined: nobody can be revoked. */
  revocation:
    | {
        /** Where marks and disabled identities are kept. */
        file: string
        /** Bearer secret of `POST /revocations` on the admin listener; undefined: no such call. */
        secretFile: string | undefined
        /** JSON list of subjects that are kept out while they stand in it. */
        listFile: string | undefined
        /** Tokens issued up to this long after a revocation are refused too. */
        margin: number
        /** `suppress`: the broker gets DISCONNECT 0x00 with Session Expiry 0; `publish`: it sees the connection close. */
        will: 'suppress' | 'publish'
        events: readonly EventStreamConfig[]
      }
    | undefined
  /** undefined: this replica is alone. */
  store: StoreConfig | undefined
  admin: { address: Address } | undefined
  limits: {
    connections: number
    /** Connections that have not finished CONNECT. */
    unauthenticated: number
    /** From accept to complete CONNECT. */
    connectTimeout: number
    connectBytes: number
    publishHeadBytes: number
    controlPacketBytes: number
    packetBytes: number
    filtersPerPacket: number
    subscriptions: number
    userProperties: number
    topicAliases: number
    /** Failed tries per peer address, and per token subject, in the window; above: CONNACK 0x9F. */
    failedTries: number
    failedTriesWindow: number
    /** Whose failed tries count by address: `remote` spares loopback and Unix sockets, where all agents share one. */
    failedTriesFrom: 'remote' | 'any'
  }
  log: { level: 'debug' | 'info' | 'warn' | 'error' | 'silent' }
}
