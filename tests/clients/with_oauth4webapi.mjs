// oauth4webapi, an independent and strict library, uses the server. The fixture comes on standard input, as JSON; each
// completed step is printed.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import * as oauth from 'oauth4webapi'

const scene = JSON.parse(readFileSync(0, 'utf8'))
// The socket of the test is on this machine.
const options = { [oauth.allowInsecureRequests]: true }

const issuer = new URL(scene.issuer)
const discovered = await oauth.discoveryRequest(issuer, { algorithm: 'oauth2', ...options })
const server = await oauth.processDiscoveryResponse(issuer, discovered)
console.log('metadata')

const people = { client_id: 'latchkey' }
const service = { client_id: scene.client_id }
const proofs = [oauth.ClientSecretBasic(scene.client_secret), oauth.ClientSecretPost(scene.client_secret)]

const refresh = async (token, parameters) => {
  const answer = await oauth.refreshTokenGrantRequest(server, people, oauth.None(), token, {
    additionalParameters: parameters,
    ...options,
  })
  return oauth.processRefreshTokenResponse(server, people, answer)
}

const first = await refresh(scene.refresh_token, {})
assert.notEqual(first.refresh_token, scene.refresh_token)
const pair = await refresh(first.refresh_token, { scope: 'items:read' })
assert.equal(pair.scope, 'items:read')
console.log('refresh')

await assert.rejects(refresh(pair.refresh_token, { scope: 'admin' }), { error: 'invalid_scope', status: 400 })
console.log('no growth')

const grant = async (proof) => {
  const answer = await oauth.clientCredentialsGrantRequest(server, service, proof, {}, options)
  return oauth.processClientCredentialsResponse(server, service, answer)
}

const tokens = []
for (const proof of proofs) {
  const granted = await grant(proof)
  assert.equal(granted.scope, 'items:read')
  assert.equal(granted.refresh_token, undefined)
  tokens.push(granted.access_token)
}
console.log('client credentials')

// By Basic it looks at the challenge, by form at the error.
await assert.rejects(grant(oauth.ClientSecretBasic('wrong')), (error) => error.cause[0].scheme === 'basic')
await assert.rejects(grant(oauth.ClientSecretPost('wrong')), { status: 401 })
console.log('wrong secret')

const introspect = async (proof, token) => {
  const answer = await oauth.introspectionRequest(server, service, proof, token, options)
  return oauth.processIntrospectionResponse(server, service, answer)
}

for (const proof of proofs) {
  const seen = await introspect(proof, pair.access_token)
  assert.ok(seen.active && seen.scope === 'items:read' && seen.iss === scene.issuer && seen.sub === scene.sub)
  assert.equal((await introspect(proof, tokens[0])).client_id, scene.client_id)
  assert.ok((await introspect(proof, scene.personal_token)).active)
  assert.deepEqual(await introspect(proof, pair.refresh_token), { active: false })
}
console.log('introspection')

const validate = (token, audience = scene.audience) => {
  const request = new Request('https://api.example.com', { headers: { authorization: `Bearer ${token}` } })
  return oauth.validateJwtAccessToken(server, request, audience, options)
}

for (const token of [pair.access_token, scene.cookie]) {
  assert.equal((await validate(token)).sub, scene.sub)
}
assert.equal((await validate(tokens[0])).client_id, scene.client_id)
await assert.rejects(validate(tokens[0], 'https://other.example.com'))
console.log('keys')

const revoke = async (client, proof, token, hint) => {
  const additionalParameters = hint ? { token_type_hint: hint } : {}
  const answer = await oauth.revocationRequest(server, client, proof, token, { additionalParameters, ...options })
  await oauth.processRevocationResponse(answer)
}

await revoke(service, proofs[0], tokens[0], 'access_token')
await revoke(service, proofs[1], tokens[1], 'refresh_token')
await revoke(people, oauth.None(), pair.refresh_token, 'refresh_token')
await revoke(people, oauth.None(), scene.personal_token)
for (const token of [...tokens, pair.access_token, scene.personal_token]) {
  assert.deepEqual(await introspect(proofs[0], token), { active: false })
}
console.log('revocation')
