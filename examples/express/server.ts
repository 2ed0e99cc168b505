// An Express application. Latchkey checks the access token of each request to a protected route.

import type { AddressInfo } from 'node:net'
import express, { type RequestHandler } from 'express'

const latchkeyUrl = process.env.AUTH_URL ?? 'http://127.0.0.1:8000'
const [host = '127.0.0.1', port = '9000'] = process.env.LISTEN?.split(':') ?? []
const timeoutMs = 2_000

/** The caller: a user or, if the route requires a scope, possibly an OAuth client. */
interface Identity {
  id: string
  /** Empty for an OAuth client, and for a user without a username. */
  username: string
}

type Locals = { identity: Identity }
type Guard = RequestHandler<object, unknown, unknown, object, Locals>

/** Creates a middleware that checks the caller, and the role or scope in the query. */
function requireUser(query: { role?: 'admin'; scope?: string } = {}): Guard {
  const url = new URL('/auth/verify', latchkeyUrl)
  Object.entries(query).forEach(([name, value]) => url.searchParams.set(name, value))
  return async (request, response, next) => {
    const check = await verify(url, request.headers.authorization)
    const id = check?.headers.get('x-auth-user')
    if (check?.status === 204 && id) {
      response.locals.identity = { id, username: check.headers.get('x-auth-username') ?? '' }
      next()
      return
    }
    for (const name of ['www-authenticate', 'retry-after']) {
      const value = check?.headers.get(name)
      if (value) response.set(name, value)
    }
    // 401 and 403 are about the caller. Every other response denies the request as well.
    response.sendStatus(check?.status === 401 || check?.status === 403 ? check.status : 503)
  }
}

/** Sends a check. Returns undefined if there is no response. `fetch` reuses connections. */
async function verify(url: URL, authorization?: string): Promise<Response | undefined> {
  try {
    const response = await fetch(url, {
      headers: authorization === undefined ? {} : { authorization },
      redirect: 'error',
      signal: AbortSignal.timeout(timeoutMs),
    })
    // Reads the body, because otherwise the connection can't be reused.
    await response.arrayBuffer()
    if (![204, 401, 403].includes(response.status)) console.error('check failed:', response.status)
    return response
  } catch (error) {
    console.error('check failed:', error)
    return undefined
  }
}

const app = express()

app.get('/me', requireUser(), (_request, response) => {
  response.json(response.locals.identity)
})

app.get('/items', requireUser({ scope: 'items:read' }), (_request, response) => {
  response.json(['Book', 'Lamp'])
})

app.get('/admin', requireUser({ role: 'admin' }), (_request, response) => {
  response.json(response.locals.identity)
})

const server = app.listen(Number(port), host, (error) => {
  if (error) throw error
  const { address, port } = server.address() as AddressInfo
  console.log(`listening on http://${address}:${port}`)
})
