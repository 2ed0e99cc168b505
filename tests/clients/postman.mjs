// Generates the Postman collection. It reads the OpenAPI document from standard input and writes
// the collection to standard output. The first folder is a walkthrough that newman runs; the other
// folders contain all operations, by tag. Requests store tokens and IDs in variables of the
// collection, and later requests use them.

import { readFileSync } from 'node:fs'
import converter from 'openapi-to-postmanv2'

const document = readFileSync(0, 'utf8')

// Postman offers to replace an imported collection with the same ID.
const ID = '6f1f2c0e-6a0b-4a53-9d0c-4c1f6f3b7a10'

// Values that a request stores after success, by operation: a variable, and the expression of its
// value.
const PAIR = { accessToken: 'body.access_token', refreshToken: 'body.refresh_token' }
const STORED = {
  signUp: PAIR,
  signIn: PAIR,
  refreshTokens: PAIR,
  issueToken: PAIR,
  createItem: { itemId: 'body.id', etag: "pm.response.headers.get('ETag')" },
  getItem: { etag: "pm.response.headers.get('ETag')" },
  listSessions: { sessionId: '(body.data.find((session) => !session.current) || body.data[0]).id' },
  createPersonalAccessToken: { personalAccessTokenId: 'body.id', personalAccessToken: 'body.token' },
  createUser: { userId: 'body.id' },
  createGroup: { groupName: 'body.name' },
  createApplication: { applicationId: 'body.id' },
  createOAuthClient: { clientId: 'body.client_id', clientSecret: 'body.client_secret' },
}

// The variable of an ID in a path, by the first segment of the path.
const IDS = { items: 'itemId', sessions: 'sessionId', users: 'userId', groups: 'groupName', applications: 'applicationId', clients: 'clientId', user: 'personalAccessTokenId' }

// Values of parameters. Without them, the converter invents a different value in each run.
const VALUES = { 'If-Match': '{{etag}}', 'X-Latchkey-Request': '1' }

// Bodies that replace the examples, by operation. Each run registers a new user.
const CREDENTIALS = { username: '{{username}}', password: '{{password}}' }
const BODIES = {
  signUp: CREDENTIALS,
  signIn: CREDENTIALS,
  createBrowserSession: CREDENTIALS,
  refreshTokens: { refresh_token: '{{refreshToken}}' },
  updateCurrentUser: { name: 'John Doe' },
  changePassword: { current_password: '{{password}}', new_password: '{{password}}' },
  requestEmailChange: { email: '{{username}}@example.com', password: '{{password}}' },
  requestPasswordReset: { email: '{{username}}@example.com' },
  resetPassword: { email: '{{username}}@example.com', code: '7H3KM-X9QTA', new_password: '{{password}}' },
  createUser: { username: 'jane-{{$guid}}', password: '{{password}}' },
  issueToken: { grant_type: 'refresh_token', refresh_token: '{{refreshToken}}', client_id: 'latchkey' },
  revokeToken: { token: '{{refreshToken}}', client_id: 'latchkey' },
  introspectToken: { token: '{{accessToken}}' },
}
const NEW_CREDENTIALS = [
  "pm.collectionVariables.set('username', 'john-' + pm.variables.replaceIn('{{$guid}}'))",
  "pm.collectionVariables.set('password', pm.variables.replaceIn('{{$guid}}'))",
]

const VARIABLES = { baseUrl: 'http://127.0.0.1:8000', username: '', password: '', accessToken: '', refreshToken: '' }

