-- Removes what is past its time, oldest first: finished jobs, the dead of tenants that have too many,
-- remembered submissions, spent permits, lanes that nothing is known of any more.
--
-- KEYS[1]   the shard
-- ARGV[1]   the time
-- ARGV[2]   how many things at most
-- ARGV[3-5] how long completed, cancelled and failed jobs are kept (ms)
-- ARGV[6]   how many failed jobs of a tenant are kept at most
--
-- Gives how many things were removed.
local max = tonumber(ARGV[2])
local left = max

local function due(zset, till)
  return redis.call('ZRANGEBYSCORE', zset, '-inf', till, 'LIMIT', 0, left)
end

local function remove_all(ids)
  load_jobs(ids)
  remove(ids)
  left = left - #ids
end

-- Those that completed, as far as they are past their time, and how much of their list that is.
local function completed(till)
  local ids, past, seen = redis.call('LRANGE', key('completed'), 0, left - 1), {}, 0
  load_jobs(ids)
  for _, id in ipairs(ids) do
    local job = known[id]
    local there = job and job.state == 'completed'
    if there and job.since > till then break end
    seen = seen + 1
    if there then past[#past + 1] = id end
  end
  return past, seen
end

local past, seen = completed(now - tonumber(ARGV[3]))
remove_all(past)
if seen > 0 then redis.call('LTRIM', key('completed'), seen, -1) end
for number, state in ipairs({ 'cancelled', 'failed' }) do
  remove_all(due(key('final', state), now - tonumber(ARGV[3 + number])))
end
for _, tenant in ipairs(redis.call('ZRANGEBYSCORE', key('crowded'), '(' .. ARGV[6], '+inf', 'LIMIT', 0, left)) do
  local surplus = redis.call('ZSCORE', key('crowded'), tenant) - tonumber(ARGV[6])
  local most = math.min(surplus, left)
  local oldest = most > 0 and redis.call('ZRANGE', key('dead', tenant), 0, most - 1) or {}
  for i, name in ipairs(oldest) do oldest[i] = string.sub(name, 15) end
  remove_all(oldest)
  -- The next must not be counted twice.
  write()
end
flush()
for _, name in ipairs(due(key('submissions'), now)) do
  redis.call('ZREM', key('submissions'), name)
  redis.call('DEL', key('submission', name))
  left = left - 1
end
left = left - spend_permits(due(key('spent'), now), left)
left = left - forget_lanes(due(key('empty'), now))
forget_buckets(max)
if left < max then change() end
finish()
return max - left
