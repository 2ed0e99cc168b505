// Example for a client of openapi-typescript and openapi-fetch: from sign-up to sign-out. The
// argument is the URL of a server; each completed step is printed. docs/how-to/generate-client.md
// describes how to generate the types.

import createClient, { type Middleware } from 'openapi-fetch'
import type { components, paths } from './latchkey.d.ts'

type Item = components['schemas']['Item']
type ErrorResponse = components['schemas']['ErrorResponse']
type TokenPair = components['schemas']['TokenPair']

const url = process.argv[2]!
const username = `john-${crypto.randomUUID()}`
const password = crypto.randomUUID()

/** A client that sends the current access token of the pair. */
function withToken(tokens: TokenPair) {
  const authorize: Middleware = {
    onRequest({ request }) {
      request.headers.set('authorization', `Bearer ${tokens.access_token}`)
    },
  }
  const client = createClient<paths>({ baseUrl: url })
  client.use(authorize)
  return client
}

/** Returns the data of a request that must succeed. */
function success<Data>(result: { data?: Data; error?: ErrorResponse; response: Response }): Data {
  if (result.error) throw new Error(`${result.error.status} ${result.error.code}: ${result.error.detail}`)
  return result.data!
}

/** Every error has a code from a closed list, which the compiler checks. */
function expectError(result: { error?: ErrorResponse }, code: ErrorResponse['code']) {
  assert(result.error?.code === code, `expected ${code}, got ${result.error?.code}`)
}

function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new Error(message)
}

const publicClient = createClient<paths>({ baseUrl: url })
const { user } = success(await publicClient.POST('/signup', { body: { username, password } }))
assert(user.username === username && user.role === 'user', 'unexpected user')
console.log('sign up')

const signIn = async () => success(await publicClient.POST('/login', { body: { username, password } }))
const tokens = await signIn()
const client = withToken(tokens)
expectError(await publicClient.POST('/login', { body: { username, password: 'wrong' } }), 'invalid_credentials')
console.log('sign in')

const names = ['Book', 'Lamp', 'Chair', 'Table', 'Clock']
for (const name of names) {
  success(await client.POST('/items', { body: { name } }))
}
const items: Item[] = []
let after: string | undefined
do {
  const page = success(await client.GET('/items', { params: { query: after ? { limit: 2, after } : { limit: 2 } } }))
  items.push(...page.data)
  after = page.next ?? undefined
} while (after)
assert(items.map((item) => item.name).join() === names.join(), 'expected all items, oldest first')
console.log('pages')

// The second update uses an ETag that the first update has replaced.
const path = { id: items[0]!.id }
const read = await client.GET('/items/{id}', { params: { path } })
const header = { 'If-Match': read.response.headers.get('etag')! }
success(await client.PATCH('/items/{id}', { params: { path, header }, body: { name: 'A better book' } }))
const lost = await client.PATCH('/items/{id}', { params: { path, header }, body: { name: 'Lost' } })
expectError(lost, 'precondition_failed')
assert(success(await client.GET('/items/{id}', { params: { path } })).name === 'A better book', 'unexpected name')
console.log('lost update')

// A refresh token works once. Store the new one.
Object.assign(tokens, success(await publicClient.POST('/refresh', { body: { refresh_token: tokens.refresh_token } })))
assert(success(await client.GET('/user')).username === username, 'unexpected user')
console.log('refresh')

const phone = withToken(await signIn())
const { data: sessions } = success(await client.GET('/sessions'))
assert(sessions.length === 3, 'expected one session of the sign-up and two of the sign-ins')
for (const session of sessions.filter((session) => !session.current)) {
  success(await client.DELETE('/sessions/{id}', { params: { path: { id: session.id } } }))
}
expectError(await phone.GET('/user'), 'token_revoked')
console.log('sessions')

success(await client.POST('/logout'))
expectError(await client.GET('/user'), 'token_revoked')
console.log('sign out')
