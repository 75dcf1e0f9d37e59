-- Parks a lane until a moment; a lane that is not known is made, and gets its policy from its first
-- job.
--
-- KEYS[1] the shard
-- ARGV[1] the time
-- ARGV[2] the lane's id
-- ARGV[3] until when (ms)
-- ARGV[4] why (JSON)
--
-- Gives 1.
park(ensure_lane(ARGV[2]), tonumber(ARGV[3]), ARGV[4])
finish()
return 1
