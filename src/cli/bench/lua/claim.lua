#!lua
-- Bare Lua, for comparison: takes jobs out, under leases and a fence, as many as the lane's limit has.
--
-- KEYS[1] bodies, KEYS[2] statuses, KEYS[3] the list of those that wait, KEYS[4] leases, KEYS[5] the
-- number of the last claim, KEYS[6] what was drawn on the limit in this window
-- ARGV[1] how many, ARGV[2] the end of the leases, ARGV[3] the limit, ARGV[4] its window (ms)
--
-- Gives {fence, ids, bodies}.
local drawn = tonumber(redis.call('GET', KEYS[6]) or 0)
local most = math.min(tonumber(ARGV[1]), tonumber(ARGV[3]) - drawn)
if most < 1 then return {} end
local ids = redis.call('LPOP', KEYS[3], most)
if not ids then return {} end
local fence = redis.call('INCR', KEYS[5])
local leases, statuses = {}, {}
for number, id in ipairs(ids) do
  leases[2 * number - 1], leases[2 * number] = ARGV[2], id
  statuses[2 * number - 1], statuses[2 * number] = id, fence
end
redis.call('ZADD', KEYS[4], unpack(leases))
redis.call('HSET', KEYS[2], unpack(statuses))
redis.call('INCRBY', KEYS[6], #ids)
if drawn == 0 then redis.call('PEXPIRE', KEYS[6], ARGV[4]) end
return { fence, ids, redis.call('HMGET', KEYS[1], unpack(ids)) }
