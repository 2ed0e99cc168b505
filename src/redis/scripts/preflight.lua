-- Examines the server, as the first script on each connection. It runs by EVAL, because another script might be denied.
-- KEYS: 1 a key of the revocation log
-- ARGV: 1 required commands on keys, 2 other required commands, both separated by commas: before authentication, Redis
--   rejects a command with more than ten arguments, without a useful error
-- Returns {replication, server, memory, denied commands}, the first three as the text of INFO. If INFO can't run in
-- scripts, {false, error}.
assert(#KEYS == 1 and #ARGV == 2)
local function info(section)
  local text = redis.pcall('INFO', section)
  return type(text) == 'string' and text or nil, text
end

local replication, failure = info('replication')
if not replication then
  return { false, failure.err or failure }
end
local denied = {}
local function examine(commands, key)
  for command in string.gmatch(commands, '[^,]+') do
    local words = {}
    for word in string.gmatch(command, '%S+') do
      table.insert(words, word)
    end
    -- Enough arguments for each command. Some accept several keys.
    for _ = 1, 3 do
      table.insert(words, key or '0')
    end
    if not redis.acl_check_cmd(unpack(words)) then
      table.insert(denied, command)
    end
  end
end
-- Exists since Redis 7.0.
if redis.acl_check_cmd then
  examine(ARGV[1], KEYS[1])
  examine(ARGV[2])
end
return { replication, info('server') or '', info('memory') or '', denied }
