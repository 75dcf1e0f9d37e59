-- Puts a dead or cancelled job back in its lane, with all its attempts and no crashes.
--
-- KEYS[1] the shard
-- ARGV[1] the time
-- ARGV[2] the tenant
-- ARGV[3] the job's id
--
-- Gives 'done', 'not_applicable' (another state, or a twin took its place), or 'unknown'.
local job, lane = job_of(ARGV[2], ARGV[3])
if not job then return 'unknown' end
if job.state ~= 'failed' and job.state ~= 'cancelled' then return 'not_applicable' end
if IS_UNIQUE[string.byte(job.letter)] then
  if redis.call('SET', unique_key(job, lane), job.id, 'NX') == false then return 'not_applicable' end
end
leave_final(job, lane)
job.run_at, job.due_at, job.wait, job.reason = now_text, now, nil, nil
job.attempt, job.crashes, job.retryable, job.cancelled_by, job.cancel_requested = 0, 0, nil, nil, nil
enter_waiting(job, lane)
save_job(job)
finish()
return 'done'
