// The collection for Postman and newman, made from the document: that comes on standard input, the collection goes to standard
// output. First a folder that goes through a whole life, request by request; then all operations, by tag. What one request
// gets, the next ones send: tokens and ids are kept in variables of the collection.

import { readFileSync } from 'node:fs'
import converter from 'openapi-to-postmanv2'

const document = readFileSync(0, 'utf8')

// Postman offers to replace the collection that it has under this id.
const ID = '6f1f2c0e-6a0b-4a53-9d0c-4c1f6f3b7a10'

// What a request keeps of its answer when it succeeds, by operation: a variable, and where its value is.
const PAIR = { accessToken: 'answer.access_token', refreshToken: 'answer.refresh_token' }
const KEPT = {
  signUp: PAIR,
  logIn: PAIR,
  refresh: PAIR,
  issueToken: PAIR,
  createItem: { itemId: 'answer.id', etag: "pm.response.headers.get('ETag')" },
  getItem: { etag: "pm.response.headers.get('ETag')" },
  listSessions: { sessionId: '(answer.items.find((session) => !session.current) || answer.items[0]).id' },
  createPersonalToken: { personalTokenId: 'answer.id', personalToken: 'answer.token' },
  createUser: { userId: 'answer.id' },
  createClient: { clientId: 'answer.client_id', clientSecret: 'answer.client_secret' },
}

// Whose id it is that stands in a path, by what the path begins with.
const IDS = { items: 'itemId', sessions: 'sessionId', users: 'userId', clients: 'clientId', user: 'personalTokenId' }

// Values of parameters. Where the document has none, the converter would make one up, each time another.
const VALUES = { 'If-Match': '{{etag}}', 'X-Latchkey-Request': '1' }

// What is sent in the place of examples, by operation. Everybody who signs up is somebody new.
const PERSON = { username: '{{username}}', password: '{{password}}' }
const SENT = {
  signUp: PERSON,
  logIn: PERSON,
  openSession: PERSON,
  refresh: { refresh_token: '{{refreshToken}}' },
  updateUser: { name: 'John Doe' },
  changePassword: { current_password: '{{password}}', new_password: '{{password}}' },
  requestEmail: { email: '{{username}}@example.com', password: '{{password}}' },
  forgotPassword: { email: '{{username}}@example.com' },
  resetPassword: { email: '{{username}}@example.com', code: '7H3KM-X9QTA', new_password: '{{password}}' },
  createUser: { username: 'jane-{{$guid}}', password: '{{password}}' },
  issueToken: { grant_type: 'refresh_token', refresh_token: '{{refreshToken}}', client_id: 'latchkey' },
  revokeToken: { token: '{{refreshToken}}', client_id: 'latchkey' },
  introspectToken: { token: '{{accessToken}}' },
}
const SOMEBODY_NEW = [
  "pm.collectionVariables.set('username', 'john-' + pm.variables.replaceIn('{{$guid}}'))",
  "pm.collectionVariables.set('password', pm.variables.replaceIn('{{$guid}}'))",
]

const VARIABLES = { baseUrl: 'http://127.0.0.1:8000', username: '', password: '', accessToken: '', refreshToken: '' }

