-- Carries verdicts out, each under its fence.
--
-- KEYS[1] the shard
-- ARGV[1] the time
-- ARGV[2] how many lanes are looked at again for each refund, at most
-- ARGV[3…] a settlement each: id (26), how many jobs of a bundle from this one on (4), fence (10
--          digits), and what becomes of them: 'C' and its result (JSON) for one that completed, or 'C' for
--          several; or else JSON: state (waiting, completed, failed, cancelled), outcome (for the
--          history), and where they apply: run_at, wait, reason, error, told (the history's error),
--          result, skipped, park_until, park_reason (texts; JSON inside where the port has values), and
--          the flags done, back (the attempt), crashed, keep_error, retryable, refund, unseen (the attempt
--          did not happen), vanished (only if the lease is over). No id is there twice.
--
-- Gives a letter for each job: that of the state which the job has now (see `records`), or '-' when the
-- fence was stale.
local most, reply

-- The settlements that are left, one for each job: {where its letter belongs, id, fence, what becomes of
-- it}.
local function read_orders()
  local left = {}
  local function add(place, id, order)
    left[#left + 1] = { place = place, id = id, fence = sub(order, FENCE, ORDER - 1), what = sub(order, ORDER) }
  end
  local place = 0
  for at = 3, #ARGV do
    local order = ARGV[at]
    local done, count = complete_members(order)
    if done then
      reply[place + 1] = string.rep('c', count)
      for more = 2, count do reply[place + more] = '' end
    else
      count = tonumber(sub(order, MANY, FENCE - 1))
      local head, number = sub(order, 1, 26), nil
      if count > 1 then head, number = place_of(head) end
      for more = 1, count do
        add(place + more, number and id_in(head, number + more - 1) or head, order)
      end
    end
    place = place + count
  end
  close_takes()
  return left
end

-- Most jobs complete, and nothing more is to be done for them than to say so: the front of their state
-- is written anew and their result put behind it. Answers those that are left.
local function complete(orders)
  local states, ended, counts, left, done, ids = {}, {}, {}, {}, 0, {}
  local front, lane, part
  for i, order in ipairs(orders) do ids[i] = order.id end
  local texts = values_of(STATES, ids)
  for i, order in ipairs(orders) do
    local text, what, letter = texts[i], order.what, nil
    if text and byte(what) == DONE and sub(text, 28, 38) == 'p' .. order.fence then letter = byte(text, 77) end
    if letter == INSIDE or letter == APART then
      front = front or version_text() .. now_text .. 'c'
      done = done + 1
      states[2 * done - 1], ended[done], reply[order.place] = order.id, order.id, 'c'
      states[2 * done] = front .. sub(text, 29) .. (#what > 1 and cmsgpack.pack(sub(what, 2)) or '')
      if not part or sub(text, LAST - 1, LAST - 2 + #part) ~= part then
        lane = lane_in(text)
        part = lane_part(lane)
      end
      counts[lane] = (counts[lane] or 0) + 1
    else
      left[#left + 1] = order
    end
  end
  put_all('HSET', STATES, states)
  put_all('RPUSH', key('completed'), ended)
  put_all('ZREM', key('leases'), ended)
  complete_in_lanes(counts)
  return left
end

local function is_held(job, fence, ending)
  if not job or job.state ~= 'processing' or job.fence ~= fence then return false end
  return not ending.vanished or tonumber(redis.call('ZSCORE', key('leases'), lease_of(job))) <= now
end

local function ending_of(what)
  if byte(what) ~= DONE then return cjson.decode(what) end
  local result = #what > 1 and sub(what, 2) or 'null'
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
  local lane, drawn_at = lane_of(job.lane), job.begun_at
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
  if ending.refund then refund(job, drawn_at, most) end
  job.drawn = nil
  if ending.park_until then park(lane, ending.park_until, ending.park_reason) end
  save_job(job)
end

-- Each run:
most, reply, takes, met, ended_in, range = tonumber(ARGV[2]), {}, {}, {}, {}, nil
local left, loaded = complete(read_orders()), {}
for i, order in ipairs(left) do loaded[i] = order.id end
load_jobs(loaded)
for _, order in ipairs(left) do
  local job, ending = known[order.id], ending_of(order.what)
  reply[order.place] = '-'
  if is_held(job, tonumber(order.fence), ending) then
    if job.cancel_requested and not ending.done then ending = after_cancel(ending) end
    carry_out(job, ending)
    reply[order.place] = LETTERS[ending.state]
  end
end
finish()
return table.concat(reply)
