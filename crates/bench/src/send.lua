-- Sends the requests of a file in their order, whatever they are, and costs wrk the same for each.
-- Arguments: 1 the file: each request behind a line with its length in bytes; 2 `again` to begin anew at its end, or
-- `once` where none may be sent twice; 3 milliseconds between an answer and the next request, if there are to be any.
-- Writes one line of JSON to standard error when it is over; times are in microseconds.

local requests, at, once, threads = {}, 0, false, {}

-- Read by `done` across threads, which takes numbers.
exhausted = 0

function setup(thread)
  table.insert(threads, thread)
end

function init(args)
  local file = assert(io.open(args[1], 'rb'))
  once = args[2] == 'once'
  local pause = tonumber(args[3] or 0)
  if pause > 0 then
    -- wrk asks for it where it is there.
    delay = function() return pause end
  end
  for length in function() return file:read('*l') end do
    requests[#requests + 1] = file:read(tonumber(length))
  end
  file:close()
end

-- The first call is wrk's own look at what is sent: that request is given again.
function request()
  local now = at
  at = at + 1
  if now == 0 then
    return requests[1]
  end
  if now > #requests then
    if once then
      exhausted = 1
      return requests[#requests]
    end
    at, now = 2, 1
  end
  return requests[now]
end

function done(summary, latency)
  local ran_out = 0
  for _, thread in ipairs(threads) do
    ran_out = ran_out + thread:get('exhausted')
  end
  local errors = summary.errors
  io.stderr:write(string.format(
    '{"requests":%d,"duration":%d,"p50":%d,"p99":%d,"refused":%d,"broken":%d,"exhausted":%d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), errors.status,
    errors.connect + errors.read + errors.write + errors.timeout, ran_out))
end
