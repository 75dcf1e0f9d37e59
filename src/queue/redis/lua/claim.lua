-- Takes jobs that may run now, in turns: tenants of the queue, lanes of a tenant, jobs of a lane. One
-- turn gives a run of jobs of one lane; whoever was served goes to the back.
--
-- KEYS[1] the shard
-- ARGV[1] the time
-- ARGV[2] the queue
-- ARGV[3] the worker
-- ARGV[4] how many jobs at most
-- ARGV[5] how many jobs of a lane one turn gives at most, while there are others
-- ARGV[6] the lease (ms)
-- ARGV[7] how many lanes whose moment has come are woken at most, how many are met, and how many promises are
--         corrected
--
-- Gives {time, next moment or '', job…}, in the order of turns, each job its id, behind which at any but its
-- first claim stands more (JSON: fence, attempt, crashes, due_at, cursor; and at every claim from a lane with
-- shared limits, these). Jobs of a bundle are given in one: '=', the number of the bundle in this answer, those
-- of the first and of the last job (4 each). At the end come the takes of these bundles: '*', the number
-- of the bundle in this answer (4), its head, the number of the first job and how many (4 each), when they
-- were submitted (13), where their texts begin and the last one ends (7 each).
-- What was submitted is read apart: it never changes, and would go through here twice.
local HISTORY = 50
local byte, sub = string.byte, string.sub
local MET = byte('-')

-- What is asked for; the turn before the first that is given; and what is answered.
local queue, worker, turn, reply

-- Keeps the last attempt, if there was one, with those before it.
local function keep_attempt(job)
  if not job.begun_at then return end
  job.past = (job.past or '') .. cmsgpack.pack({ job.begun, job.begun_at, job.ended_at or false,
    job.outcome or false, job.told or false, job.worker })
  job.pasts = (job.pasts or 0) + 1
  if job.pasts >= HISTORY then
    local all = { cmsgpack.unpack(job.past) }
    job.past, job.pasts = cmsgpack.pack(unpack(all, 2)), job.pasts - 1
  end
end

-- Claims a job that has a state; answers what its worker has to know.
local function again(job, drawn, shared)
  keep_attempt(job)
  job.wait, job.reason, job.outcome, job.ended_at, job.told = nil, nil, nil, nil, nil
  job.state, job.since, job.attempt, job.fence = 'processing', now, job.attempt + 1, job.fence + 1
  job.worker, job.begun_at, job.begun, job.started_at = worker, now, job.attempt, job.started_at or now
  job.drawn = drawn
  save_job(job)
  return cjson.encode({ fence = job.fence, attempt = job.attempt, crashes = job.crashes,
    due_at = job.due_at or nil, cursor = job.cursor or nil, shared = shared or nil })
end

