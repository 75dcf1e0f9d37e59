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
-- Gives {time, next moment or '', job…}, each job in four: its id, its fence, what was submitted with
-- its payload, and '' at its first attempt, else (JSON) attempt, crashes, due_at, cursor.
local queue, worker, max, run = ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local lease, most = tonumber(ARGV[6]), tonumber(ARGV[7])
local HISTORY = 50

-- A worker's queue is known from its first claim on, so that it can be paused.
redis.call('HSETNX', key('queues'), queue, 0)
if redis.call('HGET', key('queues'), queue) == '1' then return { now, '' } end
for _, id in ipairs(redis.call('ZRANGEBYSCORE', key('later', queue), '-inf', now, 'LIMIT', 0, most)) do
  touch(lane_of(id))
end
flush()

local taken = walk(queue, max, run)
local turn = #taken > 0 and next_turns(queue, #taken) - #taken
local reply = { now, '' }

-- Keeps the last attempt, if there was one, with those before it.
local function keep_attempt(job)
  if not job[BEGUN_AT] then return end
  local past = (job[PAST] or '') .. cmsgpack.pack({ job[BEGUN], job[BEGUN_AT], job[ENDED_AT] or false,
    job[OUTCOME] or false, job[TOLD] or false, job[WORKER] })
  local count = (job[PASTS] or 0) + 1
  if count >= HISTORY then
    local all = { cmsgpack.unpack(past) }
    past = cmsgpack.pack(unpack(all, 2))
    count = count - 1
  end
  set(job, PAST, past)
  set(job, PASTS, count)
end

local function again(job)
  keep_attempt(job)
  for _, field in ipairs({ WAIT, REASON, OUTCOME, ENDED_AT, TOLD, COMPLETED_AT }) do
    if job[field] then job[field] = false end
  end
  job[STATE], job[ATTEMPT], job[FENCE], job[WORKER] = 'processing', job[ATTEMPT] + 1, job[FENCE] + 1, worker
  job[BEGUN_AT], job[BEGUN], job[STARTED_AT] = now, job[ATTEMPT], job[STARTED_AT] or now
end

local function first(id, ticket_, text, take)
  local lane, unique_at = take.bench.lane, 61 + tonumber(string.sub(text, 55, 60))
  local unique = string.sub(text, unique_at + 6, unique_at + 5 + tonumber(string.sub(text, unique_at, unique_at + 5)))
  return { id, 'processing', lane.id, string.sub(ticket_, 14, 25), run_of(ticket_), take.index - 1, 1, 1, 0, 0,
    worker, now, 1, now, unique ~= '' and unique }
end

-- Reads what is known of the jobs, in two calls.
local ids, old = {}, {}
for number, take in ipairs(taken) do
  ids[number] = id_of(take.ticket)
  if string.sub(take.ticket, 26, 26) == '1' then old[#old + 1] = ids[number] end
end
local texts = values_of(JOBS, ids)
load_states(old)

local served, permits = {}, {}
for number, take in ipairs(taken) do
  local id, bench, text = ids[number], take.bench, texts[number]
  local lane, job = bench.lane, known[id]
  put('ZREM', waits(lane, take.index - 1), take.ticket)
  lane.turn, lane.running = turn + number, lane.running + 1
  lane.waiting[take.index] = lane.waiting[take.index] - 1
  lane.heads[take.index] = take.next and run_of(take.next) or false
  tenant_turns[queue .. SEP .. lane.tenant], served[lane.tenant] = lane.turn, lane.turn
  touch(lane)
  if job then again(job) else job = first(id, take.ticket, text, take) end
  if bench.buckets[1] or job[DRAWN] then set(job, DRAWN, bench.buckets[1] and bench.buckets) end
  for _, bucket in ipairs(bench.buckets) do
    permits[bucket] = permits[bucket] or {}
    table.insert(permits[bucket], id .. ':' .. string.format('%d', job[FENCE]))
  end
  put('ZADD', key('leases'), now + lease, id)
  save_job(job)
  if string.sub(text, 40, 40) == 'a' then text = text .. redis.call('GET', key('payload', id)) end
  local at = #reply
  reply[at + 1], reply[at + 2], reply[at + 3] = id, job[FENCE], text
  reply[at + 4] = not known[id] and '' or cjson.encode({ attempt = job[ATTEMPT],
    crashes = job[CRASHES], due_at = job[DUE_AT] or nil, cursor = job[CURSOR] or nil })
end
for bucket, drawn in pairs(permits) do draw(bucket, drawn) end
for tenant, last in pairs(served) do put('HSET', key('tenants', queue), tenant, last) end
tally(queue, 'waiting', -#taken)
tally(queue, 'processing', #taken)
flush()
reply[2] = next_moment(queue, most) or ''
finish()
return reply
