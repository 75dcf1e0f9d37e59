-- Carries verdicts out, each under its fence.
--
-- KEYS[1] the shard
-- ARGV[1] the time
-- ARGV[2] how many lanes are looked at again for each refund, at most
-- ARGV[3…] a settlement in three: id, fence, and what becomes of the job: 'C' and its result (JSON) for
--          one that completed, or else JSON: state (waiting, completed, failed, cancelled), outcome (for
--          the history), and where they apply: run_at, wait, reason, error, told (the history's error),
--          result, skipped, park_until, park_reason (texts; JSON inside where the port has values), and
--          the flags done, back (the attempt), crashed, keep_error, retryable, refund, vanished (only
--          if the lease is over)
--
-- Gives for each what the job became: its state, or '' when the fence was stale.
local most = tonumber(ARGV[2])

local function is_held(job, fence, ending)
  if not job or job[STATE] ~= 'processing' or job[FENCE] ~= fence then return false end
  return not ending.vanished or tonumber(redis.call('ZSCORE', key('leases'), job[ID])) <= now
end

local function ending_of(order)
  if string.sub(order, 1, 1) ~= 'C' then return cjson.decode(order) end
  return { state = 'completed', outcome = 'completed', result = string.sub(order, 2), done = true }
end

-- A cancel that was asked for is final, whether or not whoever judged had heard of it.
local function after_cancel(ending)
  return { state = 'cancelled', outcome = ending.vanished and 'vanished' or 'cancelled',
    crashed = ending.vanished, keep_error = true, refund = ending.refund }
end

-- What is there already is overwritten, what is not is not made.
local function note(job, field, value)
  if value or job[field] then set(job, field, value) end
end

local function carry_out(job, ending)
  local lane = lane_of(job[LANE])
  leave_processing(job, lane)
  if ending.run_at then job[RUN_AT] = moment(math.max(ending.run_at, now)) end
  if ending.back then job[ATTEMPT] = math.max(job[ATTEMPT] - 1, 0) end
  if ending.crashed then job[CRASHES] = job[CRASHES] + 1 end
  note(job, WAIT, ending.wait ~= 'turn' and ending.wait)
  if ending.state == 'waiting' then enter_waiting(job, lane) else enter_final(job, lane, ending.state) end
  set(job, OUTCOME, ending.outcome)
  set(job, ENDED_AT, now)
  note(job, RESULT, ending.result)
  note(job, TOLD, ending.told)
  if not ending.keep_error then note(job, ERROR, ending.error) end
  note(job, REASON, ending.reason)
  note(job, RETRYABLE, ending.retryable)
  note(job, SKIPPED, ending.skipped)
  if ending.refund then refund(job, most) end
  if job[DRAWN] then job[DRAWN] = false end
  if ending.park_until then park(lane, ending.park_until, ending.park_reason) end
  save_job(job)
end

local ids, reply = {}, {}
for at = 3, #ARGV, 3 do ids[#ids + 1] = ARGV[at] end
load_states(ids)
for number, id in ipairs(ids) do
  local job, fence, ending = known[id], tonumber(ARGV[number * 3 + 1]), ending_of(ARGV[number * 3 + 2])
  reply[number] = ''
  if is_held(job, fence, ending) then
    if job[CANCEL_REQUESTED] and not ending.done then ending = after_cancel(ending) end
    carry_out(job, ending)
    reply[number] = ending.state
  end
end
finish()
return reply
