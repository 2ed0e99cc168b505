-- Examines the server, as the first script on each connection. It runs by EVAL, because another script might be denied.
-- KEYS: 1 a key in the slot of the revocation log
-- ARGV: 1 required commands with arguments, in which {} stands for the key, separated by commas. Before authentication,
--   Redis rejects a command with more than ten arguments, without a useful error
-- Returns {replication, server, memory, denied commands}, the first three as the text of INFO. If INFO can't run in
-- scripts, {false, error}.
assert(#KEYS == 1 and #ARGV == 1)
local function info(section)
  local text = redis.pcall('INFO', section)
  return type(text) == 'string' and text or nil, text
end

local replication, failure = info('replication')
if not replication then
  return { false, failure.err or failure }
end
local denied = {}
-- Exists since Redis 7.0.
if redis.acl_check_cmd then
  for command in string.gmatch(ARGV[1], '[^,]+') do
    local words = {}
    for word in string.gmatch(command, '%S+') do
      table.insert(words, word == '{}' and KEYS[1] or word)
    end
    -- It fails if the server lacks the command. Then the script that calls it reports that.
    local is_known, is_allowed = pcall(redis.acl_check_cmd, unpack(words))
    if is_known and not is_allowed then
      table.insert(denied, command)
    end
  end
end
return { replication, info('server') or '', info('memory') or '', denied }
