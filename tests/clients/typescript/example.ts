// A client from openapi-typescript and openapi-fetch: an account's whole life. The address of a gateway is its argument;
// each step that was completed is told on standard output. How the client is made: README.md, "Generate a client".

import createClient, { type Middleware } from 'openapi-fetch'
import type { components, paths } from './latchkey.d.ts'

type Item = components['schemas']['Item']
type Problem = components['schemas']['Problem']
type TokenPair = components['schemas']['TokenPair']

const address = process.argv[2]!
const username = `john-${crypto.randomUUID()}`
const password = crypto.randomUUID()

/** A client that sends the access token of this pair; of the next one, once that was put into its place. */
function signedIn(pair: TokenPair) {
  const authorize: Middleware = {
    onRequest({ request }) {
      request.headers.set('authorization', `Bearer ${pair.access_token}`)
    },
  }
  const client = createClient<paths>({ baseUrl: address })
  client.use(authorize)
  return client
}

/** What was answered, where nothing may go wrong. */
function good<Data>(answer: { data?: Data; error?: Problem; response: Response }): Data {
  if (answer.error) throw new Error(`${answer.error.status} ${answer.error.code}: ${answer.error.detail}`)
  return answer.data!
}

/** Each refusal is a problem with a code of a closed list, which the compiler knows. */
function refused(answer: { error?: Problem }, code: Problem['code']) {
  assert(answer.error?.code === code, `${code} was expected, not ${answer.error?.code}`)
}

function assert(holds: boolean, what: string): asserts holds {
  if (!holds) throw new Error(what)
}

const anybody = createClient<paths>({ baseUrl: address })
const { user } = good(await anybody.POST('/signup', { body: { username, password } }))
assert(user.username === username && user.role === 'user', 'an account of that name')
console.log('sign up')

const signIn = async () => good(await anybody.POST('/login', { body: { username, password } }))
const pair = await signIn()
const client = signedIn(pair)
refused(await anybody.POST('/login', { body: { username, password: 'wrong' } }), 'invalid_credentials')
console.log('sign in')

const names = ['Book', 'Lamp', 'Chair', 'Table', 'Clock']
for (const name of names) {
  good(await client.POST('/items', { body: { name } }))
}
const items: Item[] = []
let after: string | undefined
do {
  const page = good(await client.GET('/items', { params: { query: after ? { limit: 2, after } : { limit: 2 } } }))
  items.push(...page.items)
  after = page.next ?? undefined
} while (after)
assert(items.map((item) => item.name).join() === names.join(), 'all items, the oldest first')
console.log('pages')

// Two people change what both have read: the second one is told.
const path = { id: items[0]!.id }
const read = await client.GET('/items/{id}', { params: { path } })
const header = { 'If-Match': read.response.headers.get('etag')! }
good(await client.PATCH('/items/{id}', { params: { path, header }, body: { name: 'A better book' } }))
const lost = await client.PATCH('/items/{id}', { params: { path, header }, body: { name: 'Lost' } })
refused(lost, 'precondition_failed')
assert(good(await client.GET('/items/{id}', { params: { path } })).name === 'A better book', 'the first change')
console.log('lost update')

// Once: whoever comes with it again later has stolen it.
Object.assign(pair, good(await anybody.POST('/refresh', { body: { refresh_token: pair.refresh_token } })))
assert(good(await client.GET('/user')).username === username, 'the new access token')
console.log('refresh')

const phone = signedIn(await signIn())
const { items: devices } = good(await client.GET('/sessions'))
assert(devices.length === 3, 'of the sign-up, and two of the sign-in')
for (const device of devices.filter((device) => !device.current)) {
  good(await client.DELETE('/sessions/{id}', { params: { path: { id: device.id } } }))
}
refused(await phone.GET('/user'), 'token_revoked')
console.log('devices')

good(await client.POST('/logout'))
refused(await client.GET('/user'), 'token_revoked')
console.log('sign out')
