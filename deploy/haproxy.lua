-- Asks Latchkey whether a request may pass, and puts the identity into it. Whatever goes wrong, `txn.latchkey_status` is
-- not 204 then, and haproxy.cfg refuses.

-- A demand goes here: /auth/verify?role=admin, or ?scope=items:read%20items:write
local URL = "http://gateway:8000/auth/verify"
-- In milliseconds.
local TIMEOUT = 2000

local IDENTITY = {
    "x-auth-user", "x-auth-username", "x-auth-name", "x-auth-email", "x-auth-email-verified", "x-auth-roles",
    "x-auth-scope", "x-auth-session", "x-auth-assertion",
}

-- What decides: the credential, and what tells a page of the application from one of another site. All of them, in their
-- order and as often as they are there: the gateway refuses what is there twice.
local PASSED = {
    "authorization", "cookie", "origin", "upgrade", "sec-websocket-key", "sec-websocket-version", "x-request-id",
    "traceparent", "user-agent",
}

local function list(values)
    local copied, at = {}, 0
    -- HAProxy counts them from 0.
    while values and values[at] do
        copied[at + 1] = values[at]
        at = at + 1
    end
    return copied
end

local function first(headers, name)
    local values = headers and headers[name]
    return values and (values[0] or values[1]) or ""
end

core.register_action("latchkey", { "http-req" }, function(txn)
    local given = txn.http:req_get_headers()
    local asked = {}
    for _, name in ipairs(PASSED) do
        local values = list(given[name])
        if #values > 0 then asked[name] = values end
    end
    -- Of the original request. Without the method no cookie passes.
    asked["x-forwarded-method"] = { txn.f:method() }
    asked["x-forwarded-host"] = { first(given, "host") }
    asked["x-forwarded-proto"] = { txn:get_var("txn.scheme") }
    asked["x-forwarded-for"] = { txn.f:src() }

    local answer = core.httpclient():get({ url = URL, headers = asked, timeout = TIMEOUT })
    if not answer or not answer.status then return end
    txn:set_var("txn.latchkey_status", answer.status)
    txn:set_var("txn.latchkey_challenge", first(answer.headers, "www-authenticate"))
    txn:set_var("txn.latchkey_body", answer.body or "")
    if answer.status ~= 204 then return end
    for _, name in ipairs(IDENTITY) do
        txn.http:req_set_header(name, first(answer.headers, name))
    end
    local cookie = first(answer.headers, "set-cookie")
    if cookie ~= "" then txn:set_var("txn.latchkey_cookie", cookie) end
end, 0)
