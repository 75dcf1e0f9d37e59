-- Proves that the shard can be written to; gives the time, and the version of the last change.
--
-- KEYS[1] the shard
-- ARGV[1] the time
local version_ = redis.call('HINCRBY', key('meta'), 'version', 0)
return { now, version_ }
