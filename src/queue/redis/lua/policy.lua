-- Replaces what a lane may draw on, and frees it if a limit parked it. A lane that is not known gets
-- its policy from its first job.
--
-- KEYS[1] the shard
-- ARGV[1] the time
-- ARGV[2] the lane's id
-- ARGV[3] the policy (JSON)
--
-- Gives 1.
local lane = lane_of(ARGV[2])
if not lane then return 1 end
set_policy(lane, ARGV[3])
if lane.reason and string.find(lane.reason, '{"Limit"', 1, true) == 1 then
  lane.parked, lane.reason = false, false
end
change()
touch(lane)
finish()
return 1
