-- Reads finished jobs whose end is still to be told, those that ended first.
--
-- KEYS[1] the shard
-- ARGV[1] the time
-- ARGV[2] how many at most
--
-- Gives {time, job…}, each as script `job` gives it.
local reply = views_of(redis.call('ZRANGE', key('untold'), 0, tonumber(ARGV[2]) - 1))
table.insert(reply, 1, now)
return reply
