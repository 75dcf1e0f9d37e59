-- Part of scripts that touch lanes: permits, which are what limits count.
--
-- A bucket is a zset of permits by the moment at which they were drawn. A window admits a permit at
-- `t` when fewer than `count` lie in (t - window, t], so that a full window opens exactly when its
-- `count`th newest permit is one window old.
local function bucket_of(tenant, limit)
  return tenant .. SEP .. limit.bucket
end

-- When the window has room for one more; 0 when it never was full.
local function opens_at(tenant, limit)
  local nth = math.max(limit.count, 1) - 1
  local permit = redis.call('ZREVRANGE', key('permits', bucket_of(tenant, limit)), nth, nth, 'WITHSCORES')
  return permit[2] and permit[2] + limit.window_ms or 0
end

-- How many permits the window admits now.
local function room(tenant, limit)
  local from = string.format('(%.17g', now - limit.window_ms)
  local used = redis.call('ZCOUNT', key('permits', bucket_of(tenant, limit)), from, '+inf')
  return math.max(limit.count - used, 0)
end

-- Keeps the bucket's permits for at least the limit's window; answers how long they are kept.
local function widen(bucket, limit)
  local keep = tonumber(redis.call('HGET', key('keeps'), bucket)) or 0
  if keep < limit.window_ms then
    keep = limit.window_ms
    redis.call('HSET', key('keeps'), bucket, string.format('%.17g', keep))
  end
  return keep
end

local function draw(bucket, permit)
  redis.call('ZADD', key('permits', bucket), now, permit)
  local keep = tonumber(redis.call('HGET', key('keeps'), bucket)) or 0
  -- The first moment at which a permit of the bucket may be spent.
  redis.call('ZADD', key('spent'), 'NX', now + keep, bucket)
end

-- The bucket may be forgotten once it has neither permits nor lanes.
local function loosen(bucket)
  redis.call('SADD', key('loose'), bucket)
end

local function unbind(lane, tenant, policy)
  for _, limit in ipairs(policy and policy.limits or {}) do
    local bucket = bucket_of(tenant, limit)
    redis.call('SREM', key('drawers', bucket), lane)
    loosen(bucket)
  end
end

local function bind(lane, tenant, policy)
  for _, limit in ipairs(policy.limits) do
    local bucket = bucket_of(tenant, limit)
    redis.call('SADD', key('drawers', bucket), lane)
    widen(bucket, limit)
  end
end
