-- Part of scripts that touch lanes: permits, which are what limits count.
--
-- A limit is a list: bucket, label, count, window (ms). A window admits a permit at `t` when fewer than
-- `count` were drawn in (t - window, t], so that a full window opens exactly when its `count`th newest
-- permit is one window old.
--
-- What was drawn on a bucket is a zset by moment. An entry says how many permits were drawn since the
-- bucket's beginning, its own included (16 digits), how many are its own (10), and the latest moment of a
-- permit that was given back (13). However many are drawn at once, they are one entry, and two entries
-- count a window. What was given back lies in `returned`, by the moment at which it was drawn.
local BUCKET, LABEL, COUNT, WINDOW = 1, 2, 3, 4

-- The lane's own limits.
local function limits_of(lane)
  if not lane.unpacked then lane.unpacked = lane.limits == '' and {} or { cmsgpack.unpack(lane.limits) } end
  return lane.unpacked
end

local function set_limits(lane, limits)
  lane.unpacked, lane.limits = limits, limits[1] and cmsgpack.pack(unpack(limits)) or ''
end

local function bucket_of(tenant, limit)
  return tenant .. SEP .. limit[BUCKET]
end

-- How long permits of the bucket are kept.
local function keep_of(bucket)
  return tonumber(redis.call('HGET', key('keeps'), bucket)) or 0
end

-- For how long limits want the permits of a bucket kept; written by `keep_wanted`.
local wanted
table.insert(begins, function() wanted = {} end)

local function widen(bucket, limit)
  wanted[bucket] = math.max(wanted[bucket] or 0, limit[WINDOW])
end

