-- Names jobs whose lease ran out, for the judge; nothing is written.
--
-- KEYS[1] the shard
-- ARGV[1] the time
-- ARGV[2] how many at most
--
-- Gives {time, job…}, each job {id, fence, tenant, worker, attempt, attempts it may have, crashes,
-- due_at, 1 if a cancel was asked for}.
local reply = { now }
for _, id in ipairs(redis.call('ZRANGEBYSCORE', key('leases'), '-inf', now, 'LIMIT', 0, tonumber(ARGV[2]))) do
  local job = load_job(id)
  local _, tenant = parts(job.lane)
  reply[#reply + 1] = { id, job.fence, tenant, job.worker, job.attempt, job.max_attempts, job.crashes,
    job.due_at, job.cancel_requested and 1 or 0 }
end
return reply
