-- Renews leases. A lease is never made shorter: whoever asked for more was promised more.
--
-- KEYS[1] the shard
-- ARGV[1] the time
-- ARGV[2] the lease, from now (ms)
-- ARGV[3…] pairs of id and fence
--
-- Gives for each 'held', 'cancel' (held, and to be cancelled) or 'lost'.
local till = now + tonumber(ARGV[2])
local reply = {}
for at = 3, #ARGV, 2 do
  local job = load_job(ARGV[at])
  if job and job.state == 'processing' and job.fence == tonumber(ARGV[at + 1]) then
    redis.call('ZADD', key('leases'), 'GT', till, job.id)
    reply[#reply + 1] = job.cancel_requested and 'cancel' or 'held'
  else
    reply[#reply + 1] = 'lost'
  end
end
return reply