// A whole life: what a step is called, its operation, its status, and where they matter
//   body: what is sent; query: parameters; headers: more of them; token: another one than that of the session;
//   code: that of a refusal; expects: what else must be true of the answer.
const LIFE = [
  ['Sign up', 'signUp', 201, { expects: ["answer.user.username === pm.collectionVariables.get('username')"] }],
  ['Sign in, as on a second device', 'logIn', 200],
  ['Who am I?', 'getUser', 200, { expects: ["answer.username === pm.collectionVariables.get('username')"] }],
  ['Create an item', 'createItem', 201],
  ['A wrong member is named', 'createItem', 400, {
    body: { nam: 'Book' },
    code: 'invalid_request',
    expects: ["answer.errors.some((flaw) => flaw.member === 'nam')"],
  }],
  ['Read it', 'getItem', 200, { expects: ["answer.id === pm.collectionVariables.get('itemId')"] }],
  ['Change it, as it was read', 'updateItem', 200, { headers: ['If-Match'], body: { name: 'A better book' } }],
  ['Change it by what was read before: nothing is lost', 'updateItem', 412, {
    headers: ['If-Match'],
    body: { name: 'Lost' },
    code: 'precondition_failed',
  }],
  ['Create another one', 'createItem', 201, { body: { name: 'Another book' } }],
  ['The first page', 'listItems', 200, {
    query: { limit: '1' },
    keeps: { next: 'answer.next' },
    expects: ['answer.items.length === 1', "answer.items[0].name === 'A better book'"],
  }],
  ['The next page, the last', 'listItems', 200, {
    query: { limit: '1', after: '{{next}}' },
    expects: ["answer.items[0].name === 'Another book'", 'answer.next === null'],
  }],
  ['Delete it', 'deleteItem', 204],
  ['It is gone', 'getItem', 404, { code: 'not_found' }],
  ['Refresh: the next pair', 'refresh', 200, {
    expects: [
      "answer.access_token !== pm.collectionVariables.get('accessToken')",
      "answer.refresh_token !== pm.collectionVariables.get('refreshToken')",
    ],
  }],
  ['It works', 'getDashboard', 200, { expects: ['answer.item_count === 1'] }],
  ['A token for a program', 'createPersonalToken', 201],
  ['The program reads items', 'listItems', 200, { token: 'personalToken' }],
  ['And no more than that', 'createItem', 403, { token: 'personalToken', code: 'insufficient_scope' }],
  ['Take it back', 'deletePersonalToken', 204],
  ['The program is refused', 'listItems', 401, { token: 'personalToken', code: 'token_revoked' }],
  ['My devices', 'listSessions', 200, { expects: ['answer.items.length === 2'] }],
  ['Sign the first device out', 'endSession', 204],
  ['Only this one is left', 'listSessions', 200, { expects: ['answer.items.length === 1', 'answer.items[0].current'] }],
  ['Sign out', 'logOut', 204],
  ['The access token is refused', 'listItems', 401, { code: 'token_revoked' }],
  ['The refresh token is refused', 'refresh', 401, { code: 'invalid_refresh_token' }],
  ['Sign in again', 'logIn', 200],
  ['A page signs in', 'openSession', 200],
  ['Its cookie is good', 'getSession', 200],
  ['The page signs out', 'closeSession', 204],
  ['Delete my account', 'deleteUser', 204],
  ['Nobody signs in any more', 'logIn', 401, { code: 'invalid_credentials' }],
]

function convert() {
  // What is optional is there, and not ticked; who is asking is said once, for all.
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
    const name = path.slice(1).replaceAll('{id}', ':id')
    return Object.entries(methods).map(([method, operation]) => [`${method.toUpperCase()} ${name}`, operation])
  }),
)

// An answer without a body has nothing to keep, and nothing to expect of.
const ANSWER = 'const answer = pm.response.text() ? pm.response.json() : {}'

const keep = ([name, value]) => `pm.collectionVariables.set('${name}', ${value})`
const kept = (id) =>
  KEPT[id] ? ['if (pm.response.code < 300) {', ...Object.entries(KEPT[id]).map((one) => `  ${keep(one)}`), '}'] : []

// Of what runs before and after a request Postman shows one script each.
function scripts(id, test) {
  const script = (listen, exec) => ({ listen, script: { type: 'text/javascript', exec } })
  const before = id === 'signUp' ? [script('prerequest', SOMEBODY_NEW)] : []
  return test.length ? [...before, script('test', [ANSWER, ...test])] : before
}

