-- Reads a page of jobs, newest first.
--
-- KEYS[1] the shard
-- ARGV[1] the time
-- ARGV[2] the id before which to begin; empty: from the newest
-- ARGV[3] how many at most
--
-- Gives {time, job…}, each as script `job` gives it.
local from = ARGV[2] == '' and '+' or '(' .. ARGV[2]
local page = redis.call('ZREVRANGEBYLEX', key('ids'), from, '-', 'LIMIT', 0, tonumber(ARGV[3]))
local reply = views_of(page)
table.insert(reply, 1, now)
return reply
