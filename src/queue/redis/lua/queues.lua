-- Counts the queues.
--
-- KEYS[1] the shard
-- ARGV[1] the time
--
-- Gives for each {name, 1 if paused, when its oldest queued job became due or '', how many are
-- scheduled, waiting, processing, completed, failed, cancelled}.
local reply = {}
local queues = redis.call('HGETALL', key('queues'))
for at = 1, #queues, 2 do
  local queue = queues[at]
  local head = tonumber(redis.call('ZRANGE', key('heads', queue), 0, 0, 'WITHSCORES')[2])
  local row = { queue, tonumber(queues[at + 1]), head and head <= now and head or '' }
  row[4] = redis.call('ZLEXCOUNT', key('scheduled', queue), '[' .. moment(now + 1), '+')
  for _, state in ipairs({ 'waiting', 'processing', 'completed', 'failed', 'cancelled' }) do
    row[#row + 1] = tonumber(redis.call('HGET', key('tallies'), queue .. SEP .. state)) or 0
  end
  reply[#reply + 1] = row
end
return reply