-- Reads the jobs that have a state, and those of bundles that are to have one.
local function load_old(pieces)
  local old = {}
  for _, piece in ipairs(pieces) do
    local apart, place = piece.bench.lane.shared, 1
    for at = piece.first, piece.last do
      local name = piece.tickets[at]
      if byte(name, 28) == MET then
        old[#old + 1] = sub(name, 29)
      elseif apart and is_bundle(name) then
        for n = piece.numbers[place], piece.numbers[place + 1] do old[#old + 1] = id_in(head_in(name), n) end
      end
      place = place + 2
    end
  end
  if old[1] then load_jobs(old) end
end

-- Until when the leases last, what is leased, and what is written of the jobs that wait by themselves: `front`
-- is what the states of those have in common that are claimed for the first time.
local till, leases, front, states

local function hold(lease)
  local last = #leases
  leases[last + 1], leases[last + 2] = till, lease
end

-- What the state of a job that waits by itself has behind its ticket, and what its worker has to know.
local function back_of(piece, lane, drawn)
  return piece.index - 1 .. lane_part(lane.id) .. cmsgpack.pack({ worker = worker, begun_at = now,
    begun = 1, started_at = now, drawn = drawn or nil }),
    lane.shared and cjson.encode({ fence = 1, attempt = 1, crashes = 0, shared = lane.shared }) or ''
end

-- Claims a job that waits by itself.
local function claim_single(piece, name, lane, drawn)
  local id = sub(name, 29)
  if byte(name, 28) ~= MET then
    if not piece.back then piece.back, piece.more = back_of(piece, lane, drawn) end
    local last = #states
    states[last + 1], states[last + 2] = id, front .. sub(name, 1, 28) .. piece.back
    reply[#reply + 1] = id .. piece.more
  else
    reply[#reply + 1] = id .. again(known[id], drawn, lane.shared)
  end
  hold(id)
end

-- The next of a bundle, each kept apart: what limits that all tenants share admit is settled one by one.
local function take_apart(ticket, from, upto, lane, drawn)
  local head = head_in(ticket)
  for n = from, upto do
    local id = id_in(head, n)
    reply[#reply + 1] = id .. again(known[id], drawn, lane.shared)
    hold(id)
  end
end

-- What is taken of bundles, each time one behind the other; and, by its head, the number of each bundle in the
-- answer and what was taken of it, by the last number.
local takes, given_of, bundles

-- Gives the next of a bundle. They join what was taken of it before, if they stand right behind it.
local function take_together(ticket, from, upto, lane, drawn)
  local head = head_in(ticket)
  local of = given_of[head]
  if not of then
    bundles = bundles + 1
    of = { number = four(bundles), ends = {} }
    given_of[head] = of
  end
  reply[#reply + 1] = '=' .. of.number .. four(from) .. four(upto)
  local take = of.ends[from - 1]
  if not take then
    take = { number = of.number, head = head, ticket = ticket, first = from, parts = { 0, now, 0, worker } }
    takes[#takes + 1] = take
  end
  local parts = take.parts
  local place = #parts
  parts[place + 1], parts[place + 2], parts[place + 3], take.last = lane.id, upto, drawn, upto
  of.ends[upto] = take
end

-- Writes what was taken of a bundle, under one lease.
local function write_take(take)
  local b, first, version, count = bundle_in(take.ticket), four(take.first), version_text(),
    take.last - take.first + 1
  take.parts[1], take.parts[3] = take.last, version
  put('HSET', key('takes'), b.head .. first, cmsgpack.pack(take.parts))
  set_records(b.head, take.first, string.rep(held_record(first, version), count))
  reply[#reply + 1] = '*' .. take.number .. b.head .. first .. four(count) .. b.run_at
    .. offsets_of(b.head, b.count, take.first, take.last)
  hold(b.head .. first)
end

-- How many jobs were claimed so far.
local number

local function claim_piece(piece)
  local lane, tickets = piece.bench.lane, piece.tickets
  local drawn, numbers, place = piece.bench.buckets[1] and piece.bench.buckets or false, piece.numbers, 1
  for at = piece.first, piece.last do
    if not is_bundle(tickets[at]) then
      claim_single(piece, tickets[at], lane, drawn)
    elseif lane.shared then
      take_apart(tickets[at], numbers[place], numbers[place + 1], lane, drawn)
    else
      piece.drawn = piece.drawn or drawn and cmsgpack.pack(unpack(drawn))
      take_together(tickets[at], numbers[place], numbers[place + 1], lane, piece.drawn)
    end
    place = place + 2
  end
  number = number + piece.count
  lane.turn = turn + number
end

-- The tickets of which nothing is left wait no more, and one is made out for what is left of the next.
local function drop_passed(bench, index, waits_)
  local passed = bench.passed[index]
  local partly = bench.index == index and bench.from
  if partly then passed = passed + 1 end
  if passed > 0 then redis.call('ZREMRANGEBYRANK', waits_, 0, passed - 1) end
  if partly then
    local b = bundle_in(bench.tickets[bench.at])
    redis.call('ZADD', waits_, '0', ticket_for(b, bench.from, b.last))
  end
end

-- The last turn of each tenant, the permits that were drawn of each bucket, and lists in which nothing waits any
-- more.
local served, permits, emptied

-- What follows for a lane that gave jobs.
local function close_bench(bench)
  local lane = bench.lane
  for index = 1, 3 do
    local count = bench.of[index]
    if count > 0 then
      local left, after = lane.waiting[index] - count, bench.after[index]
      lane.waiting[index], lane.heads[index] = left, after and run_of(after) or false
      local waits_ = waits(lane, index - 1)
      if left == 0 then emptied[#emptied + 1] = waits_ else drop_passed(bench, index, waits_) end
    end
  end
  for _, bucket in ipairs(bench.buckets) do permits[bucket] = (permits[bucket] or 0) + bench.taken end
  lane.running = lane.running + bench.taken
  local last = math.max(served[lane.tenant] or 0, lane.turn)
  served[lane.tenant], tenant_turns[queue .. SEP .. lane.tenant] = last, last
  touch(lane)
end

-- Wakes lanes whose moment has come.
local function wake_lanes(most)
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', key('later', queue), '-inf', now, 'LIMIT', 0, most)) do
    touch(lane_of(id))
  end
  flush()
end

local function claim_all(pieces)
  local closed = {}
  load_old(pieces)
  for _, piece in ipairs(pieces) do claim_piece(piece) end
  for _, take in ipairs(takes) do write_take(take) end
  for _, piece in ipairs(pieces) do
    if not closed[piece.bench] then
      closed[piece.bench] = true
      close_bench(piece.bench)
    end
  end
  in_chunks(emptied, function(first, last) redis.call('DEL', unpack(emptied, first, last)) end)
  put_all('HSET', STATES, states)
  put_all('ZADD', key('leases'), leases)
  draw_all(permits)
  for tenant, last in pairs(served) do put('HSET', key('tenants', queue), tenant, last) end
end

-- Each run:
queue, worker, reply = ARGV[2], ARGV[3], { now, '' }
-- A worker's queue is known from its first claim on, so that it can be paused.
redis.call('HSETNX', key('queues'), queue, 0)
if redis.call('HGET', key('queues'), queue) == '1' then return reply end
local most = tonumber(ARGV[7])
wake_lanes(most)
local pieces, count, is_cut_short = walk(queue, tonumber(ARGV[4]), tonumber(ARGV[5]), most)
if count > 0 then
  turn, till, number, bundles = next_turns(queue, count) - count, moment(now + tonumber(ARGV[6])), 0, 0
  front = version_text() .. now_text .. 'p' .. string.format('%010d%05d%05d', 1, 1, 0) .. '-'
  leases, states, takes, given_of, served, permits, emptied = {}, {}, {}, {}, {}, {}, {}
  claim_all(pieces)
  tally(queue, 'waiting', -count)
  tally(queue, 'processing', count)
end
flush()
reply[2] = is_cut_short and now or next_moment(queue, most) or ''
finish()
return reply
