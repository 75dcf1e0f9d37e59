-- Carries verdicts out, each under its fence.
--
-- KEYS[1] the shard
-- ARGV[1] the time
-- ARGV[2] how many lanes are looked at again for each refund, at most
-- ARGV[3…] a settlement each, JSON: id, fence, state (waiting, completed, failed, cancelled), outcome
--          (for the history), and where they apply: run_at, wait, reason, error, told (the history's
--          error), result, skipped, park_until, park_reason (texts; JSON inside where the port has
--          values), and the flags done, back (the attempt), crashed, keep_error, retryable, refund,
--          vanished (only if the lease is over)
--
-- Gives for each what the job became: its state, or '' when the fence was stale.
local most = tonumber(ARGV[2])

local function is_held(job, ending)
  if not job or job.state ~= 'processing' or job.fence ~= ending.fence then return false end
  return not ending.vanished or tonumber(redis.call('ZSCORE', key('leases'), job.id)) <= now
end

-- A cancel that was asked for is final, whether or not whoever judged had heard of it.
local function after_cancel(ending)
  return { state = 'cancelled', outcome = ending.vanished and 'vanished' or 'cancelled',
    crashed = ending.vanished, keep_error = true, refund = ending.refund }
end

local function end_attempt(job, ending)
  for _, attempt in ipairs(job.attempts) do
    if attempt[1] == job.fence then
      attempt[4], attempt[5], attempt[6] = now, ending.outcome, ending.told or false
    end
  end
end

local function carry_out(job, ending)
  local lane = lane_of(job.lane)
  leave_processing(job, lane)
  end_attempt(job, ending)
  if ending.run_at then job.run_at = math.max(ending.run_at, now) end
  if ending.back then job.attempt = math.max(job.attempt - 1, 0) end
  if ending.crashed then job.crashes = job.crashes + 1 end
  if not ending.keep_error then job.error = ending.error end
  job.wait, job.reason = ending.wait or 'turn', ending.reason
  job.result, job.skipped, job.retryable = ending.result, ending.skipped, ending.retryable
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

local reply = {}
for at = 3, #ARGV do
  local ending = cjson.decode(ARGV[at])
  local job = load_job(ending.id)
  reply[at - 2] = ''
  if is_held(job, ending) then
    if job.cancel_requested and not ending.done then ending = after_cancel(ending) end
    carry_out(job, ending)
    reply[at - 2] = ending.state
  end
end
finish()
return reply
