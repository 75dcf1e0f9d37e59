-- Stores how far a running job has got.
--
-- KEYS[1] the shard
-- ARGV[1] the time
-- ARGV[2] the job's id
-- ARGV[3] the fence
-- ARGV[4] the cursor (JSON)
--
-- Gives 1, or 0 when the fence is stale.
local job = load_job(ARGV[2])
if not job or job.state ~= 'processing' or job.fence ~= tonumber(ARGV[3]) then return 0 end
job.cursor = ARGV[4]
save_job(job)
write()
publish()
return 1
