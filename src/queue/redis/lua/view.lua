-- Part of scripts that read: a job and a lane as JSON.
local function hold_of(lane)
  local till, reason = held(lane)
  return { till = till, reason = reason, full = seats(lane) == 0, paused = lane.paused,
    queue_paused = redis.call('HGET', key('queues'), lane.queue) == '1' }
end

local holds = {}
local function view_of(id)
  local record = redis.call('HMGET', job_key(id), 'state', 'fixed')
  local job = unpack_job(id, record[1])
  if not job then return nil end
  for _, attempt in ipairs(job.attempts or {}) do
    for i = 4, 6 do attempt[i] = attempt[i] or cjson.null end
  end
  if job.state == 'waiting' then
    holds[job.lane] = holds[job.lane] or hold_of(lane_of(job.lane))
    job.hold = holds[job.lane]
  end
  return { cjson.encode(job), record[2] }
end
