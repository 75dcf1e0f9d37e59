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

-- Removes some that completed together, if they are past their time and as far as they are there still;
-- answers the number of the first that stays.
local function remove_together(name, till)
  local head, from, to = string.sub(name, 1, 26), tonumber(string.sub(name, 27, 30)), tonumber(string.sub(name, 31))
  local upto = math.min(to, from + left - 1)
  local records = records_of(head, from, upto)
  for place = 0, upto - from do
    local record = record_in(records, place)
    local letter = string.sub(record, 1, 1)
    if letter == 'c' or letter == 'r' then
      if tonumber(string.sub(record, 6, 18)) > till then return from end
      break
    end
  end
  left = left - remove_range(head, from, records)
  return upto + 1
end

-- Removes those that completed and are past their time: jobs, and ranges of bundles. Their list is in the
-- order of time; what is gone from there is passed over.
local function remove_completed(till)
  local names, past, seen = redis.call('LRANGE', key('completed'), 0, left - 1), {}, 0
  local single = {}
  for _, name in ipairs(names) do
    if #name == 26 then single[#single + 1] = name end
  end
  load_jobs(single)
  for _, name in ipairs(names) do
    if left <= 0 then break end
    if #name == 26 then
      local job = known[name]
      local there = job and job.state == 'completed'
      if there and job.since > till then break end
      if there then
        past[#past + 1] = name
        left = left - 1
      end
    else
      local stays = remove_together(name, till)
      if stays <= tonumber(string.sub(name, 31)) then
        redis.call('LSET', key('completed'), seen, string.sub(name, 1, 26) .. four(stays) .. string.sub(name, 31))
        break
      end
    end
    seen = seen + 1
  end
  remove(past)
  if seen > 0 then redis.call('LTRIM', key('completed'), seen, -1) end
end

remove_completed(now - tonumber(ARGV[3]))
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
