-- Takes jobs that may run now, in turns: tenants of the queue, lanes of a tenant, jobs of a lane. One
-- turn gives a run of jobs of one lane; whoever was served goes to the back.
--
-- KEYS[1] the shard
-- ARGV[1] the time
-- ARGV[2] the queue
-- ARGV[3] the worker
-- ARGV[4] how many jobs at most
-- ARGV[5] how many jobs of a lane one turn gives at most
-- ARGV[6] the lease (ms)
-- ARGV[7] how many lanes whose moment has come are woken at most, and how many promises corrected
--
-- Gives {time, next moment or '', job…}, in the order of turns, each job its id, behind which at any but its
-- first claim stands more (JSON: fence, attempt, crashes, due_at, cursor; and at every claim from a lane with
-- shared limits, these). Jobs of a bundle are given in one: '=', the number of the bundle in this answer, the
-- number of the first job, and how many (4 each). At the end come the takes of these bundles: '*', the number
-- of the bundle in this answer (4), its head, the number of the first job and how many (4 each), when they
-- were submitted (13), where their texts begin and the last one ends (7 each).
-- What was submitted is read apart: it never changes, and would go through here twice.
local queue, worker, max, run = ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local lease, most = tonumber(ARGV[6]), tonumber(ARGV[7])
local HISTORY = 50
local byte, sub = string.byte, string.sub
local MET = byte('-')

-- A worker's queue is known from its first claim on, so that it can be paused.
redis.call('HSETNX', key('queues'), queue, 0)
if redis.call('HGET', key('queues'), queue) == '1' then return { now, '' } end
for _, id in ipairs(redis.call('ZRANGEBYSCORE', key('later', queue), '-inf', now, 'LIMIT', 0, most)) do
  touch(lane_of(id))
end
flush()

local pieces, count = walk(queue, max, run)
local turn = count > 0 and next_turns(queue, count) - count
local reply = { now, '' }

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

