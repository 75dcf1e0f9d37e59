-- Takes note that the end of a job was told.
--
-- KEYS[1] the shard
-- ARGV[1] the time
-- ARGV[2] the job's id
-- ARGV[3] the version of its record that was told
--
-- Gives 1, or 0 when it has another version since, or is gone: then there is another end to tell, or none.
local state = redis.call('HGET', STATES, ARGV[2])
if not state or tonumber(string.sub(state, 1, 14)) ~= tonumber(ARGV[3]) then return 0 end
return redis.call('ZREM', key('untold'), ARGV[2])
