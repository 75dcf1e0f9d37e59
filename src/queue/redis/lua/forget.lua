-- Part of pruning: permits, lanes and buckets.

-- Removes at most `most` entries of permits that no window counts any more; answers how many.
local function spend_permits(buckets, most)
  local left = most
  for _, bucket in ipairs(buckets) do
    local keep, permits = keep_of(bucket), key('permits', bucket)
    -- What was given back goes first: without its permit it would make room for another one.
    for _, spent in ipairs({ key('returned', bucket), permits }) do
      local old = redis.call('ZRANGEBYSCORE', spent, '-inf', now - keep, 'LIMIT', 0, left)
      if #old > 0 then redis.call('ZREM', spent, unpack(old)) end
      left = left - #old
    end
    local first = redis.call('ZRANGE', permits, 0, 0, 'WITHSCORES')[2]
    if first then
      redis.call('ZADD', key('spent'), first + keep, bucket)
    else
      redis.call('ZREM', key('spent'), bucket)
      loosen(bucket)
    end
  end
  return most - left
end

-- Forgets lanes without jobs; they come back with the next job. Answers how many.
local function forget_lanes(ids)
  for _, id in ipairs(ids) do
    local lane = lane_of(id)
    local crowd = lane.queue .. SEP .. lane.tenant
    unbind(lane)
    for _, hash in ipairs({ LANES, key('policies') }) do redis.call('HDEL', hash, id) end
    for _, index in ipairs({ 'lane_ids', 'empty' }) do redis.call('ZREM', key(index), id) end
    if redis.call('HINCRBY', key('crowd'), crowd, -1) == 0 then
      redis.call('HDEL', key('crowd'), crowd)
      redis.call('HDEL', key('tenants', lane.queue), lane.tenant)
    end
    lanes[id], touched[id], marked[id] = nil, nil, nil
  end
  return #ids
end

-- Forgets how long permits are kept in buckets that have neither permits nor lanes.
local function forget_buckets(most)
  for _, bucket in ipairs(redis.call('SPOP', key('loose'), most)) do
    if redis.call('EXISTS', key('permits', bucket), key('drawers', bucket)) == 0 then
      redis.call('HDEL', key('keeps'), bucket)
    end
  end
end
