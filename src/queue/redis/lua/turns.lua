-- Part of the claim: the walk over turns, in memory. It writes nothing but marks lanes that gave
-- nothing, so that they are looked at again.
local LANES_READ, HEADS_READ = 8, 4

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
  local bench = { lane = lane, taken = 0, of = { 0, 0, 0 }, heads = {}, at = 1, buckets = {}, room = {} }
  for _, limit in ipairs(lane.limits) do
    local bucket, free = bucket_of(lane.tenant, limit), room(lane.tenant, limit)
    if not bench.room[bucket] then table.insert(bench.buckets, bucket) end
    bench.room[bucket] = math.min(bench.room[bucket] or free, free)
  end
  return bench
end

-- Reads jobs of the lane in run order: by priority, then by moment, then by arrival. One more than is
-- wanted is read of each priority, so that the lane's next head is known.
local function read_heads(bench, run, left)
  local lane, want = bench.lane, math.min(math.max(HEADS_READ, run, bench.taken * 2), left)
  local due = moment(now)
  bench.heads, bench.at = {}, 1
  for i = 1, 3 do
    local missing = want - #bench.heads
    if missing == 0 then return end
    local skip = bench.of[i]
    if lane.waiting[i] > skip then
      local tickets = redis.call('ZRANGE', waits(lane, i - 1), skip, skip + missing)
      for n = 1, math.min(#tickets, missing) do
        if run_of(tickets[n]) > due then break end
        table.insert(bench.heads, { ticket = tickets[n], index = i, next = tickets[n + 1] })
      end
    end
  end
  bench.all = #bench.heads < want
end

-- How many jobs the lane may give now. `drawn` counts this walk's permits.
local function allowed(bench, drawn)
  local lane = bench.lane
  if lane.paused or (lane.parked or 0) > now then return 0 end
  local most = seats(lane) - bench.taken
  for bucket, free in pairs(bench.room) do
    most = math.min(most, free - (drawn[bucket] or 0))
  end
  return most
end

-- The lane's next jobs, at most `run`, as far as it has some and its limits admit them.
local function give(bench, drawn, run, left)
  local most, takes = math.min(allowed(bench, drawn), run), {}
  while #takes < most do
    if bench.at > #bench.heads and not bench.all then read_heads(bench, run, left) end
    local head = bench.heads[bench.at]
    if not head then break end
    bench.at, bench.taken, bench.of[head.index] = bench.at + 1, bench.taken + 1, bench.of[head.index] + 1
    head.bench = bench
    takes[#takes + 1] = head
  end
  for _, bucket in ipairs(bench.buckets) do drawn[bucket] = (drawn[bucket] or 0) + #takes end
  return takes
end

local function serve(tenant, drawn, run, left)
  while true do
    local bench = next_of(tenant)
    if not bench then return nil end
    local takes = give(bench, drawn, math.min(run, left), left)
    if #takes > 0 then
      serve_again(tenant, bench)
      return takes
    end
    touch(bench.lane)
  end
end

-- At most `max` jobs, in turns of up to `run` jobs of a lane.
local function walk(queue, max, run)
  local taken, drawn = {}, {}
  local tenants = ring(key('ready', queue), math.max(max, 1), function(tenant)
    return ring(key('ready', queue, tenant), LANES_READ, bench_of)
  end)
  while #taken < max do
    local tenant = next_of(tenants)
    if not tenant then break end
    local takes = serve(tenant, drawn, run, max - #taken)
    if takes then
      for _, take in ipairs(takes) do taken[#taken + 1] = take end
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
    if kept == promised then break end
    mark(lane)
  end
  return promised
end
