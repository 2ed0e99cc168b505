-- Sends the requests of a file in order, at the same cost in wrk for each request.
-- Arguments:
-- 1. The file. A line with the length in bytes precedes each request.
-- 2. `again` to restart at the end of the file, or `once` if no request can be sent twice.
-- 3. Milliseconds between a response and the next request (optional).
-- After the run, the script writes one line of JSON to standard error. Times are in microseconds.

local requests, position, send_once, threads = {}, 0, false, {}

-- `done` reads this variable of each thread. Numbers can be passed between threads.
exhausted = 0

function setup(thread)
  table.insert(threads, thread)
end

function init(args)
  local file = assert(io.open(args[1], 'rb'))
  send_once = args[2] == 'once'
  local delay_ms = tonumber(args[3] or 0)
  if delay_ms > 0 then
    -- wrk calls `delay` only if it is defined.
    delay = function() return delay_ms end
  end
  for length in function() return file:read('*l') end do
    requests[#requests + 1] = file:read(tonumber(length))
  end
  file:close()
end

-- wrk calls this function once before the run to inspect the request, so the first request is returned twice.
function request()
  local index = position
  position = position + 1
  if index == 0 then
    return requests[1]
  end
  if index > #requests then
    if send_once then
      exhausted = 1
      return requests[#requests]
    end
    position, index = 2, 1
  end
  return requests[index]
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
