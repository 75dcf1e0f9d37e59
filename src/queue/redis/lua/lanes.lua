-- Part of scripts that touch lanes: a lane's record. Each run reads a lane once and writes it once: `flush`, in
-- `refresh.lua`.
local LANES, lanes, touched, marked

-- `shared` are the limits (JSON) that are counted elsewhere, for all tenants: whoever claims asks there.
-- `waiting` counts by priority, `heads` are the moments of the first of each, as far as known. `limits` stays
-- packed until somebody asks (`limits_of`).
local function unpack_lane(id, packed)
  local queue, tenant = parts(id)
  local turn, state, next_at, high, normal, low, high_at, normal_at, low_at, running, jobs, paused, parked,
    reason, in_flight, limits, bound, first, empty, shared = cmsgpack.unpack(packed)
  return {
    id = id, queue = queue, tenant = tenant, turn = turn, placed = turn, state = state, next_at = next_at,
    waiting = { high, normal, low }, heads = { high_at, normal_at, low_at }, running = running, jobs = jobs,
    paused = paused, parked = parked, reason = reason, in_flight = in_flight, limits = limits, bound = bound,
    first = first, empty = empty, shared = shared,
  }
end

local function pack_lane(lane)
  local waiting, heads = lane.waiting, lane.heads
  return cmsgpack.pack(lane.turn, lane.state, lane.next_at, waiting[1], waiting[2], waiting[3], heads[1],
    heads[2], heads[3], lane.running, lane.jobs, lane.paused, lane.parked, lane.reason, lane.in_flight,
    lane.limits, lane.bound, lane.first, lane.empty, lane.shared)
end

-- Reads these lanes, as far as they are not known.
local function load_lanes(ids)
  local missing = {}
  for _, id in ipairs(ids) do
    if lanes[id] == nil then
      lanes[id] = false
      missing[#missing + 1] = id
    end
  end
  for i, packed in ipairs(values_of(LANES, missing)) do
    lanes[missing[i]] = packed and unpack_lane(missing[i], packed)
  end
end

local function lane_of(id)
  local lane = lanes[id]
  if lane == nil then
    local packed = redis.call('HGET', LANES, id)
    lane = packed and unpack_lane(id, packed)
    lanes[id] = lane
  end
  return lane or nil
end

-- The lane is written in the end.
local function mark(lane)
  marked[lane.id] = lane
end

-- The lane is looked at again in the end, and written.
local function touch(lane)
  touched[lane.id], marked[lane.id] = lane, lane
end

local PRIORITIES = { [0] = '0', '1', '2' }

local function waits(lane, priority)
  return key('waiting', lane.id, PRIORITIES[priority])
end

local function waiting(lane)
  return lane.waiting[1] + lane.waiting[2] + lane.waiting[3]
end

-- The last turn that each queue gave, and how many lanes came to each queue of a tenant, in this run.
local turns_given, came

local function next_turns(queue, count)
  local last = turns_given[queue] or redis.call('HGET', key('turns'), queue) or 0
  turns_given[queue] = last + count
  return last + count
end

-- A lane is new; its queue and its tenant may be.
local function count_lane(queue, tenant, turn)
  local name = queue .. SEP .. tenant
  if not came[name] then
    redis.call('HSETNX', key('queues'), queue, 0)
    redis.call('HSETNX', key('tenants', queue), tenant, turn)
  end
  came[name] = (came[name] or 0) + 1
end

table.insert(begins, function()
  LANES, lanes, touched, marked = key('lanes'), {}, {}, {}
  turns_given, came = {}, {}
end)

table.insert(endings, function()
  for queue, last in pairs(turns_given) do redis.call('HSET', key('turns'), queue, whole(last)) end
  for name, count in pairs(came) do redis.call('HINCRBY', key('crowd'), name, count) end
end)

-- Writes a policy; what the lane drew on before is let go.
local function set_policy(lane, text)
  unbind(lane)
  local policy = cjson.decode(text)
  lane.in_flight = policy.in_flight ~= cjson.null and policy.in_flight or false
  local limits, shared = {}, {}
  for _, limit in ipairs(policy.limits) do
    if limit.shared then
      table.insert(shared, limit)
    else
      table.insert(limits, { limit.bucket, limit.label, limit.count, limit.window_ms })
    end
  end
  set_limits(lane, limits)
  lane.bound = true
  lane.shared = shared[1] and cjson.encode(shared) or false
  put('HSET', key('policies'), lane.id, text)
  bind(lane)
end

-- The lane, made at the end of the line if it is new. `policy` holds for one that has none yet.
local function ensure_lane(id, policy)
  local lane = lane_of(id)
  if not lane then
    local queue, tenant = parts(id)
    local turn = next_turns(queue, 1)
    lane = { id = id, queue = queue, tenant = tenant, turn = turn, placed = turn,
      state = 'idle', next_at = false, waiting = { 0, 0, 0 }, heads = { false, false, false }, running = 0,
      jobs = 0, paused = false, parked = false, reason = false, in_flight = false, limits = '',
      bound = false, first = false, empty = false, shared = false }
    lanes[id] = lane
    touch(lane)
    put('ZADD', key('lane_ids'), '0', id)
    count_lane(queue, tenant, turn)
  end
  if policy and not lane.bound then
    set_policy(lane, policy)
    touch(lane)
  end
  return lane
end
