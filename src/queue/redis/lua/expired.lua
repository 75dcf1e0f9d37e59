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

-- The jobs that run under these leases: of one job, or of those that were claimed together.
local function under(leases, most)
  local held = {}
  for _, lease in ipairs(leases) do
    if #held >= most then break end
    if #lease == 26 then
      held[#held + 1] = lease
    else
      local take = take_of(string.sub(lease, 1, 26), string.sub(lease, 27))
      local records = records_of(take.head, take.first, take.last)
      for number = take.first, take.last do
        if #held == most then break end
        if string.sub(record_in(records, number - take.first), 1, 5) == 'p' .. four(take.first) then
          held[#held + 1] = id_in(take.head, number)
        end
      end
    end
  end
  return held
end

local held = under(ids, tonumber(ARGV[2]))
load_jobs(held)
local texts = texts_of(held)
for number, id in ipairs(held) do
  local job = known[id]
  reply[#reply + 1] = { id, job.fence, job.worker, job.attempt, job.crashes, job.due_at or '',
    job.cancel_requested and 1 or 0, texts[number] }
end
return reply