-- What nobody else calls has its own room.
local room, opens_at, draw, draw_all, give_back, keep_wanted
do
  local function entry_of(text, at)
    if not text then return nil end
    return { text = text, at = tonumber(at), sum = tonumber(string.sub(text, 1, 16)),
      count = tonumber(string.sub(text, 17, 26)), returned = tonumber(string.sub(text, 27)) }
  end

  -- The newest entry of each bucket, and what windows hold, as this run knows them.
  local newest, held_by
  table.insert(begins, function() newest, held_by = {}, {} end)

  local function newest_of(bucket)
    if newest[bucket] == nil then
      local found = redis.call('ZREVRANGE', key('permits', bucket), 0, 0, 'WITHSCORES')
      newest[bucket] = entry_of(found[1], found[2]) or false
    end
    return newest[bucket]
  end

  -- Keeps permits for as long as is wanted at least.
  function keep_wanted()
    if not next(wanted) then return end
    local buckets, wider = {}, {}
    for bucket in pairs(wanted) do buckets[#buckets + 1] = bucket end
    for i, keep in ipairs(values_of(key('keeps'), buckets)) do
      local bucket = buckets[i]
      -- Of what is not kept at all nothing was drawn.
      if not keep then newest[bucket] = newest[bucket] or false end
      if (tonumber(keep) or 0) < wanted[bucket] then
        wider[#wider + 1] = bucket
        wider[#wider + 1] = string.format('%.17g', wanted[bucket])
      end
    end
    put_all('HSET', key('keeps'), wider)
    wanted = {}
  end

  local function write_entry(bucket, at, sum, count, returned)
    local text = string.format('%016.0f%010d%013.0f', sum, count, returned)
    redis.call('ZADD', key('permits', bucket), moment(at), text)
    newest[bucket], held_by[bucket] = { text = text, at = at, sum = sum, count = count, returned = returned }, nil
  end

  -- How many permits had been drawn up to a moment, itself included.
  local function sum_at(bucket, moment_)
    local permits = key('permits', bucket)
    local before = redis.call('ZREVRANGEBYSCORE', permits, moment_, '-inf', 'LIMIT', 0, 1)[1]
    if before then return tonumber(string.sub(before, 1, 16)) end
    local first = entry_of(redis.call('ZRANGE', permits, 0, 0)[1])
    return first.sum - first.count
  end

  -- How many permits were drawn after a moment, and are not given back.
  local function drawn_since(bucket, moment_)
    local last = newest_of(bucket)
    if not last or last.at <= moment_ then return 0 end
    local known_ = held_by[bucket] or {}
    held_by[bucket] = known_
    if not known_[moment_] then
      local back = 0
      if last.returned > moment_ then
        back = redis.call('ZCOUNT', key('returned', bucket), string.format('(%.17g', moment_), '+inf')
      end
      known_[moment_] = last.sum - sum_at(bucket, moment_) - back
    end
    return known_[moment_]
  end

  -- How many permits the window admits now; at least so many, where that is `enough`.
  function room(tenant, limit, enough)
    local bucket = bucket_of(tenant, limit)
    local last = newest_of(bucket)
    -- Not even all that were ever drawn would fill it: nobody need look which of them it holds.
    local least = limit[COUNT] - (last and last.sum or 0)
    if least >= enough then return least end
    return math.max(limit[COUNT] - drawn_since(bucket, now - limit[WINDOW]), 0)
  end

  -- The moment of the `count`th newest permit, of which there are that many. As many entries, and one more
  -- for each permit that was given back, have it among them; mostly it is the last of these.
  local function moment_of(bucket, count)
    local permits = key('permits', bucket)
    local function at_rank(rank)
      return tonumber(redis.call('ZREVRANGE', permits, rank, rank, 'WITHSCORES')[2])
    end
    local back = newest_of(bucket).returned > 0 and redis.call('ZCARD', key('returned', bucket)) or 0
    local low, high = 0, math.min(count - 1 + back, redis.call('ZCARD', permits) - 1)
    local at = at_rank(high)
    if drawn_since(bucket, at) < count then return at end
    while low < high do
      local middle = math.floor((low + high) / 2)
      if drawn_since(bucket, at_rank(middle) - 1) >= count then high = middle else low = middle + 1 end
    end
    return at_rank(low)
  end

  -- When the window has room for one more; 0 when it has.
  function opens_at(tenant, limit)
    local bucket, count = bucket_of(tenant, limit), math.max(limit[COUNT], 1)
    local last = newest_of(bucket)
    if not last or last.sum < count or drawn_since(bucket, now - limit[WINDOW]) < count then return 0 end
    return moment_of(bucket, count) + limit[WINDOW]
  end

  -- Draws permits, so many of each bucket.
  function draw_all(permits)
    local begun, spent = {}, {}
    for bucket, count in pairs(permits) do
      local last = newest_of(bucket)
      if last then
        -- Entries stay in order, whatever the clock does.
        write_entry(bucket, math.max(now, last.at), last.sum + count, count, last.returned)
      else
        begun[#begun + 1] = bucket
        write_entry(bucket, now, count, count, 0)
      end
    end
    -- The first moment at which a permit of the bucket may be spent.
    for i, keep in ipairs(values_of(key('keeps'), begun)) do
      spent[2 * i - 1], spent[2 * i] = whole(now + (tonumber(keep) or 0)), begun[i]
    end
    in_chunks(spent, function(first, last)
      redis.call('ZADD', key('spent'), 'NX', unpack(spent, first, last))
    end)
  end

  function draw(bucket, count)
    draw_all({ [bucket] = count })
  end

  -- Gives a permit of this name back that was drawn at a moment; whether it may count still. One that no
  -- window counts now may count again: a wider one may come while it is kept.
  function give_back(bucket, name, at)
    local last = newest_of(bucket)
    if not last then return false end
    if at <= now - keep_of(bucket) then
      local first = redis.call('ZRANGE', key('permits', bucket), 0, 0, 'WITHSCORES')[2]
      if at < tonumber(first) then return false end
    end
    if redis.call('ZADD', key('returned', bucket), 'NX', at, name) == 0 then return false end
    redis.call('ZREM', key('permits', bucket), last.text)
    write_entry(bucket, last.at, last.sum, last.count, math.max(last.returned, at))
    return true
  end
end

-- The bucket may be forgotten once it has neither permits nor lanes.
local function loosen(bucket)
  redis.call('SADD', key('loose'), bucket)
end

local function unbind(lane)
  for _, limit in ipairs(limits_of(lane)) do
    local bucket = bucket_of(lane.tenant, limit)
    redis.call('SREM', key('drawers', bucket), lane.id)
    loosen(bucket)
  end
end

local function bind(lane)
  for _, limit in ipairs(limits_of(lane)) do
    local bucket = bucket_of(lane.tenant, limit)
    put('SADD', key('drawers', bucket), lane.id)
    widen(bucket, limit)
  end
end
