-- Reads a page of lanes, in the order of their ids.
--
-- KEYS[1] the shard
-- ARGV[1] the time
-- ARGV[2] what the ids begin with
-- ARGV[3] the id after which to begin; empty: from the first
-- ARGV[4] how many at most
--
-- Gives JSON for each: its id, policy (JSON), numbers, and what holds it back.
local from = ARGV[3] == '' and '[' .. ARGV[2] or '(' .. ARGV[3]
local till = ARGV[2] == '' and '+' or '(' .. ARGV[2] .. '\255'
local reply = {}
for _, id in ipairs(redis.call('ZRANGEBYLEX', key('lanes'), from, till, 'LIMIT', 0, tonumber(ARGV[4]))) do
  local lane = lane_of(id)
  reply[#reply + 1] = cjson.encode({
    id = id, policy = lane.policy_text or nil, waiting = lane.waiting, running = lane.running,
    parked = lane.parked, reason = lane.reason, hold = hold_of(lane),
  })
end
return reply
