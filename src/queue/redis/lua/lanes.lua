-- Part of scripts that touch lanes: a lane's hash, and what follows when it changes.
--
-- A lane is idle (nothing can be claimed until something happens), later (something may be claimed
-- from `next_at` on) or ready. Each run loads a lane once and writes it once, in `flush`.
local met, touched = {}, {}

local function lane_key(id)
  return key('lane', id)
end

local COLUMNS = {
  'turn', 'policy', 'paused', 'parked', 'reason', 'state', 'next_at', 'waiting', 'running', 'jobs',
}

local function lane_of(id)
  if met[id] ~= nil then return met[id] or nil end
  local row = redis.call('HMGET', lane_key(id), unpack(COLUMNS))
  met[id] = false
  if not row[1] then return nil end
  local queue, tenant, name = parts(id)
  met[id] = {
    id = id, queue = queue, tenant = tenant, name = name,
    turn = tonumber(row[1]), policy = row[2] and cjson.decode(row[2]) or nil, policy_text = row[2],
    paused = row[3] == '1', parked = tonumber(row[4]), reason = row[5] ~= '' and row[5] or nil,
    state = row[6] or 'idle', next_at = tonumber(row[7]), waiting = tonumber(row[8]) or 0,
    running = tonumber(row[9]) or 0, jobs = tonumber(row[10]) or 0,
  }
  return met[id]
end

local function touch(lane)
  touched[lane.id] = lane
end

local function next_turns(queue, count)
  return redis.call('HINCRBY', key('turns'), queue, count)
end

-- Writes a policy; what the lane drew on before is let go.
local function set_policy(lane, text)
  unbind(lane.id, lane.tenant, lane.policy)
  lane.policy, lane.policy_text = cjson.decode(text), text
  redis.call('HSET', lane_key(lane.id), 'policy', text)
  bind(lane.id, lane.tenant, lane.policy)
end

-- The lane, made at the end of the line if it is new. `policy` holds for one that has none yet.
local function ensure_lane(id, policy)
  local lane = lane_of(id)
  if not lane then
    local queue, tenant, name = parts(id)
    local turn = next_turns(queue, 1)
    lane = { id = id, queue = queue, tenant = tenant, name = name, turn = turn, paused = false,
      state = 'idle', waiting = 0, running = 0, jobs = 0 }
    met[id] = lane
    redis.call('HSET', lane_key(id), 'turn', turn, 'state', 'idle', 'waiting', 0)
    redis.call('ZADD', key('lanes'), 0, id)
    redis.call('HSETNX', key('queues'), queue, 0)
    redis.call('HSETNX', key('tenants', queue), tenant, turn)
    redis.call('HINCRBY', key('crowd'), queue .. SEP .. tenant, 1)
  end
  if policy and not lane.policy then set_policy(lane, policy) end
  touch(lane)
  return lane
end

local function seats(lane)
  local most = lane.policy and lane.policy.in_flight
  if not most or most == cjson.null then return math.huge end
  return math.max(most - lane.running, 0)
end

-- Until when the lane is held back, and why (JSON), by a limit or by somebody; nothing when not.
local function held(lane)
  local till, reason
  for _, limit in ipairs(lane.policy and lane.policy.limits or {}) do
    local at = opens_at(lane.tenant, limit)
    if at > now and (not till or at > till) then
      till, reason = at, cjson.encode({ Limit = limit.label })
    end
  end
  local parked = lane.parked
  if parked and parked > now and (not till or till <= parked) then
    till, reason = parked, lane.reason
  end
  return till, reason
end

-- The moment at which the lane's first job runs.
local function first_run(lane)
  if lane.waiting == 0 then return nil end
  local first
  for priority = 0, 2 do
    local head = redis.call('ZRANGE', key('waiting', lane.id, priority), 0, 0, 'WITHSCORES')
    local at = tonumber(head[2])
    if at and (not first or at < first) then first = at end
  end
  return first
end

local function leave_ready(lane)
  local ready = key('ready', lane.queue, lane.tenant)
  redis.call('ZREM', ready, lane.id)
  if redis.call('EXISTS', ready) == 0 then
    redis.call('ZREM', key('ready', lane.queue), lane.tenant)
  else
    -- The tenant may have been served by this lane.
    local turn = redis.call('HGET', key('tenants', lane.queue), lane.tenant)
    redis.call('ZADD', key('ready', lane.queue), turn, lane.tenant)
  end
end

local function enter_ready(lane)
  redis.call('ZADD', key('ready', lane.queue, lane.tenant), lane.turn, lane.id)
  local turn = redis.call('HGET', key('tenants', lane.queue), lane.tenant)
  redis.call('ZADD', key('ready', lane.queue), turn, lane.tenant)
end

-- Works out anew whether something in the lane may be claimed; answers the first such moment.
local function refresh(lane)
  local first, state, at = first_run(lane), 'idle', nil
  if first then
    redis.call('ZADD', key('heads', lane.queue), first, lane.id)
  else
    redis.call('ZREM', key('heads', lane.queue), lane.id)
  end
  if first and not lane.paused and seats(lane) > 0 then
    at = math.max(first, held(lane) or 0)
    state = at <= now and 'ready' or 'later'
  end
  if lane.state == 'ready' and state ~= 'ready' then leave_ready(lane) end
  if lane.state == 'later' and state ~= 'later' then
    redis.call('ZREM', key('later', lane.queue), lane.id)
  end
  if state == 'ready' then
    enter_ready(lane)
    if lane.state ~= 'ready' then wake(lane.queue) end
    at = now
  elseif state == 'later' then
    redis.call('ZADD', key('later', lane.queue), at, lane.id)
    if lane.state == 'idle' or (lane.state == 'later' and at < lane.next_at) then wake(lane.queue) end
  end
  lane.state, lane.next_at = state, state == 'later' and at or nil
  return at
end

-- Writes what this run did to a lane.
local function save_lane(lane)
  redis.call('HSET', lane_key(lane.id), 'turn', lane.turn, 'paused', lane.paused and 1 or 0,
    'parked', lane.parked or '', 'reason', lane.reason or '', 'state', lane.state,
    'next_at', lane.next_at or '', 'waiting', lane.waiting, 'running', lane.running,
    'jobs', lane.jobs)
  if lane.jobs == 0 then
    redis.call('ZADD', key('empty'), lane.paused and '+inf' or lane.parked or 0, lane.id)
  else
    redis.call('ZREM', key('empty'), lane.id)
  end
end

local function flush()
  local again = touched
  touched = {}
  for _, lane in pairs(again) do
    refresh(lane)
    save_lane(lane)
  end
end

-- Puts a lane to sleep, unless the moment is past or it sleeps longer anyway.
local function park(lane, till, reason)
  if till > math.max(lane.parked or 0, now) then
    lane.parked, lane.reason = till, reason
  end
  change()
  touch(lane)
end

local function finish()
  flush()
  publish()
end
