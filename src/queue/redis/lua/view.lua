-- Part of scripts that read: a job and a lane as JSON.
local function hold_of(lane)
  local till, reason = held(lane)
  return { till = till, reason = reason, full = seats(lane) == 0, paused = lane.paused,
    queue_paused = redis.call('HGET', key('queues'), lane.queue) == '1' }
end

local holds = {}
local function hold_of_job(job)
  if job[STATE] ~= 'waiting' then return nil end
  holds[job[LANE]] = holds[job[LANE]] or hold_of(lane_of(job[LANE]))
  return holds[job[LANE]]
end

-- The attempts, oldest first, each {number, begun, ended, outcome, error, worker}.
local function attempts_of(job)
  local all = job[PAST] and { cmsgpack.unpack(job[PAST]) } or {}
  if job[BEGUN_AT] then
    all[#all + 1] = { job[BEGUN], job[BEGUN_AT], job[ENDED_AT], job[OUTCOME], job[TOLD], job[WORKER] }
  end
  for _, attempt in ipairs(all) do
    for i = 3, 5 do attempt[i] = attempt[i] or cjson.null end
  end
  return all[1] and all
end

-- Jobs as {JSON of their state and of what holds their lane back, JSON of their fixed part}.
local function views_of(ids)
  local texts, views = values_of(JOBS, ids), {}
  load_states(ids)
  for number, id in ipairs(ids) do
    local text = texts[number]
    if text then
      local s = submitted(text)
      local job = known[id] or untouched(id, text)
      views[#views + 1] = { cjson.encode({
        id = id, state = job[STATE], lane = job[LANE], priority = job[PRIORITY],
        run_at = tonumber(job[RUN_AT]), wait = job[WAIT] or 'turn', reason = job[REASON] or nil,
        created_at = s.created_at, attempt = job[ATTEMPT], crashes = job[CRASHES],
        version = job[VERSION], cursor = job[CURSOR] or nil, result = job[RESULT] or nil,
        skipped = job[SKIPPED] or nil, error = job[ERROR] or nil,
        cancelled_by = job[CANCELLED_BY] or nil, cancel_requested = job[CANCEL_REQUESTED] or nil,
        retryable = job[RETRYABLE] or nil, started_at = job[STARTED_AT] or nil,
        completed_at = job[COMPLETED_AT] or nil, attempts = attempts_of(job) or nil,
        hold = hold_of_job(job),
      }), s.fixed }
    end
  end
  return views
end
