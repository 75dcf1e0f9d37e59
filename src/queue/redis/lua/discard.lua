-- Deletes a finished job.
--
-- KEYS[1] the shard
-- ARGV[1] the time
-- ARGV[2] the tenant
-- ARGV[3] the job's id
--
-- Gives 'done', 'not_applicable' while it is not finished, or 'unknown'.
local job = job_of(ARGV[2], ARGV[3])
if not job then return 'unknown' end
if job.state == 'waiting' or job.state == 'processing' then return 'not_applicable' end
remove({ job.id })
finish()
return 'done'
