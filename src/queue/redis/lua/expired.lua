-- Names jobs whose lease ran out, for the judge; nothing is written.
--
-- KEYS[1] the shard
-- ARGV[1] the time
-- ARGV[2] how many at most
--
-- Gives {time, job…}, each job {id, fence, worker, attempt, crashes, due_at or '', 1 if a cancel was
-- asked for, what was submitted}.
local reply = { now }
local ids = redis.call('ZRANGEBYSCORE', key('leases'), '-inf', now, 'LIMIT', 0, tonumber(ARGV[2]))
local texts = values_of(JOBS, ids)
load_jobs(ids)
for number, id in ipairs(ids) do
  local job = known[id]
  reply[#reply + 1] = { id, job.fence, job.worker, job.attempt, job.crashes, job.due_at or '',
    job.cancel_requested and 1 or 0, texts[number] }
end
return reply
