#!lua
-- Bare Lua, for comparison: ends jobs whose fence still holds; status and body stay readable.
--
-- KEYS[1] statuses, KEYS[2] leases
-- ARGV[1] the fence, ARGV[2…] ids
--
-- Gives how many were ended.
local ids = {}
for at = 2, #ARGV do ids[at - 1] = ARGV[at] end
local held, statuses = {}, {}
for at, status in ipairs(redis.call('HMGET', KEYS[1], unpack(ids))) do
  if status == ARGV[1] then
    held[#held + 1] = ids[at]
    statuses[#statuses + 1] = ids[at]
    statuses[#statuses + 1] = 'completed'
  end
end
if #held == 0 then return 0 end
redis.call('HSET', KEYS[1], unpack(statuses))
redis.call('ZREM', KEYS[2], unpack(held))
return #held
