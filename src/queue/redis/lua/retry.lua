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
if job[STATE] ~= 'failed' and job[STATE] ~= 'cancelled' then return 'not_applicable' end
if job[UNIQUE] then
  if redis.call('SET', unique_key(job, lane), job[ID], 'NX') == false then return 'not_applicable' end
end
leave_final(job, lane)
job[RUN_AT], job[ATTEMPT], job[CRASHES] = moment(now), 0, 0
for _, field in ipairs({ WAIT, REASON, RETRYABLE, CANCELLED_BY, CANCEL_REQUESTED, COMPLETED_AT }) do
  set(job, field, false)
end
set(job, DUE_AT, now)
enter_waiting(job, lane)
save_job(job)
finish()
return 'done'
