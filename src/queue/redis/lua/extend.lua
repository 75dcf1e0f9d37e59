-- Renews leases. A lease is never made shorter: whoever asked for more was promised more.
--
-- KEYS[1] the shard
-- ARGV[1] the time
-- ARGV[2] the lease, from now (ms)
-- ARGV[3…] pairs of id and fence
--
-- Gives for each 'held', 'cancel' (held, and to be cancelled) or 'lost'.
local till = now + tonumber(ARGV[2])
local ids, reply, together = {}, {}, {}
for at = 3, #ARGV, 2 do ids[#ids + 1] = ARGV[at] end
load_jobs(ids)
for number, id in ipairs(ids) do
  local job = known[id]
  if job and job.state == 'processing' and job.fence == tonumber(ARGV[number * 2 + 2]) then
    if job.member then
      local lease = lease_of(job)
      together[lease] = together[lease] or {}
      table.insert(together[lease], job)
    else
      redis.call('ZADD', key('leases'), 'GT', till, id)
    end
    reply[number] = job.cancel_requested and 'cancel' or 'held'
  else
    reply[number] = 'lost'
  end
end
-- One lease holds all that were claimed together; whoever renews it for some alone parts them.
for lease, jobs in pairs(together) do
  local member = jobs[1].member
  if held_in(take_of(member.head, member.first)) == #jobs then
    redis.call('ZADD', key('leases'), 'GT', till, lease)
  else
    for _, job in ipairs(jobs) do
      save_job(job)
      redis.call('ZADD', key('leases'), 'GT', till, job.id)
    end
  end
end
write()
publish()
return reply
