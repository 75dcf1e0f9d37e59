-- Part of scripts that move jobs: coming to a state, and leaving it.
local function enter_waiting(job, lane)
  local name, index = ticket(job), job[PRIORITY] + 1
  job[STATE] = 'waiting'
  put('ZADD', waits(lane, job[PRIORITY]), 0, name)
  if tonumber(job[RUN_AT]) > now then put('ZADD', key('scheduled', lane.queue), 0, name) end
  local head = lane.heads[index]
  -- An unknown head stays unknown, unless this is the only one.
  if lane.waiting[index] == 0 or (head and job[RUN_AT] < head) then lane.heads[index] = job[RUN_AT] end
  lane.waiting[index] = lane.waiting[index] + 1
  tally(lane.queue, 'waiting', 1)
  touch(lane)
end

local function leave_waiting(job, lane)
  local name, index = ticket(job), job[PRIORITY] + 1
  put('ZREM', waits(lane, job[PRIORITY]), name)
  if tonumber(job[RUN_AT]) > now then put('ZREM', key('scheduled', lane.queue), name) end
  lane.heads[index], lane.waiting[index] = false, lane.waiting[index] - 1
  tally(lane.queue, 'waiting', -1)
  touch(lane)
end

local function leave_processing(job, lane)
  put('ZREM', key('leases'), job[ID])
  -- A lane that was full has room again.
  if seats(lane) == 0 then touch(lane) else mark(lane) end
  lane.running = lane.running - 1
  tally(lane.queue, 'processing', -1)
end

local function unique_key(job, lane)
  return key('unique', lane.tenant, job[UNIQUE])
end

-- The job has its final state: it is kept for those who ask, and its twin may come.
local function enter_final(job, lane, state)
  job[STATE] = state
  set(job, COMPLETED_AT, now)
  put('ZADD', key('final', state), now, job[ID])
  if state == 'failed' then
    redis.call('ZADD', key('dead', lane.tenant), now, job[SEQ] .. job[ID])
    redis.call('ZINCRBY', key('crowded'), 1, lane.tenant)
  end
  if job[UNIQUE] then redis.call('DEL', unique_key(job, lane)) end
  tally(lane.queue, state, 1)
  mark(lane)
end

local function leave_final(job, lane)
  put('ZREM', key('final', job[STATE]), job[ID])
  if job[STATE] == 'failed' then
    redis.call('ZREM', key('dead', lane.tenant), job[SEQ] .. job[ID])
    if tonumber(redis.call('ZINCRBY', key('crowded'), -1, lane.tenant)) <= 0 then
      redis.call('ZREM', key('crowded'), lane.tenant)
    end
  end
  tally(lane.queue, job[STATE], -1)
end

-- Deletes finished jobs.
local function remove(ids)
  local texts = values_of(JOBS, ids)
  for i, id in ipairs(ids) do
    local job = known[id]
    local lane = lane_of(job[LANE])
    leave_final(job, lane)
    put('HDEL', JOBS, id)
    put('HDEL', STATES, id)
    put('ZREM', key('ids'), id)
    if string.sub(texts[i], 40, 40) == 'a' then redis.call('UNLINK', key('payload', id)) end
    lane.jobs = lane.jobs - 1
    mark(lane)
  end
  if #ids > 0 then change() end
end

-- Gives back what the job's claim drew. Lanes that draw on the same are looked at again, as many as
-- `most`: there is one more permit, not one for each of them.
local function refund(job, most)
  for _, bucket in ipairs(job[DRAWN] or {}) do
    local permit = job[ID] .. ':' .. string.format('%d', job[FENCE])
    if redis.call('ZREM', key('permits', bucket), permit) == 1 then
      loosen(bucket)
      for _, id in ipairs(redis.call('SRANDMEMBER', key('drawers', bucket), most)) do
        local lane = lane_of(id)
        if lane and lane.state == 'later' then touch(lane) end
      end
    end
  end
end

-- The job of this id, if the tenant has it, and its lane.
local function job_of(tenant, id)
  local job = load_job(id)
  local lane = job and lane_of(job[LANE])
  if not lane or lane.tenant ~= tenant then return nil end
  return job, lane
end
