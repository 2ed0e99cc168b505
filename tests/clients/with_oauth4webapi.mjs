// Uses the server with oauth4webapi, an independent and strict library. Reads the fixture as JSON
// from standard input, and prints each completed step.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import * as oauth from 'oauth4webapi'

const fixture = JSON.parse(readFileSync(0, 'utf8'))
// The server of the test has an `http` URL on the loopback interface.
const options = { [oauth.allowInsecureRequests]: true }

const issuer = new URL(fixture.issuer)
const discovered = await oauth.discoveryRequest(issuer, { algorithm: 'oauth2', ...options })
const server = await oauth.processDiscoveryResponse(issuer, discovered)
console.log('metadata')

const userClient = { client_id: 'latchkey' }
const service = { client_id: fixture.client_id }
const authentications = [oauth.ClientSecretBasic(fixture.client_secret), oauth.ClientSecretPost(fixture.client_secret)]

const refresh = async (token, parameters) => {
  const response = await oauth.refreshTokenGrantRequest(server, userClient, oauth.None(), token, {
    additionalParameters: parameters,
    ...options,
  })
  return oauth.processRefreshTokenResponse(server, userClient, response)
}

const first = await refresh(fixture.refresh_token, {})
assert.notEqual(first.refresh_token, fixture.refresh_token)
const pair = await refresh(first.refresh_token, { scope: 'items:read' })
assert.equal(pair.scope, 'items:read')
console.log('refresh')

await assert.rejects(refresh(pair.refresh_token, { scope: 'admin' }), { error: 'invalid_scope', status: 400 })
console.log('wider scope')

const grant = async (authentication) => {
  const response = await oauth.clientCredentialsGrantRequest(server, service, authentication, {}, options)
  return oauth.processClientCredentialsResponse(server, service, response)
}

const tokens = []
for (const authentication of authentications) {
  const granted = await grant(authentication)
  assert.equal(granted.scope, 'items:read')
  assert.equal(granted.refresh_token, undefined)
  tokens.push(granted.access_token)
}
console.log('client credentials')

// With Basic, the library evaluates the challenge; with a form, the error.
await assert.rejects(grant(oauth.ClientSecretBasic('wrong')), (error) => error.cause[0].scheme === 'basic')
await assert.rejects(grant(oauth.ClientSecretPost('wrong')), { status: 401 })
console.log('wrong secret')

const introspect = async (authentication, token) => {
  const response = await oauth.introspectionRequest(server, service, authentication, token, options)
  return oauth.processIntrospectionResponse(server, service, response)
}

for (const authentication of authentications) {
  const claims = await introspect(authentication, pair.access_token)
  assert.ok(claims.active && claims.scope === 'items:read' && claims.iss === fixture.issuer && claims.sub === fixture.sub)
  assert.equal((await introspect(authentication, tokens[0])).client_id, fixture.client_id)
  assert.ok((await introspect(authentication, fixture.personal_token)).active)
  assert.deepEqual(await introspect(authentication, pair.refresh_token), { active: false })
}
console.log('introspection')

const validate = (token, audience = fixture.audience) => {
  const request = new Request('https://api.example.com', { headers: { authorization: `Bearer ${token}` } })
  return oauth.validateJwtAccessToken(server, request, audience, options)
}

for (const token of [pair.access_token, fixture.cookie]) {
  assert.equal((await validate(token)).sub, fixture.sub)
}
assert.equal((await validate(tokens[0])).client_id, fixture.client_id)
await assert.rejects(validate(tokens[0], 'https://other.example.com'))
console.log('keys')

const revoke = async (client, authentication, token, hint) => {
  const additionalParameters = hint ? { token_type_hint: hint } : {}
  const response = await oauth.revocationRequest(server, client, authentication, token, { additionalParameters, ...options })
  await oauth.processRevocationResponse(response)
}

await revoke(service, authentications[0], tokens[0], 'access_token')
await revoke(service, authentications[1], tokens[1], 'refresh_token')
await revoke(userClient, oauth.None(), pair.refresh_token, 'refresh_token')
await revoke(userClient, oauth.None(), fixture.personal_token)
for (const token of [...tokens, pair.access_token, fixture.personal_token]) {
  assert.deepEqual(await introspect(authentications[0], token), { active: false })
}
console.log('revocation')
