-- Takes jobs that are due off the lists of scheduled ones. A claim sees due jobs by itself; the lists
-- are only for counting.
--
-- KEYS[1] the shard
-- ARGV[1] the time
-- ARGV[2] how many at most
--
-- Gives how many there were.
local left = tonumber(ARGV[2])
for _, queue in ipairs(redis.call('HKEYS', key('queues'))) do
  local scheduled = key('scheduled', queue)
  local due = redis.call('ZRANGEBYLEX', scheduled, '-', '(' .. moment(now + 1), 'LIMIT', 0, left)
  if #due > 0 then redis.call('ZREM', scheduled, unpack(due)) end
  left = left - #due
end
return tonumber(ARGV[2]) - left
