-- Calls a job off: at once while it waits; while it runs, its worker is told.
--
-- KEYS[1] the shard
-- ARGV[1] the time
-- ARGV[2] the tenant
-- ARGV[3] the job's id
-- ARGV[4] who cancels it
--
-- Gives 'at_once', 'requested', the final state that it has already, or '' when there is no such job.
local job, lane = job_of(ARGV[2], ARGV[3])
if not job then return '' end
if job[STATE] == 'waiting' then
  leave_waiting(job, lane)
  set(job, CANCELLED_BY, ARGV[4])
  enter_final(job, lane, 'cancelled')
  save_job(job)
  finish()
  return 'at_once'
end
if job[STATE] ~= 'processing' then return job[STATE] end
if not job[CANCEL_REQUESTED] then
  set(job, CANCELLED_BY, ARGV[4])
  set(job, CANCEL_REQUESTED, true)
  save_job(job)
  write()
  publish()
end
return 'requested'
