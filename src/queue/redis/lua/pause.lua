-- Stops or resumes claims, from a queue or from one lane.
--
-- KEYS[1] the shard
-- ARGV[1] the time
-- ARGV[2] 'queue' or 'lane'
-- ARGV[3] the queue, or the lane's id
-- ARGV[4] 1 to stop, 0 to resume
--
-- Gives 'done', 'not_applicable' when it is so already, or 'unknown'.
local name, paused = ARGV[3], ARGV[4]
if ARGV[2] == 'queue' then
  local is = redis.call('HGET', key('queues'), name)
  if not is then return 'unknown' end
  if is == paused then return 'not_applicable' end
  redis.call('HSET', key('queues'), name, paused)
  wake(name)
else
  local lane = lane_of(name)
  if not lane then return 'unknown' end
  local stop, parked = paused == '1', (lane.parked or 0) > now
  if lane.paused == stop and (stop or not parked) then return 'not_applicable' end
  lane.paused = stop
  -- Who resumes a lane ends what it waits for, too.
  if not stop then lane.parked, lane.reason = false, false end
  change()
  touch(lane)
end
finish()
return 'done'
