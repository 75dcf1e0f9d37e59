-- Part of scripts that read: a job and a lane as JSON.
local function hold_of(lane)
  local till, reason = held(lane)
  return { till = till, reason = reason, full = seats(lane) == 0, paused = lane.paused,
    queue_paused = redis.call('HGET', key('queues'), lane.queue) == '1' }
end

local holds
table.insert(begins, function() holds = {} end)
local function hold_of_job(job)
  if job.state ~= 'waiting' then return nil end
  holds[job.lane] = holds[job.lane] or hold_of(lane_of(job.lane))
  return holds[job.lane]
end

-- The attempts, oldest first, each {number, begun, ended, outcome, error, worker}.
local function attempts_of(job)
  local all = job.past and { cmsgpack.unpack(job.past) } or {}
  if job.begun_at then
    all[#all + 1] = { job.begun, job.begun_at, job.ended_at or false, job.outcome or false, job.told or false,
      job.worker }
  end
  for _, attempt in ipairs(all) do
    for i = 3, 5 do attempt[i] = attempt[i] or cjson.null end
  end
  return all[1] and all
end

local FINAL = { completed = true, failed = true, cancelled = true }

-- A job in the words of the port, what its worker alone has to know left out.
local function view_of(job, s)
  return cjson.encode({
    id = job.id, state = job.state, lane = job.lane, priority = job.priority,
    run_at = tonumber(job.run_at), wait = job.wait or 'turn', reason = job.reason,
    created_at = s.created_at, attempt = job.attempt, crashes = job.crashes,
    version = tonumber(job.version), cursor = job.cursor, result = job.result, skipped = job.skipped,
    error = job.error, cancelled_by = job.cancelled_by, cancel_requested = job.cancel_requested,
    retryable = job.retryable, started_at = job.started_at, attempts = attempts_of(job) or nil,
    completed_at = FINAL[job.state] and job.since or nil, hold = hold_of_job(job),
  })
end

-- Jobs as {JSON of their state and of what holds their lane back, JSON of their fixed part}.
local function views_of(ids)
  load_jobs(ids)
  local texts, views = texts_of(ids), {}
  for number, id in ipairs(ids) do
    if texts[number] then
      local s = submitted(texts[number])
      views[#views + 1] = { view_of(known[id], s), s.fixed }
    end
  end
  return views
end
