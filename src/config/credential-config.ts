// Where Postern gets the token of agents that bring none: `listeners[].credentialSource`, with every default filled in.

/** One of `tokenFile` and `tokenEndpoint`. */
export interface CredentialSourceConfig {
  tokenFile: string | undefined
  tokenEndpoint: TokenEndpointConfig | undefined
  allowRemote: boolean
}

export interface TokenEndpointConfig {
  url: string
  grant: 'jwt-bearer' | 'client_credentials'
  /** With `jwt-bearer`. */
  assertionFile: string | undefined
  clientId: string
  /** One of these. */
  clientSecretFile: string | undefined
  clientKeyFile: string | undefined
  /** With `clientKeyFile`. */
  audience: string | undefined
  scope: string | undefined
  resource: string | undefined
  caFile: string | undefined
  timeout: number
}
