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
local ids = redis.call('ZRANGEBYLEX', key('lane_ids'), from, till, 'LIMIT', 0, tonumber(ARGV[4]))
local policies, reply = values_of(key('policies'), ids), {}
for number, id in ipairs(ids) do
  local lane = lane_of(id)
  reply[number] = cjson.encode({
    id = id, policy = policies[number] or nil, waiting = waiting(lane), running = lane.running,
    parked = lane.parked or nil, reason = lane.reason or nil, hold = hold_of(lane),
  })
end
return reply
