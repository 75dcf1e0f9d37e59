-- Takes jobs that may run now, in turns: tenants of the queue, lanes of a tenant, jobs of a lane. One
-- turn gives one job; whoever was served goes to the back.
--
-- KEYS[1] the shard
-- ARGV[1] the time
-- ARGV[2] the queue
-- ARGV[3] the worker
-- ARGV[4] how many jobs at most
-- ARGV[5] the lease (ms)
-- ARGV[6] how many lanes whose moment has come are woken at most, and how many promises corrected
--
-- Gives {time, next moment or '', job…}, each job {id, fence, lane id, fixed, payload, attempt,
-- attempts it may have, crashes, created_at, due_at, lease_until, cursor or ''}.
local queue, worker, max = ARGV[2], ARGV[3], tonumber(ARGV[4])
local lease, most = tonumber(ARGV[5]), tonumber(ARGV[6])
local HISTORY = 50

-- A worker's queue is known from its first claim on, so that it can be paused.
redis.call('HSETNX', key('queues'), queue, 0)
if redis.call('HGET', key('queues'), queue) == '1' then return { now, '' } end
for _, id in ipairs(redis.call('ZRANGEBYSCORE', key('later', queue), '-inf', now, 'LIMIT', 0, most)) do
  touch(lane_of(id))
end
flush()

local taken = walk(queue, max)
local turn = #taken > 0 and next_turns(queue, #taken) - #taken
local reply, tenants = { now, '' }, {}
for number, take in ipairs(taken) do
  local lane = take.lane
  lane.turn = turn + number
  tenants[lane.tenant] = lane.turn
  local record = redis.call('HMGET', job_key(id_of(take.ticket)), 'state', 'fixed', 'body')
  local job = unpack_job(id_of(take.ticket), record[1])
  leave_waiting(job, lane)
  job.state, job.wait, job.reason = 'processing', 'turn', nil
  job.attempt, job.fence, job.worker = job.attempt + 1, job.fence + 1, worker
  job.started_at = job.started_at or now
  job.attempts = job.attempts or {}
  table.insert(job.attempts, { job.fence, job.attempt, now, false, false, false, worker })
  if #job.attempts > HISTORY then table.remove(job.attempts, 1) end
  job.drawn = next(take.buckets) and take.buckets or nil
  for _, bucket in ipairs(take.buckets) do
    draw(bucket, job.id .. ':' .. string.format('%d', job.fence))
  end
  lane.running = lane.running + 1
  tally(queue, 'processing', 1)
  redis.call('ZADD', key('leases'), now + lease, job.id)
  save_job(job)
  reply[#reply + 1] = { job.id, job.fence, job.lane, record[2], record[3], job.attempt, job.max_attempts,
    job.crashes, job.created_at, job.due_at, now + lease, job.cursor or '' }
end
for tenant, last in pairs(tenants) do redis.call('HSET', key('tenants', queue), tenant, last) end
flush()
reply[2] = next_moment(queue, most) or ''
finish()
return reply