// The walkthrough: the name of a step, its operation, its status, and optionally
//   body: another body; query: query parameters; headers: optional headers to send; token: the
//   variable of another token; code: the expected error code; expects: further expressions that
//   must be true.
const WALKTHROUGH = [
  ['Sign up', 'signUp', 201, { expects: ["body.user.username === pm.collectionVariables.get('username')"] }],
  ['Sign in on a second device', 'signIn', 200],
  ['Get the current user', 'getCurrentUser', 200, {
    expects: ["body.username === pm.collectionVariables.get('username')"],
  }],
  ['Create an item', 'createItem', 201],
  ['Create an item with an unknown field', 'createItem', 400, {
    body: { nam: 'Book' },
    code: 'invalid_request',
    expects: ["body.errors.some((error) => error.field === 'nam')"],
  }],
  ['Get the item', 'getItem', 200, { expects: ["body.id === pm.collectionVariables.get('itemId')"] }],
  ['Update the item with its ETag', 'updateItem', 200, { headers: ['If-Match'], body: { name: 'A better book' } }],
  ['Update the item with an old ETag', 'updateItem', 412, {
    headers: ['If-Match'],
    body: { name: 'Lost' },
    code: 'precondition_failed',
  }],
  ['Create another item', 'createItem', 201, { body: { name: 'Another book' } }],
  ['List the first page', 'listItems', 200, {
    query: { limit: '1' },
    stores: { next: 'body.next' },
    expects: ['body.data.length === 1', "body.data[0].name === 'A better book'"],
  }],
  ['List the last page', 'listItems', 200, {
    query: { limit: '1', after: '{{next}}' },
    expects: ["body.data[0].name === 'Another book'", 'body.next === null'],
  }],
  ['Delete the item', 'deleteItem', 204],
  ['Get the deleted item', 'getItem', 404, { code: 'not_found' }],
  ['Refresh the tokens', 'refreshTokens', 200, {
    expects: [
      "body.access_token !== pm.collectionVariables.get('accessToken')",
      "body.refresh_token !== pm.collectionVariables.get('refreshToken')",
    ],
  }],
  ['Get the overview with the new access token', 'getDashboard', 200, { expects: ['body.item_count === 1'] }],
  ['Create a personal access token', 'createPersonalAccessToken', 201],
  ['List items with the personal access token', 'listItems', 200, { token: 'personalAccessToken' }],
  ['Create an item without the scope', 'createItem', 403, { token: 'personalAccessToken', code: 'insufficient_scope' }],
  ['Revoke the personal access token', 'revokePersonalAccessToken', 204],
  ['List items with the revoked token', 'listItems', 401, { token: 'personalAccessToken', code: 'token_revoked' }],
  ['List sessions', 'listSessions', 200, { expects: ['body.data.length === 2'] }],
  ['Revoke the first session', 'revokeSession', 204],
  ['List the remaining session', 'listSessions', 200, { expects: ['body.data.length === 1', 'body.data[0].current'] }],
  ['Sign out', 'signOut', 204],
  ['List items after sign-out', 'listItems', 401, { code: 'token_revoked' }],
  ['Refresh the tokens after sign-out', 'refreshTokens', 401, { code: 'invalid_refresh_token' }],
  ['Sign in again', 'signIn', 200],
  ['Create a browser session', 'createBrowserSession', 200],
  ['Get the browser session', 'getBrowserSession', 200],
  ['Delete the browser session', 'deleteBrowserSession', 204],
  ['Delete the current user', 'deleteCurrentUser', 204],
  ['Sign in as the deleted user', 'signIn', 401, { code: 'invalid_credentials' }],
]

function convert() {
  // Optional parameters are included and disabled. Requests inherit the authentication of the
  // collection.
  const options = {
    folderStrategy: 'Tags',
    parametersResolution: 'Example',
    enableOptionalParameters: false,
    alwaysInheritAuthentication: true,
  }
  return new Promise((done, failed) =>
    converter.convertV2({ type: 'string', data: document }, options, (error, { result, reason, output } = {}) =>
      result ? done(output[0].data) : failed(error ?? reason),
    ),
  )
}

// The operations of the document, by method and path as Postman writes it.
const operations = Object.fromEntries(
  Object.entries(JSON.parse(document).paths).flatMap(([path, methods]) => {
    const name = path.slice(1).replaceAll(/{(\w+)}/g, ':$1')
    return Object.entries(methods).map(([method, operation]) => [`${method.toUpperCase()} ${name}`, operation])
  }),
)

// A response without a body stores nothing.
const READ_BODY = 'const body = pm.response.text() ? pm.response.json() : {}'

const store = ([name, value]) => `pm.collectionVariables.set('${name}', ${value})`
const stores = (id) =>
  STORED[id] ? ['if (pm.response.code < 300) {', ...Object.entries(STORED[id]).map((one) => `  ${store(one)}`), '}'] : []

// Postman shows one script before and one script after a request.
function scripts(id, test) {
  const script = (listen, exec) => ({ listen, script: { type: 'text/javascript', exec } })
  const before = id === 'signUp' ? [script('prerequest', NEW_CREDENTIALS)] : []
  return test.length ? [...before, script('test', [READ_BODY, ...test])] : before
}

