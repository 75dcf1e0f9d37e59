-- Renews leases. A lease is never made shorter: whoever asked for more was promised more.
--
-- KEYS[1] the shard
-- ARGV[1] the time
-- ARGV[2] the lease, from now (ms)
-- ARGV[3…] pairs of id and fence
--
-- Gives for each 'held', 'cancel' (held, and to be cancelled) or 'lost'.
local till = now + tonumber(ARGV[2])
local ids, reply = {}, {}
for at = 3, #ARGV, 2 do ids[#ids + 1] = ARGV[at] end
load_jobs(ids)
for number, id in ipairs(ids) do
  local job = known[id]
  if job and job.state == 'processing' and job.fence == tonumber(ARGV[number * 2 + 2]) then
    redis.call('ZADD', key('leases'), 'GT', till, id)
    reply[number] = job.cancel_requested and 'cancel' or 'held'
  else
    reply[number] = 'lost'
  end
end
return reply
