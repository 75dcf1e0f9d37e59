-- Carries verdicts out, each under its fence.
--
-- KEYS[1] the shard
-- ARGV[1] the time
-- ARGV[2] how many lanes are looked at again for each refund, at most
-- ARGV[3…] a settlement each: id (26), fence (10 digits), and what becomes of the job: 'C' and its
--          result (JSON) for one that completed, or else JSON: state (waiting, completed, failed,
--          cancelled), outcome (for the history), and where they apply: run_at, wait, reason, error,
--          told (the history's error), result, skipped, park_until, park_reason (texts; JSON inside
--          where the port has values), and the flags done, back (the attempt), crashed, keep_error,
--          retryable, refund, unseen (the attempt did not happen), vanished (only if the lease is
--          over). No id is there twice.
--
-- Gives a letter for each: that of the state which the job has now (see `records`), or '-' when the
-- fence was stale.
local most = tonumber(ARGV[2])
local byte, sub = string.byte, string.sub
local ORDER = 37
local DONE = byte('C')
local ids, reply = {}, {}
for at = 3, #ARGV do ids[at - 2] = sub(ARGV[at], 1, 26) end

-- Most jobs complete, and nothing more is to be done for them than to say so: the front of their state
-- is written anew and their result put behind it. Answers those that are left.
local function complete()
  local states, ended, counts, left, done = {}, {}, {}, {}, 0
  local front, lane, part
  local texts = values_of(STATES, ids)
  for number = 1, #ids do
    local text, order, letter = texts[number], ARGV[number + 2], nil
    if text and byte(order, ORDER) == DONE and sub(text, 28, 38) == 'p' .. sub(order, 27, 36) then
      letter = byte(text, 77)
    end
    if letter == INSIDE or letter == APART then
      front = front or version_text() .. now_text .. 'c'
      local id, result = ids[number], #order > ORDER and cmsgpack.pack(sub(order, ORDER + 1)) or ''
      done = done + 1
      states[2 * done - 1], ended[done], reply[number] = id, id, 'c'
      states[2 * done] = front .. sub(text, 29) .. result
      if not part or sub(text, LAST - 1, LAST - 2 + #part) ~= part then
        lane = lane_in(text)
        part = lane_part(lane)
      end
      counts[lane] = (counts[lane] or 0) + 1
    else
      left[#left + 1] = number
    end
  end
  put_all('HSET', STATES, states)
  put_all('RPUSH', key('completed'), ended)
  put_all('ZREM', key('leases'), ended)
  for id, count in pairs(counts) do
    local of = lane_of(id)
    count_ended(of, count)
    tally(of.queue, 'completed', count)
  end
  return left
end

local function is_held(job, fence, ending)
  if not job or job.state ~= 'processing' or job.fence ~= fence then return false end
  return not ending.vanished or tonumber(redis.call('ZSCORE', key('leases'), job.id)) <= now
end

local function ending_of(order)
  if byte(order, ORDER) ~= DONE then return cjson.decode(sub(order, ORDER)) end
  local result = #order > ORDER and sub(order, ORDER + 1) or 'null'
  return { state = 'completed', outcome = 'completed', result = result, done = true }
end

-- A cancel that was asked for is final, whether or not whoever judged had heard of it.
local function after_cancel(ending)
  return { state = 'cancelled', outcome = ending.vanished and 'vanished' or 'cancelled',
    crashed = ending.vanished, keep_error = true, refund = ending.refund }
end

-- Makes the attempt before the last one the last again.
local function take_attempt_back(job)
  local past = job.past and { cmsgpack.unpack(job.past) } or {}
  local last = table.remove(past) or {}
  job.begun, job.begun_at, job.ended_at, job.outcome, job.told, job.worker = unpack(last, 1, 6)
  job.past, job.pasts = past[1] and cmsgpack.pack(unpack(past)), #past
  if not job.begun_at then job.started_at = nil end
end

local function carry_out(job, ending)
  local lane = lane_of(job.lane)
  put('ZREM', key('leases'), job.id)
  count_ended(lane, 1)
  if ending.run_at then job.run_at = moment(math.max(ending.run_at, now)) end
  if ending.back then job.attempt = math.max(job.attempt - 1, 0) end
  if ending.crashed then job.crashes = job.crashes + 1 end
  if not ending.keep_error then job.error = ending.error end
  job.wait, job.reason, job.result, job.skipped = ending.wait, ending.reason, ending.result, ending.skipped
  job.retryable = ending.retryable
  if ending.unseen then
    take_attempt_back(job)
  else
    job.outcome, job.told, job.ended_at = ending.outcome, ending.told, now
  end
  if ending.state == 'waiting' then
    enter_waiting(job, lane)
  else
    enter_final(job, lane, ending.state)
  end
  if ending.refund then refund(job, most) end
  job.drawn = nil
  if ending.park_until then park(lane, ending.park_until, ending.park_reason) end
  save_job(job)
end

local left, loaded = complete(), {}
for i, number in ipairs(left) do loaded[i] = ids[number] end
load_jobs(loaded)
for _, number in ipairs(left) do
  local job, fence = known[ids[number]], tonumber(sub(ARGV[number + 2], 27, 36))
  local ending = ending_of(ARGV[number + 2])
  reply[number] = '-'
  if is_held(job, fence, ending) then
    if job.cancel_requested and not ending.done then ending = after_cancel(ending) end
    carry_out(job, ending)
    reply[number] = LETTERS[ending.state]
  end
end
finish()
return table.concat(reply)