// A name here that is no operation's would be left out without a word.
for (const id of [...Object.keys(KEPT), ...Object.keys(SENT), ...LIFE.map(([, id]) => id)]) {
  if (!Object.values(operations).some((operation) => operation.operationId === id)) {
    throw new Error(`${id} is no operation of the document; mend the tables of postman.mjs`)
  }
}

function wire({ name, request: { method, url, header = [], body, description } }) {
  const { operationId: id, security, parameters = [] } = operations[`${method} ${url.path.join('/')}`]
  for (const variable of url.variable) {
    if (!IDS[url.path[0]]) throw new Error(`${url.path.join('/')}: say in IDS of postman.mjs whose id that is`)
    variable.value = `{{${IDS[url.path[0]]}}}`
  }
  for (const { name, schema } of parameters) {
    const field = [...url.query, ...header].find(({ key }) => key === name)
    if (field) field.value = VALUES[name] ?? String(schema.default ?? schema.enum?.[0] ?? '')
  }
  const request = { method, url, header, auth: auth(security), description: description.content }
  if (body?.mode) request.body = body
  if (SENT[id]) send(request, SENT[id])
  return { id, item: { name, event: scripts(id, kept(id)), request } }
}

// Who asks: whoever is signed in, as for all of the collection; a registered client; anybody.
function auth(security) {
  if (security.some((way) => 'session' in way)) return undefined
  if (!security.length || !security.every((way) => 'client' in way)) return { type: 'noauth' }
  const basic = { username: '{{clientId}}', password: '{{clientSecret}}' }
  return { type: 'basic', basic: Object.entries(basic).map(([key, value]) => ({ key, value, type: 'string' })) }
}

const bearer = (variable) => ({ type: 'bearer', bearer: [{ key: 'token', value: `{{${variable}}}`, type: 'string' }] })

function send(request, members) {
  if (request.body.mode === 'urlencoded') {
    request.body.urlencoded = Object.entries(members).map(([key, value]) => ({ key, value }))
  } else {
    request.body.raw = JSON.stringify(members, null, 2)
  }
}

function live([name, id, status, { body, query = {}, headers = [], token, keeps = {}, code, expects = [] } = {}]) {
  const { description, ...request } = structuredClone(reference[id].request)
  request.header = request.header.filter(({ key, disabled }) => !disabled || headers.includes(key))
  for (const field of request.header) delete field.disabled
  request.url.query = Object.entries(query).map(([key, value]) => ({ key, value }))
  if (body) send(request, body)
  if (token) request.auth = bearer(token)
  const told = code ? [`answer.code === '${code}'`, ...expects] : expects
  const test = [
    `pm.test('${status}', () => pm.response.to.have.status(${status}))`,
    ...told.map((what) => `pm.test(${JSON.stringify(what)}, () => pm.expect(${what}).to.be.true)`),
    ...Object.entries(keeps).map(keep),
    ...kept(id),
  ]
  return { name, event: scripts(id, test), request }
}

const { info, item } = await convert()
const folders = item.map(({ name, description, item }) => ({ name, description, item: item.map(wire) }))
const reference = Object.fromEntries(folders.flatMap(({ item }) => item).map(({ id, item }) => [id, item]))
const life = {
  name: 'A whole life',
  description: 'From sign-up to the end of the account, in this order; each request says what must come of it. Run the folder.',
  item: LIFE.map(live),
}
const description = `Set the variable \`baseUrl\` to the address of a gateway, and run the folder *${life.name}*. Or sign up (or in) first, and send
any other request: tokens and ids are kept. *Users* and *Clients* are for administrators.`
const collection = {
  info: { _postman_id: ID, name: info.name, schema: info.schema, description },
  auth: bearer('accessToken'),
  variable: Object.entries(VARIABLES).map(([key, value]) => ({ key, value })),
  item: [life, ...folders.map((folder) => ({ ...folder, item: folder.item.map(({ item }) => item) }))],
}
process.stdout.write(JSON.stringify(collection, null, 2) + '\n')
