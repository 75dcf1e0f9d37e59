-- Part of scripts that move jobs: coming to a state, and leaving it.

local function enter_waiting(job, lane)
  local name = ticket(job)
  job.state, job.since = 'waiting', now
  put('ZADD', waits(lane, job.priority), '0', name)
  if tonumber(job.run_at) > now then put('ZADD', key('scheduled', lane.queue), '0', name) end
  count_waiting(lane, job.priority + 1, job.run_at, 1)
  touch(lane)
end

local function leave_waiting(job, lane)
  local index = job.priority + 1
  if job.member then
    split_bundle(job, waits(lane, job.priority))
  else
    local name = ticket(job)
    put('ZREM', waits(lane, job.priority), name)
    if tonumber(job.run_at) > now then put('ZREM', key('scheduled', lane.queue), name) end
  end
  lane.heads[index], lane.waiting[index] = false, lane.waiting[index] - 1
  tally(lane.queue, 'waiting', -1)
  touch(lane)
end

-- So many jobs of the lane run no more.
local function count_ended(lane, count)
  -- A lane that was full has room again.
  if seats(lane) == 0 then touch(lane) else mark(lane) end
  lane.running = lane.running - count
  tally(lane.queue, 'processing', -count)
end

local function unique_key(job, lane)
  local s = submitted(redis.call('HGET', JOBS, job.id))
  return key('unique', lane.tenant, s.unique)
end

-- The job has its final state: it is kept for those who ask, and its twin may come.
local function enter_final(job, lane, state)
  job.state, job.since = state, now
  if state == 'completed' then
    put('RPUSH', key('completed'), job.id)
  else
    put('ZADD', key('final', state), now_text, job.id)
  end
  if state == 'failed' then
    redis.call('ZADD', key('dead', lane.tenant), now, job.seq .. job.id)
    redis.call('ZINCRBY', key('crowded'), 1, lane.tenant)
  end
  if IS_UNIQUE[string.byte(job.letter)] then redis.call('DEL', unique_key(job, lane)) end
  if IS_TOLD[string.byte(job.letter)] then put('ZADD', key('untold'), now_text, job.id) end
  tally(lane.queue, state, 1)
end

local function leave_final(job, lane)
  -- An end that is over is not told any more.
  if IS_TOLD[string.byte(job.letter)] then put('ZREM', key('untold'), job.id) end
  -- The list of those that completed is in the order of time; what is gone from there is passed over.
  if job.state ~= 'completed' then put('ZREM', key('final', job.state), job.id) end
  if job.state == 'failed' then
    redis.call('ZREM', key('dead', lane.tenant), job.seq .. job.id)
    if tonumber(redis.call('ZINCRBY', key('crowded'), -1, lane.tenant)) <= 0 then
      redis.call('ZREM', key('crowded'), lane.tenant)
    end
  end
  tally(lane.queue, job.state, -1)
end

-- Deletes finished jobs.
local function remove(ids)
  for _, id in ipairs(ids) do
    local job = known[id]
    local lane = lane_of(job.lane)
    leave_final(job, lane)
    if not job.member then
      put('HDEL', JOBS, id)
      put('HDEL', STATES, id)
      put('ZREM', key('ids'), id)
    end
    drop_member(job)
    if IS_APART[string.byte(job.letter)] then redis.call('UNLINK', key('payload', id)) end
    lane.jobs = lane.jobs - 1
    mark(lane)
  end
  if #ids > 0 then change() end
end

-- Deletes those of a bundle that completed, out of these records from a number on; answers how many.
local function remove_range(head, from, records)
  local left, count, counts = {}, 0, {}
  for place = 0, #records / RECORD - 1 do
    local record = record_in(records, place)
    local letter = string.sub(record, 1, 1)
    if letter == 'c' or letter == 'r' then
      local lane = part_with(take_of(head, string.sub(record, 2, 5)), from + place)
      counts[lane] = (counts[lane] or 0) + 1
      if letter == 'r' then put('HDEL', key('results'), id_in(head, from + place)) end
      record, count = 'g' .. string.sub(record, 2), count + 1
    end
    left[place + 1] = record
  end
  if count == 0 then return 0 end
  set_records(head, from, table.concat(left))
  for id, by in pairs(counts) do
    local lane = lane_of(id)
    lane.jobs = lane.jobs - by
    mark(lane)
    tally(lane.queue, 'completed', -by)
  end
  change()
  shrink(head, count)
  return count
end

-- Gives back what the job's claim drew at that moment. Lanes that draw on the same are looked at again, as many as
-- `most`: there is one more permit, not one for each of them.
local function refund(job, at, most)
  for _, bucket in ipairs(job.drawn or {}) do
    local permit = job.id .. ':' .. whole(job.fence)
    if give_back(bucket, permit, at) then
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
