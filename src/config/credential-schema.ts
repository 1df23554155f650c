// The keys under `listeners[].credentialSource`: where Postern gets the token of agents that bring none.
import { choice, duration, flag, section, text } from './schema-fields.ts'

export const credentialSourceSchema = section({
  tokenFile: text('a path')
    .optional()
    .describe('The token in a file that another process keeps fresh; read again when it changes.'),
  tokenEndpoint: section({
    url: text('the address of the token endpoint').describe(
      'Asked by HTTPS, such as that of `postern sts`; plain HTTP only on loopback.',
    ),
    grant: choice(['jwt-bearer', 'client_credentials'])
      .prefault('jwt-bearer')
      .describe('`jwt-bearer` with an assertion such as an ID-JAG (RFC 7523), or `client_credentials`.'),
    assertionFile: text('a path')
      .optional()
      .describe('The assertion for `jwt-bearer`; read at every request, and asked anew when it changes.'),
    clientId: text('a client id').describe('`client_id` at the token endpoint.'),
    clientSecretFile: text('a path').optional().describe('Secret of that client (`client_secret_basic`).'),
    clientKeyFile: text('a path')
      .optional()
      .describe('Private key of that client, a JWK or a set of which the first counts (`private_key_jwt`).'),
    audience: text('the issuer identifier of the token endpoint')
      .optional()
      .describe('Issuer identifier of the token endpoint; with `clientKeyFile`, as `aud` of what it signs.'),
    scope: text('scopes').optional().describe('`scope` to ask for.'),
    resource: text('a resource').optional().describe('`resource` to ask for (RFC 8707).'),
    caFile: text('a path')
      .optional()
      .describe('Authorities that may vouch for the endpoint, PEM. Absent: those that Node.js knows.'),
    timeout: duration('10s', '10ms', '5m').describe('One request, redirects refused.'),
  })
    .optional()
    .describe('A token endpoint, asked anew when two thirds of the token’s time are over.'),
  allowRemote: flag(false).describe(
    'Let the listener be on another address than loopback: everybody who reaches it then acts as the agent.',
  ),
})
  .optional()
  .describe('Where the token comes from with `credentials: broker`: `tokenFile` or `tokenEndpoint`.')
