-- Sends the check to Latchkey, and sets the identity headers of the request. After any failure,
-- `txn.latchkey_status` is not 204, and haproxy.cfg denies the request.

-- A required role, scope, or group goes here: /auth/verify?role=admin, ?scope=items:read%20items:write, or
-- ?group=finance
-- For each check, HAProxy resolves the host with DNS, by the name servers of /etc/resolv.conf. It
-- doesn't read /etc/hosts. An IP address needs no query. haproxy.cfg describes several replicas.
local URL = "http://latchkey:8000/auth/verify"
-- In milliseconds.
local TIMEOUT = 2000

local IDENTITY = {
    "x-auth-user", "x-auth-username", "x-auth-name", "x-auth-email", "x-auth-email-verified", "x-auth-roles",
    "x-auth-groups", "x-auth-scope", "x-auth-session", "x-auth-assertion",
}

-- Headers for the decision: the credential, and those that distinguish a page of the application
-- from a page of another site. All values are forwarded in their order, also duplicates: the server
-- rejects duplicates.
local FORWARDED = {
    "authorization", "cookie", "origin", "upgrade", "sec-websocket-key", "sec-websocket-version", "x-request-id",
    "traceparent", "user-agent",
}

local function list(values)
    local copied, at = {}, 0
    -- HAProxy numbers them from 0.
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

-- The application never receives the session cookie, because it could act as the user with it.
local function strip_cookies(txn, fields)
    local kept = {}
    for _, field in ipairs(fields) do
        for pair in string.gmatch(field, "[^;]+") do
            local cookie = string.match(pair, "^%s*(.-)%s*$")
            local is_of_server = string.match(cookie, "^__Host%-latchkey[^=]*=") or string.match(cookie, "^__Secure%-latchkey[^=]*=")
            if cookie ~= "" and not is_of_server then kept[#kept + 1] = cookie end
        end
    end
    txn.http:req_del_header("cookie")
    if #kept > 0 then txn.http:req_set_header("cookie", table.concat(kept, "; ")) end
end

core.register_action("latchkey", { "http-req" }, function(txn)
    local original = txn.http:req_get_headers()
    local headers = {}
    for _, name in ipairs(FORWARDED) do
        local values = list(original[name])
        if #values > 0 then headers[name] = values end
    end
    -- From the original request. Without the method no cookie is accepted.
    headers["x-forwarded-method"] = { txn.f:method() }
    headers["x-forwarded-host"] = { first(original, "host") }
    headers["x-forwarded-proto"] = { txn:get_var("txn.scheme") }
    headers["x-forwarded-uri"] = { txn.f:pathq() }
    headers["x-forwarded-for"] = { txn.f:src() }

    local response = core.httpclient():get({ url = URL, headers = headers, timeout = TIMEOUT })
    if not response or not response.status then return end
    txn:set_var("txn.latchkey_status", response.status)
    txn:set_var("txn.latchkey_challenge", first(response.headers, "www-authenticate"))
    txn:set_var("txn.latchkey_body", response.body or "")
    if response.status ~= 204 then return end
    for _, name in ipairs(IDENTITY) do
        txn.http:req_set_header(name, first(response.headers, name))
    end
    strip_cookies(txn, list(original["cookie"]))
    local cookie = first(response.headers, "set-cookie")
    if cookie ~= "" then txn:set_var("txn.latchkey_cookie", cookie) end
end, 0)
