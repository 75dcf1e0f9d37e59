-- Part of the claim: the walk over turns, in memory. It writes nothing but marks lanes that gave
-- nothing, so that they are looked at again.
local LANES, HEADS = 8, 4

-- Those whose turn comes: first who was not served in this walk, in pages, then who was.
local function ring(zset, page, make)
  return { zset = zset, page = page, make = make, read = 0, fresh = {}, at = 1, served = {}, first = 1 }
end

local function next_of(r)
  if r.at > #r.fresh and r.read then
    r.fresh, r.at = redis.call('ZRANGE', r.zset, r.read, r.read + r.page - 1), 1
    r.read = #r.fresh == r.page and r.read + r.page or nil
  end
  if r.at <= #r.fresh then
    r.at = r.at + 1
    return r.make(r.fresh[r.at - 1])
  end
  local one = r.served[r.first]
  if one then
    r.served[r.first] = nil
    r.first = r.first + 1
  end
  return one
end

local function serve_again(r, one)
  r.last = math.max(r.last or 0, r.first - 1) + 1
  r.served[r.last] = one
end

-- A lane with the room of its buckets and, once asked for, its first due jobs.
local function bench_of(id)
  local lane = lane_of(id)
  local bench = { lane = lane, taken = 0, heads = {}, at = 1, buckets = {}, room = {} }
  for _, limit in ipairs(lane.policy and lane.policy.limits or {}) do
    local bucket, free = bucket_of(lane.tenant, limit), room(lane.tenant, limit)
    if not bench.room[bucket] then table.insert(bench.buckets, bucket) end
    bench.room[bucket] = math.min(bench.room[bucket] or free, free)
  end
  return bench
end

-- Reads due jobs of the lane in run order: by priority, then by moment, then by arrival.
local function read_heads(bench, left)
  local want, skip = math.min(math.max(HEADS, bench.taken * 2), left), bench.taken
  bench.heads, bench.at = {}, 1
  for priority = 0, 2 do
    local missing = want - #bench.heads
    if missing == 0 then return end
    local zset = key('waiting', bench.lane.id, priority)
    for _, head in ipairs(redis.call('ZRANGEBYSCORE', zset, '-inf', now, 'LIMIT', skip, missing)) do
      table.insert(bench.heads, head)
    end
    -- What was taken of this priority is skipped here, the rest of it in the next.
    skip = skip > 0 and math.max(skip - redis.call('ZCOUNT', zset, '-inf', now), 0) or 0
  end
  bench.all = #bench.heads < want
end

-- The lane's next job, if it has one and its limits admit it. `drawn` counts this walk's permits.
local function give(bench, drawn, left)
  local lane = bench.lane
  if lane.paused or (lane.parked or 0) > now or bench.taken >= seats(lane) then return nil end
  for bucket, free in pairs(bench.room) do
    if free <= (drawn[bucket] or 0) then return nil end
  end
  if bench.at > #bench.heads and not bench.all then read_heads(bench, left) end
  local head = bench.heads[bench.at]
  if not head then return nil end
  bench.at, bench.taken = bench.at + 1, bench.taken + 1
  for _, bucket in ipairs(bench.buckets) do drawn[bucket] = (drawn[bucket] or 0) + 1 end
  return { ticket = head, lane = lane, buckets = bench.buckets }
end

local function serve(tenant, drawn, left)
  while true do
    local bench = next_of(tenant)
    if not bench then return nil end
    local take = give(bench, drawn, left)
    if take then
      serve_again(tenant, bench)
      return take
    end
    touch(bench.lane)
  end
end

local function walk(queue, max)
  local taken, drawn = {}, {}
  local tenants = ring(key('ready', queue), math.max(max, 1), function(tenant)
    return ring(key('ready', queue, tenant), LANES, bench_of)
  end)
  while #taken < max do
    local tenant = next_of(tenants)
    if not tenant then break end
    local take = serve(tenant, drawn, max - #taken)
    if take then
      table.insert(taken, take)
      serve_again(tenants, tenant)
    end
  end
  return taken
end

-- The lane of the queue whose moment comes first, and that moment, as far as is known.
local function first_lane(queue)
  local tenant = redis.call('ZRANGE', key('ready', queue), 0, 0)[1]
  if tenant then return redis.call('ZRANGE', key('ready', queue, tenant), 0, 0)[1], now end
  local first = redis.call('ZRANGE', key('later', queue), 0, 0, 'WITHSCORES')
  return first[1], tonumber(first[2])
end

-- The first moment at which something may be claimed. Lanes that share a bucket are not told of each
-- other's permits, so that what one promised may be too early: the first is looked at again, until
-- one keeps its word, `most` times at most.
local function next_moment(queue, most)
  local id, promised
  for _ = 1, most do
    id, promised = first_lane(queue)
    if not id then return nil end
    local lane = lane_of(id)
    local kept = refresh(lane)
    save_lane(lane)
    if kept == promised then break end
  end
  return promised
end
