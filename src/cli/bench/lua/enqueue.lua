#!lua
-- Bare Lua, for comparison: takes jobs in.
--
-- KEYS[1] bodies, KEYS[2] statuses, KEYS[3] the list of those that wait
-- ARGV[1…] pairs of id and body
local statuses, ids = {}, {}
for at = 1, #ARGV, 2 do
  local id = ARGV[at]
  ids[#ids + 1] = id
  statuses[#statuses + 1] = id
  statuses[#statuses + 1] = 'q'
end
redis.call('HSET', KEYS[1], unpack(ARGV))
redis.call('HSET', KEYS[2], unpack(statuses))
redis.call('RPUSH', KEYS[3], unpack(ids))
return #ids
