// What the server says of itself at `/.well-known/oauth-authorization-server`. RFC 8414; the member for ID-JAG is of
// draft-ietf-oauth-identity-assertion-authz-grant-05.

import type { StsConfig } from '../config/sts-config.ts'
import { CLIENT_AUTH_METHODS } from './client-auth.ts'
import { JWT_BEARER } from './token-endpoint.ts'

export const PATHS = {
  token: '/token',
  jwks: '/.well-known/jwks.json',
  metadata: '/.well-known/oauth-authorization-server',
} as const

export function metadataOf(config: StsConfig): Record<string, unknown> {
  const algorithms = new Set(config.clients.flatMap(({ jwks, algorithms }) => (jwks ? algorithms : [])))
  return {
    issuer: config.issuer,
    token_endpoint: `${config.issuer}${PATHS.token}`,
    jwks_uri: `${config.issuer}${PATHS.jwks}`,
    grant_types_supported: [JWT_BEARER],
    authorization_grant_profiles_supported: ['urn:ietf:params:oauth:grant-profile:id-jag'],
    // There is no authorization endpoint.
    response_types_supported: [],
    token_endpoint_auth_methods_supported: CLIENT_AUTH_METHODS,
    token_endpoint_auth_signing_alg_values_supported: [...algorithms],
    scopes_supported: Object.keys(config.scopes),
  }
}
