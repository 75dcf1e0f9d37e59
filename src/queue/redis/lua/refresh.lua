-- Part of scripts that touch lanes: what follows when one changes.
--
-- A lane is idle (nothing can be claimed until something happens), later (something may be claimed
-- from `next_at` on) or ready.
local function seats(lane)
  if not lane.in_flight then return math.huge end
  return math.max(lane.in_flight - lane.running, 0)
end

-- Until when the lane is held back, and why (JSON), by a limit or by somebody; nothing when not.
local function held(lane)
  local till, reason
  for _, limit in ipairs(limits_of(lane)) do
    local at = opens_at(lane.tenant, limit)
    if at > now and (not till or at > till) then
      till, reason = at, cjson.encode({ Limit = limit[LABEL] })
    end
  end
  local parked = lane.parked
  if parked and parked > now and (not till or till <= parked) then
    till, reason = parked, lane.reason
  end
  return till, reason
end

-- The moment at which the lane's first job runs, as a text.
local function first_run(lane)
  local first
  for i = 1, 3 do
    if lane.waiting[i] > 0 then
      local head = lane.heads[i] or run_of(redis.call('ZRANGE', waits(lane, i - 1), 0, 0)[1])
      lane.heads[i] = head
      if not first or head < first then first = head end
    end
  end
  return first
end

-- Turns of tenants, where those that are ready stand, and those that lanes left, with one of these lanes, as
-- this run knows them.
local tenant_turns, tenant_placed, tenants_left

table.insert(begins, function()
  tenant_turns, tenant_placed, tenants_left = {}, {}, {}
end)

local function turn_of(lane)
  local name = lane.queue .. SEP .. lane.tenant
  tenant_turns[name] = tenant_turns[name] or tonumber(redis.call('HGET', key('tenants', lane.queue), lane.tenant))
  return tenant_turns[name], name
end

local function place_tenant(lane)
  local turn, name = turn_of(lane)
  if tenant_placed[name] ~= turn then
    tenant_placed[name] = turn
    put('ZADD', key('ready', lane.queue), whole(turn), lane.tenant)
  end
end

local function leave_ready(lane)
  put('ZREM', key('ready', lane.queue, lane.tenant), lane.id)
  local _, name = turn_of(lane)
  tenants_left[name] = lane
end

local function enter_ready(lane)
  if lane.state == 'ready' and lane.placed == lane.turn then return end
  put('ZADD', key('ready', lane.queue, lane.tenant), whole(lane.turn), lane.id)
  place_tenant(lane)
end

-- Writes what was put together, and says of tenants that lanes left whether they are ready still.
local function write_turns()
  write()
  local left = tenants_left
  tenants_left = {}
  for name, lane in pairs(left) do
    if redis.call('EXISTS', key('ready', lane.queue, lane.tenant)) == 0 then
      tenant_placed[name] = nil
      put('ZREM', key('ready', lane.queue), lane.tenant)
    else
      -- The tenant may have been served by this lane.
      place_tenant(lane)
    end
  end
  write()
end

-- Tells the queue when the lane's first job runs.
local function tell_first(lane, first)
  if first == lane.first then return end
  lane.first = first
  if first then
    put('ZADD', key('heads', lane.queue), first, lane.id)
  else
    put('ZREM', key('heads', lane.queue), lane.id)
  end
end

-- Works out anew whether something in the lane may be claimed; answers the first such moment. What follows is
-- put together: see `write_turns`.
local function refresh(lane)
  local first, state, at = first_run(lane), 'idle', nil
  tell_first(lane, first or false)
  if first and not lane.paused and seats(lane) > 0 then
    at = math.max(tonumber(first), held(lane) or 0)
    state = at <= now and 'ready' or 'later'
  end
  if lane.state == 'ready' and state ~= 'ready' then leave_ready(lane) end
  if lane.state == 'later' and state ~= 'later' then
    put('ZREM', key('later', lane.queue), lane.id)
  end
  if state == 'ready' then
    enter_ready(lane)
    if lane.state ~= 'ready' then wake(lane.queue) end
    at = now
  elseif state == 'later' then
    put('ZADD', key('later', lane.queue), whole(at), lane.id)
    if lane.state == 'idle' or (lane.state == 'later' and at < lane.next_at) then wake(lane.queue) end
  end
  lane.state, lane.next_at, lane.placed = state, state == 'later' and at or false, lane.turn
  return at
end

-- A lane without jobs is forgotten from this moment on; it stays listed while it has some.
local function list_empty(lane)
  local empty = lane.jobs == 0 and (lane.paused and '+inf' or lane.parked or 0)
  if empty == lane.empty then return end
  lane.empty = empty
  if empty then
    put('ZADD', key('empty'), empty, lane.id)
  else
    put('ZREM', key('empty'), lane.id)
  end
end

-- Another job waits in the lane, or several that run at the same moment. Nothing follows for the lane where
-- they come behind others.
local function count_waiting(lane, index, run_at, count)
  local head = lane.heads[index]
  if lane.waiting[index] > 0 and head and run_at >= head then
    mark(lane)
  else
    -- An unknown head stays unknown, unless these are the only ones.
    if lane.waiting[index] == 0 or head then lane.heads[index] = run_at end
    touch(lane)
  end
  lane.waiting[index] = lane.waiting[index] + count
  tally(lane.queue, 'waiting', count)
end

local function flush()
  write()
  keep_wanted()
  local again, written = touched, marked
  touched, marked = {}, {}
  for _, lane in pairs(again) do refresh(lane) end
  for id, lane in pairs(written) do
    list_empty(lane)
    put('HSET', LANES, id, pack_lane(lane))
  end
  write_turns()
end

-- Puts a lane to sleep, unless the moment is past or it sleeps longer anyway.
local function park(lane, till, reason)
  if till > math.max(lane.parked or 0, now) then
    lane.parked, lane.reason = till, reason
  end
  change()
  touch(lane)
end

local function finish(only_came)
  flush()
  publish(only_came)
end