// Fails if a table contains an unknown operation.
for (const id of [...Object.keys(STORED), ...Object.keys(BODIES), ...WALKTHROUGH.map(([, id]) => id)]) {
  if (!Object.values(operations).some((operation) => operation.operationId === id)) {
    throw new Error(`${id} is not an operation of the document; fix the tables of postman.mjs`)
  }
}

function wire({ name, request: { method, url, header = [], body, description } }) {
  const { operationId: id, security, parameters = [] } = operations[`${method} ${url.path.join('/')}`]
  for (const variable of url.variable) {
    const resource = variable.key === 'session_id' ? 'sessions' : url.path[0]
    if (!IDS[resource]) throw new Error(`${url.path.join('/')}: add its variable to IDS of postman.mjs`)
    variable.value = `{{${IDS[resource]}}}`
  }
  for (const { name, schema } of parameters) {
    const field = [...url.query, ...header].find(({ key }) => key === name)
    if (field) field.value = VALUES[name] ?? String(schema.default ?? schema.enum?.[0] ?? '')
  }
  const request = { method, url, header, auth: auth(security), description: description.content }
  if (body?.mode) request.body = body
  if (BODIES[id]) setBody(request, BODIES[id])
  return { id, item: { name, event: scripts(id, stores(id)), request } }
}

// Authentication of a request: that of the collection, that of an OAuth client, or none.
function auth(security) {
  if (security.some((way) => 'password' in way)) return undefined
  if (!security.length || !security.every((way) => 'clientBasic' in way)) return { type: 'noauth' }
  const basic = { username: '{{clientId}}', password: '{{clientSecret}}' }
  return { type: 'basic', basic: Object.entries(basic).map(([key, value]) => ({ key, value, type: 'string' })) }
}

const bearer = (variable) => ({ type: 'bearer', bearer: [{ key: 'token', value: `{{${variable}}}`, type: 'string' }] })

function setBody(request, fields) {
  if (request.body.mode === 'urlencoded') {
    request.body.urlencoded = Object.entries(fields).map(([key, value]) => ({ key, value }))
  } else {
    request.body.raw = JSON.stringify(fields, null, 2)
  }
}

function step([name, id, status, { body, query = {}, headers = [], token, stores: values = {}, code, expects = [] } = {}]) {
  const { description, ...request } = structuredClone(reference[id].request)
  request.header = request.header.filter(({ key, disabled }) => !disabled || headers.includes(key))
  for (const field of request.header) delete field.disabled
  request.url.query = Object.entries(query).map(([key, value]) => ({ key, value }))
  if (body) setBody(request, body)
  if (token) request.auth = bearer(token)
  const conditions = code ? [`body.code === '${code}'`, ...expects] : expects
  const test = [
    `pm.test('${status}', () => pm.response.to.have.status(${status}))`,
    ...conditions.map((what) => `pm.test(${JSON.stringify(what)}, () => pm.expect(${what}).to.be.true)`),
    ...Object.entries(values).map(store),
    ...stores(id),
  ]
  return { name, event: scripts(id, test), request }
}

const { info, item } = await convert()
const folders = item.map(({ name, description, item }) => ({ name, description, item: item.map(wire) }))
const reference = Object.fromEntries(folders.flatMap(({ item }) => item).map(({ id, item }) => [id, item]))
const walkthrough = {
  name: 'Walkthrough',
  description: 'Every feature for users, from sign-up to deletion, in this order. Each request checks its response. Run the folder.',
  item: WALKTHROUGH.map(step),
}
const description = `Set the variable \`baseUrl\` to the URL of a server, and run the folder *${walkthrough.name}*. Or sign up or sign in first, and
send any other request: the collection stores tokens and IDs. *User administration* and *OAuth clients* require the \`admin\` role.`
const collection = {
  info: { _postman_id: ID, name: info.name, schema: info.schema, description },
  auth: bearer('accessToken'),
  variable: Object.entries(VARIABLES).map(([key, value]) => ({ key, value })),
  item: [walkthrough, ...folders.map((folder) => ({ ...folder, item: folder.item.map(({ item }) => item) }))],
}
process.stdout.write(JSON.stringify(collection, null, 2) + '\n')
