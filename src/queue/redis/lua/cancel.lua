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
if job.state == 'waiting' then
  leave_waiting(job, lane)
  job.cancelled_by = ARGV[4]
  enter_final(job, lane, 'cancelled')
  save_job(job)
  finish()
  return 'at_once'
end
if job.state ~= 'processing' then return job.state end
if not job.cancel_requested then
  job.cancelled_by = ARGV[4]
  job.cancel_requested = true
  save_job(job)
  write()
  publish()
end
return 'requested'
