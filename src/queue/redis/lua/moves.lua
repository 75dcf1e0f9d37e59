-- Part of scripts that move jobs: coming to a state, and leaving it.
local function waits(job)
  return key('waiting', job.lane, job.priority)
end

local function enter_waiting(job, lane)
  job.state = 'waiting'
  redis.call('ZADD', waits(job), job.run_at, ticket(job))
  if job.run_at > now then redis.call('ZADD', key('scheduled', lane.queue), job.run_at, ticket(job)) end
  lane.waiting = lane.waiting + 1
  tally(lane.queue, 'waiting', 1)
  touch(lane)
end

local function leave_waiting(job, lane)
  redis.call('ZREM', waits(job), ticket(job))
  if job.run_at > now then redis.call('ZREM', key('scheduled', lane.queue), ticket(job)) end
  lane.waiting = lane.waiting - 1
  tally(lane.queue, 'waiting', -1)
  touch(lane)
end

local function leave_processing(job, lane)
  redis.call('ZREM', key('leases'), job.id)
  lane.running = lane.running - 1
  tally(lane.queue, 'processing', -1)
  touch(lane)
end

local function unique_key(job, lane)
  return key('unique', lane.tenant, job.unique)
end

-- The job has its final state: it is kept for those who ask, and its twin may come.
local function enter_final(job, lane, state)
  job.state, job.completed_at = state, now
  redis.call('ZADD', key('final', state), now, ticket(job))
  if state == 'failed' then
    redis.call('ZADD', key('dead', lane.tenant), now, ticket(job))
    redis.call('ZINCRBY', key('crowded'), 1, lane.tenant)
  end
  if job.unique then redis.call('DEL', unique_key(job, lane)) end
  tally(lane.queue, state, 1)
  touch(lane)
end

local function leave_final(job, lane)
  redis.call('ZREM', key('final', job.state), ticket(job))
  if job.state == 'failed' then
    redis.call('ZREM', key('dead', lane.tenant), ticket(job))
    if tonumber(redis.call('ZINCRBY', key('crowded'), -1, lane.tenant)) <= 0 then
      redis.call('ZREM', key('crowded'), lane.tenant)
    end
  end
  tally(lane.queue, job.state, -1)
end

-- Deletes a finished job.
local function remove(job, lane)
  leave_final(job, lane)
  redis.call('DEL', job_key(job.id))
  redis.call('ZREM', key('ids'), job.id)
  lane.jobs = lane.jobs - 1
  change()
  touch(lane)
end

-- Gives back what the job's claim drew. Lanes that draw on the same are looked at again, as many as
-- `most`: there is one more permit, not one for each of them.
local function refund(job, most)
  for _, bucket in ipairs(job.drawn or {}) do
    local permit = job.id .. ':' .. string.format('%d', job.fence)
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
  local lane = job and lane_of(job.lane)
  if not lane or lane.tenant ~= tenant then return nil end
  return job, lane
end
