-- Part of the claim: the walk over turns, in memory. It writes nothing but marks lanes that gave
-- nothing, so that they are looked at again.
local LANES_READ, HEADS_READ = 8, 4

-- Those whose turn comes: first who was not served in this walk, in pages, each of which is shown to
-- `look`; then who was.
local function ring(zset, page, look, make)
  return { zset = zset, page = page, look = look, make = make, read = 0, met = 0, fresh = {}, at = 1,
    served = {}, first = 1 }
end

local function next_of(r)
  if r.at > #r.fresh and r.read then
    r.fresh, r.at = redis.call('ZRANGE', r.zset, r.read, r.read + r.page - 1), 1
    r.read = #r.fresh == r.page and r.read + r.page or nil
    r.met = r.met + #r.fresh
    -- Who needs more than were expected needs many more.
    if r.page < LANES_READ then r.page = r.page * 2 end
    r.look(r.fresh)
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

-- A lane with the room of its buckets and, once asked for, its first due jobs: `tickets` of the priority that
-- is read, of which those up to `due` may run and `at` is the next, from number `from` on if a part of it was
-- given. By priority, `of` counts the jobs that were given, `passed` the tickets of which nothing is left, and
-- `after` is the ticket that comes next, as far as known. Nobody asks for more than `max` jobs.
local function bench_of(id, max)
  local lane = lane_of(id)
  local bench = { lane = lane, taken = 0, of = { 0, 0, 0 }, passed = { 0, 0, 0 }, after = {}, index = 0,
    tickets = {}, at = 1, due = 0, from = nil, buckets = {}, room = {} }
  for _, limit in ipairs(limits_of(lane)) do
    local bucket, free = bucket_of(lane.tenant, limit), room(lane.tenant, limit, max)
    if not bench.room[bucket] then table.insert(bench.buckets, bucket) end
    bench.room[bucket] = math.min(bench.room[bucket] or free, free)
  end
  return bench
end

-- Reads the next due jobs in run order: by priority, then by moment, then by arrival. One more than
-- is wanted is read, so that the lane's next head is known. Whether there are any.
local function read_heads(bench, want)
  local lane = bench.lane
  for index = math.max(bench.index, 1), 3 do
    local skip = bench.passed[index]
    if lane.waiting[index] > bench.of[index] then
      local tickets = redis.call('ZRANGE', waits(lane, index - 1), skip, skip + want)
      local due = math.min(#tickets, want)
      while due > 0 and run_of(tickets[due]) > now_text do due = due - 1 end
      if due > 0 then
        bench.index, bench.tickets, bench.at, bench.due = index, tickets, 1, due
        return true
      end
    end
  end
  bench.index = 4
  return false
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

-- Puts the next tickets of the page behind `taken`, until they have `most` jobs: `numbers` has the first and
-- the last job of each, where a bundle's may be a part of what the ticket names. Answers how many jobs.
local function give_page(bench, most, taken)
  local tickets, index, at, count = bench.tickets, bench.index, bench.at, 0
  local numbers, place = {}, 1
  local piece = { bench = bench, index = index, tickets = tickets, first = at, numbers = numbers }
  while at <= bench.due and count < most do
    local from, last = 1, 1
    if is_bundle(tickets[at]) then from, last = numbers_in(tickets[at], bench.from) end
    local upto = from + most - count - 1
    if upto < last then
      last, piece.last, bench.from, count = upto, at, upto + 1, most
    else
      at, bench.from, count = at + 1, nil, count + last - from + 1
    end
    numbers[place], numbers[place + 1], place = from, last, place + 2
  end
  piece.last, piece.count = piece.last or at - 1, count
  bench.at, bench.after[index] = at, tickets[at]
  bench.passed[index], bench.of[index] = bench.passed[index] + at - piece.first, bench.of[index] + count
  taken[#taken + 1] = piece
  return count
end

-- The lane's next jobs, at most `run`, as far as it has some and its limits admit them: put behind those that the
-- walk took, in pieces of one priority each. Answers how many.
local function give(w, bench, run)
  local drawn, most, given = w.drawn, math.min(allowed(bench, w.drawn), run), 0
  while given < most and bench.index < 4 do
    if bench.at <= bench.due then
      given = given + give_page(bench, most - given, w.taken)
    elseif not read_heads(bench, math.min(math.max(HEADS_READ, run, bench.taken * 2), w.left)) then
      break
    end
  end
  bench.taken = bench.taken + given
  for _, bucket in ipairs(bench.buckets) do drawn[bucket] = (drawn[bucket] or 0) + given end
  return given
end

-- Whether there is just one whose turn may come.
local function is_alone(r)
  return not r.read and r.met == 1
end

-- A turn of the tenant; who has nobody beside it gives all at once.
local function serve(w, tenant, alone)
  while w.patience > 0 do
    local bench = next_of(tenant)
    if not bench then break end
    local given = give(w, bench, alone and is_alone(tenant) and w.left or math.min(w.run, w.left))
    if given > 0 then
      serve_again(tenant, bench)
      return given
    end
    touch(bench.lane)
  end
  return 0
end

-- At most `max` jobs, in turns of up to `run` jobs of a lane; pieces, how many jobs they are, and whether it ended
-- early because it met `patience` lanes. Lanes are dear, and many may share a limit that is used up and not know it
-- yet: those that gave nothing sleep until there is room, so that the next walk begins behind them.
local function walk(queue, max, run, patience)
  local w = { taken = {}, drawn = {}, run = run, left = max, patience = patience }
  local turns_, tenants = math.ceil(max / run), nil
  local function bench(id)
    w.patience = w.patience - 1
    return bench_of(id, max)
  end
  -- One more than have a turn, so that it is known who is alone; and of many tenants few lanes of each have one.
  tenants = ring(key('ready', queue), turns_ + 1, function() end, function(tenant)
    local lanes_read = math.min(math.ceil(turns_ / tenants.met), LANES_READ)
    return ring(key('ready', queue, tenant), lanes_read, load_lanes, bench)
  end)
  while w.left > 0 and w.patience > 0 do
    local tenant = next_of(tenants)
    if not tenant then break end
    local given = serve(w, tenant, is_alone(tenants))
    if given > 0 then
      w.left = w.left - given
      serve_again(tenants, tenant)
    end
  end
  return w.taken, max - w.left, w.patience == 0
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
    local before, kept = lane.state, refresh(lane)
    -- One that became ready just now is not where its record says.
    if kept == promised and lane.state == before then break end
    mark(lane)
    write_turns()
  end
  return promised
end
