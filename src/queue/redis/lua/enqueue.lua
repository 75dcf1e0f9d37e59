-- Takes submissions in: of each all jobs or nothing.
--
-- KEYS[1] the shard
-- ARGV[1] the time
-- ARGV[2] how many submissions; then for each:
--         tenant; its key (empty: not remembered), its fingerprint, its answer, how long it is kept
--         (ms); how many lanes, and for each its id and policy (JSON); how many jobs, and for each its
--         id, the number of its lane among these, uniqueness key (empty: none), what is submitted (see
--         `records`, from the place of the payload on), and a payload that lies apart (empty: none)
--
-- Gives for each {'fresh', id…}, {'replayed', answer}, {'reused'}, or {'taken', id} for an id that is
-- there.
local at, JOB = 3, 5

local function read(count)
  local first = at
  at = at + count
  return unpack(ARGV, first, first + count - 1)
end

local function read_submission()
  local s = { lanes = {} }
  s.tenant, s.key, s.fingerprint, s.answer, s.keep, s.count = read(6)
  for number = 1, tonumber(s.count) do
    local id, policy = read(2)
    s.lanes[number] = { id = id, policy = policy }
  end
  s.jobs, s.first = tonumber(read(1)), at
  s.last = s.first + (s.jobs - 1) * JOB
  at = s.last + JOB
  return s
end

-- The answer that was given to this submission before, if there was one.
local function answered_before(s)
  if s.key == '' then return nil end
  s.remembered = key('submission', s.tenant, s.key)
  local known = redis.call('HMGET', s.remembered, 'fingerprint', 'answer', 'expires_at')
  if not known[1] or tonumber(known[3]) <= now then return nil end
  return known[1] == s.fingerprint and { 'replayed', known[2] } or { 'reused' }
end

-- Everything is looked at before anything is written: which jobs are new, and which are there already
-- as a twin, in whose place the answer names the twin.
local function look(s)
  local here, twins, wanted = {}, {}, {}
  s.ids, s.new, s.instead = { 'fresh' }, {}, {}
  for job = s.first, s.last, JOB do
    local id, unique = ARGV[job], ARGV[job + 2]
    local twin = unique ~= '' and (twins[unique] or redis.call('GET', key('unique', s.tenant, unique)))
    if twin then
      s.instead['job_' .. id] = 'job_' .. twin
    else
      if here[id] then return { 'taken', id } end
      here[id], s.new[#s.new + 1], wanted[#wanted + 1] = true, job, id
      if unique ~= '' then twins[unique] = id end
    end
    s.ids[#s.ids + 1] = twin or id
  end
  for i, text in ipairs(values_of(JOBS, wanted)) do
    if text then return { 'taken', wanted[i] } end
  end
end

local function remember(s)
  if s.key == '' then return end
  local answer = s.answer
  if next(s.instead) then answer = string.gsub(answer, 'job_' .. string.rep('%w', 26), s.instead) end
  local expires_at = now + math.max(tonumber(s.keep), 1)
  redis.call('HSET', s.remembered, 'fingerprint', s.fingerprint, 'answer', answer, 'expires_at', expires_at)
  redis.call('ZADD', key('submissions'), expires_at, s.tenant .. SEP .. s.key)
end

local created = moment(now)

local function take_in(s)
  local arrival = redis.call('HINCRBY', key('meta'), 'seq', #s.new) - #s.new
  local stamp = created .. string.format('%014d', change())
  for number, job in ipairs(s.new) do
    local id, text, index = ARGV[job], ARGV[job + 3], tonumber(string.sub(ARGV[job + 3], 2, 2)) + 1
    local known_lane = s.lanes[tonumber(ARGV[job + 1])]
    local lane = known_lane.met or ensure_lane(known_lane.id, known_lane.policy)
    known_lane.met = lane
    local asked, seq = string.sub(text, 3, 15), string.format('%012d', arrival + number)
    local run_at = asked > created and asked or created
    local name = run_at .. seq .. '0' .. id
    put('HSET', JOBS, id, stamp .. seq .. text)
    put('ZADD', key('ids'), 0, id)
    put('ZADD', waits(lane, index - 1), 0, name)
    if run_at > created then put('ZADD', key('scheduled', lane.queue), 0, name) end
    local head = lane.heads[index]
    if lane.waiting[index] == 0 or (head and run_at < head) then lane.heads[index] = run_at end
    lane.waiting[index], lane.jobs = lane.waiting[index] + 1, lane.jobs + 1
    tally(lane.queue, 'waiting', 1)
    if ARGV[job + 2] ~= '' then redis.call('SET', key('unique', s.tenant, ARGV[job + 2]), id) end
    if ARGV[job + 4] ~= '' then redis.call('SET', key('payload', id), ARGV[job + 4]) end
  end
end

local reply = {}
for number = 1, tonumber(ARGV[2]) do
  local s = read_submission()
  local answer = answered_before(s) or look(s)
  if not answer then
    remember(s)
    take_in(s)
    -- What comes next must see it.
    write()
    answer = s.ids
  end
  reply[number] = answer
end
finish()
return reply