local old = {}
for _, piece in ipairs(pieces) do
  for at = piece.first or 1, piece.last or 0 do
    local name = piece.tickets[at]
    if byte(name, 28) == MET then old[#old + 1] = sub(name, 29) end
  end
end
if old[1] then load_jobs(old) end

-- What the states of jobs that are claimed for the first time have in common.
local front = count > 0 and version_text() .. now_text .. 'p' .. string.format('%010d%05d%05d', 1, 1, 0) .. '-'
local states, leases, served, permits, met = {}, {}, {}, {}, {}
local till, made, number = moment(now + lease), 0, 0

local function hold(lease_)
  local last = #leases
  leases[last + 1], leases[last + 2] = till, lease_
end

-- So many tickets are the first of their priority no more.
local function pass(piece, count)
  local gone = piece.bench.gone
  gone[piece.index] = gone[piece.index] + count
end

-- Claims jobs that wait by themselves; answers how many.
local function claim_single(piece, lane, drawn)
  local back = piece.index - 1 .. lane_part(lane.id) .. cmsgpack.pack({ worker = worker, begun_at = now,
    begun = 1, started_at = now, drawn = drawn or nil })
  local more = lane.shared and cjson.encode({ fence = 1, attempt = 1, crashes = 0, shared = lane.shared })
  for place = piece.first, piece.last do
    local name = piece.tickets[place]
    local id = sub(name, 29)
    if byte(name, 28) ~= MET then
      made = made + 2
      states[made - 1], states[made] = id, front .. sub(name, 1, 28) .. back
      reply[#reply + 1] = more and id .. more or id
    else
      reply[#reply + 1] = id .. again(known[id], drawn, lane.shared)
    end
    hold(id)
  end
  pass(piece, piece.last - piece.first + 1)
  return piece.last - piece.first + 1
end

-- What each bundle gives, by its head; the heads in the order in which they were met.
local gives, heads = {}, {}

-- The next of a bundle are given. All that it gives is taken in the end, if it stands one behind the other
-- under one lease.
local function give_together(b, from, upto, lane, drawn)
  local of = gives[b.head]
  if not of then
    heads[#heads + 1] = b.head
    of = { number = four(#heads), b = b }
    gives[b.head] = of
  end
  of[#of + 1] = { from = from, upto = upto, lane = lane.id, drawn = drawn }
  reply[#reply + 1] = '=' .. of.number .. four(from) .. four(upto - from + 1)
end

local function take(of, from, upto, parts)
  local b, first, version, count = of.b, four(from), version_text(), upto - from + 1
  put('HSET', key('takes'), b.head .. first, cmsgpack.pack({ upto, now, version, worker, unpack(parts) }))
  set_records(b.head, from, string.rep(held_record(first, version), count))
  reply[#reply + 1] = '*' .. of.number .. b.head .. first .. four(count) .. b.run_at
    .. offsets_of(b.head, b.count, from, upto)
  hold(b.head .. first)
end

local function by_number(a, b)
  return a.from < b.from
end

local function take_all(of)
  table.sort(of, by_number)
  local at = 1
  while of[at] do
    local from, upto, parts = of[at].from, nil, {}
    repeat
      local part = of[at]
      upto, at = part.upto, at + 1
      local last = #parts
      parts[last + 1], parts[last + 2], parts[last + 3] = part.lane, upto, part.drawn or false
    until not of[at] or of[at].from > upto + 1
    take(of, from, upto, parts)
  end
end

-- The next of a bundle, each kept apart: what limits that all tenants share admit is settled one by one.
local function take_apart(b, from, upto, lane, drawn)
  for n = from, upto do
    local id = id_in(b.head, n)
    reply[#reply + 1] = id .. again(load_job(id), drawn, lane.shared)
    hold(id)
  end
end

local function claim_bundle(piece, lane, drawn)
  local b, from, upto = piece.bundle, piece.from, piece.upto
  local give_ = lane.shared and take_apart or give_together
  give_(b, from, upto, lane, drawn)
  pass(piece, 1)
  if upto < b.last then
    piece.after = ticket_for(b, upto + 1, b.last)
    piece.bench.rest[piece.index] = piece.after
  end
  return upto - from + 1
end

-- The tickets that were passed do not wait any more.
local function drop_passed(bench, emptied)
  for index = 1, 3 do
    if bench.gone[index] > 0 then
      local waits_ = waits(bench.lane, index - 1)
      if bench.lane.waiting[index] == 0 then
        emptied[#emptied + 1] = waits_
      else
        redis.call('ZREMRANGEBYRANK', waits_, 0, bench.gone[index] - 1)
        if bench.rest[index] then redis.call('ZADD', waits_, '0', bench.rest[index]) end
      end
    end
  end
end

local function claim_piece(piece)
  met[piece.bench] = true
  local lane, drawn = piece.bench.lane, piece.bench.buckets[1] and piece.bench.buckets
  local taken = (piece.bundle and claim_bundle or claim_single)(piece, lane, drawn)
  number = number + taken
  for _, bucket in ipairs(drawn or {}) do permits[bucket] = (permits[bucket] or 0) + taken end
  lane.heads[piece.index] = piece.after and run_of(piece.after) or false
  lane.waiting[piece.index] = lane.waiting[piece.index] - taken
  lane.turn, lane.running = turn + number, lane.running + taken
  tenant_turns[queue .. SEP .. lane.tenant], served[lane.tenant] = lane.turn, lane.turn
  touch(lane)
end

for _, piece in ipairs(pieces) do claim_piece(piece) end
for _, head in ipairs(heads) do take_all(gives[head]) end
local emptied = {}
for bench in pairs(met) do drop_passed(bench, emptied) end
in_chunks(emptied, function(first, last) redis.call('DEL', unpack(emptied, first, last)) end)
put_all('HSET', STATES, states)
put_all('ZADD', key('leases'), leases)
draw_all(permits)
for tenant, last in pairs(served) do put('HSET', key('tenants', queue), tenant, last) end
tally(queue, 'waiting', -count)
tally(queue, 'processing', count)
flush()
reply[2] = next_moment(queue, most) or ''
finish()
return reply
