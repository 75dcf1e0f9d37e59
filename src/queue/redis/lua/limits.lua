-- Part of scripts that touch lanes: permits, which are what limits count.
--
-- A limit is a list: bucket, label, count, window (ms). A bucket is a zset of permits by the moment at
-- which they were drawn. A window admits a permit at `t` when fewer than `count` lie in
-- (t - window, t], so that a full window opens exactly when its `count`th newest permit is one window
-- old.
local BUCKET, LABEL, COUNT, WINDOW = 1, 2, 3, 4

local function bucket_of(tenant, limit)
  return tenant .. SEP .. limit[BUCKET]
end

-- When the window has room for one more; 0 when it never was full.
local function opens_at(tenant, limit)
  local nth = math.max(limit[COUNT], 1) - 1
  local permit = redis.call('ZREVRANGE', key('permits', bucket_of(tenant, limit)), nth, nth, 'WITHSCORES')
  return permit[2] and permit[2] + limit[WINDOW] or 0
end

-- How many permits the window admits now.
local function room(tenant, limit)
  local from = string.format('(%.17g', now - limit[WINDOW])
  local used = redis.call('ZCOUNT', key('permits', bucket_of(tenant, limit)), from, '+inf')
  return math.max(limit[COUNT] - used, 0)
end

-- Keeps the bucket's permits for at least the limit's window.
local function widen(bucket, limit)
  local keep = tonumber(redis.call('HGET', key('keeps'), bucket)) or 0
  if keep < limit[WINDOW] then
    redis.call('HSET', key('keeps'), bucket, string.format('%.17g', limit[WINDOW]))
  end
end

-- Draws permits of one bucket.
local function draw(bucket, permits)
  local where = key('permits', bucket)
  if redis.call('EXISTS', where) == 0 then
    -- The first moment at which a permit of the bucket may be spent.
    local keep = tonumber(redis.call('HGET', key('keeps'), bucket)) or 0
    redis.call('ZADD', key('spent'), 'NX', now + keep, bucket)
  end
  for _, permit in ipairs(permits) do put('ZADD', where, now_text, permit) end
end

-- The bucket may be forgotten once it has neither permits nor lanes.
local function loosen(bucket)
  redis.call('SADD', key('loose'), bucket)
end

local function unbind(lane)
  for _, limit in ipairs(lane.limits) do
    local bucket = bucket_of(lane.tenant, limit)
    redis.call('SREM', key('drawers', bucket), lane.id)
    loosen(bucket)
  end
end

local function bind(lane)
  for _, limit in ipairs(lane.limits) do
    local bucket = bucket_of(lane.tenant, limit)
    redis.call('SADD', key('drawers', bucket), lane.id)
    widen(bucket, limit)
  end
end
