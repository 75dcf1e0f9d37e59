-- Takes submissions in: of each all jobs or nothing.
--
-- KEYS[1] the shard
-- ARGV[1] the time
-- ARGV[2] how many submissions; then for each:
--         tenant; its key (empty: not remembered), its fingerprint, its answer, how long it is kept
--         (ms); how many lanes, and for each its id and policy (JSON); how many jobs, and for each what
--         is submitted (see `records`), behind which come its uniqueness key and its payload, if the
--         text says so. No id is there twice in a submission.
--
-- Gives for each {'fresh'}, followed by all ids if some are others than those submitted; {'replayed',
-- answer}, {'reused'}, or {'taken', id} for an id that is there.
local at = 3
local APART, UNIQUE, UNIQUE_APART = string.byte('aIA', 1, 3)
local AT_ONCE = string.rep('0', 13)
local byte, sub = string.byte, string.sub

local function read(count)
  local first = at
  at = at + count
  return unpack(ARGV, first, first + count - 1)
end

-- Lists of the jobs' texts, and of their uniqueness keys and apart payloads by place in that list.
local function read_jobs(s, count)
  local texts, here = s.texts, at
  for number = 1, count do
    local text = ARGV[here]
    local kept = byte(text, KEPT)
    texts[number], here = text, here + 1
    if kept == UNIQUE or kept == UNIQUE_APART then s.unique[number], here = ARGV[here], here + 1 end
    if kept == APART or kept == UNIQUE_APART then s.apart[number], here = ARGV[here], here + 1 end
  end
  at = here
end

local function read_submission()
  local s, count = { lanes = {}, texts = {}, unique = {}, apart = {} }, nil
  s.tenant, s.key, s.fingerprint, s.answer, s.keep, count = read(6)
  for number = 1, tonumber(count) do
    local id, policy = read(2)
    s.lanes[number] = { id = id, policy = policy }
  end
  read_jobs(s, tonumber(read(1)))
  return s
end

-- The answer that was given to this submission before, if there was one.
local function answered_before(s)
  if s.key == '' then return nil end
  s.remembered = key('submission', s.tenant, s.key)
  local known_ = redis.call('HMGET', s.remembered, 'fingerprint', 'answer', 'expires_at')
  if not known_[1] or tonumber(known_[3]) <= now then return nil end
  return known_[1] == s.fingerprint and { 'replayed', known_[2] } or { 'reused' }
end

-- Jobs that are there already as a twin are left out, and the answer names the twin in their place.
local function leave_twins_out(s)
  local twins = {}
  s.instead, s.answered, s.ids = {}, { 'fresh' }, {}
  for number = 1, #s.texts do
    local id, unique = sub(s.texts[number], 1, 26), s.unique[number]
    local twin = unique and (twins[unique] or redis.call('GET', key('unique', s.tenant, unique)))
    if twin then
      s.instead['job_' .. id], s.texts[number] = 'job_' .. twin, false
    elseif unique then
      twins[unique] = id
    end
    s.answered[number + 1], s.ids[number] = twin or id, id
  end
end

-- Everything is looked at before anything is written. Answers with the id that is there, if one is.
local function look(s)
  if next(s.unique) then
    leave_twins_out(s)
  else
    local ids, texts = {}, s.texts
    for number = 1, #texts do ids[number] = sub(texts[number], 1, 26) end
    s.ids, s.instead, s.answered = ids, {}, { 'fresh' }
  end
  for number, text in ipairs(values_of(JOBS, s.ids)) do
    if text and s.texts[number] then return { 'taken', s.ids[number] } end
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

-- The job joins those that wait in its lane.
local function join(named, text, id, arrival, at_once)
  local asked, index, number = sub(text, ASKED, ASKED + 12), byte(text, PRIORITY) - 47, sub(text, NUMBER, NUMBER + 3)
  named.count = named.count + 1
  if asked == AT_ONCE or asked <= now_text then
    named.counts[index] = named.counts[index] + 1
    append(named.waiting[index], '0', at_once .. number .. '0' .. id)
  else
    local name = asked .. arrival .. number .. '0' .. id
    append(named.waiting[index], '0', name)
    put('ZADD', key('scheduled', named.lane.queue), '0', name)
    count_waiting(named.lane, index, asked, 1)
  end
end

local function meet(named)
  named.lane, named.count = ensure_lane(named.id, named.policy), 0
  named.counts, named.waiting = { 0, 0, 0 }, { {}, {}, {} }
end

local function leave(named)
  for index = 1, 3 do
    put_all('ZADD', waits(named.lane, index - 1), named.waiting[index])
    if named.counts[index] > 0 then count_waiting(named.lane, index, now_text, named.counts[index]) end
  end
  named.lane.jobs = named.lane.jobs + named.count
end

local function take_in(s)
  local arrival = string.format('%010d', redis.call('HINCRBY', key('meta'), 'arrivals', 1))
  local stamp, at_once = now_text .. version_text() .. arrival, now_text .. arrival
  local jobs, names = {}, {}
  for number = 1, #s.texts do
    local text, id = s.texts[number], s.ids[number]
    if text then
      append(jobs, id, stamp .. text)
      append(names, '0', id)
      local named = s.lanes[tonumber(sub(text, 27, 30))]
      if not named.lane then meet(named) end
      join(named, text, id, arrival, at_once)
      if s.unique[number] then redis.call('SET', key('unique', s.tenant, s.unique[number]), id) end
      if s.apart[number] then redis.call('SET', key('payload', id), s.apart[number]) end
    end
  end
  put_all('HSET', JOBS, jobs)
  put_all('ZADD', key('ids'), names)
  for _, named in ipairs(s.lanes) do
    if named.lane then leave(named) end
  end
end

local reply = {}
for number = 1, tonumber(ARGV[2]) do
  local s = read_submission()
  local answer = answered_before(s) or look(s)
  if not answer then
    remember(s)
    take_in(s)
    answer = s.answered
  end
  reply[number] = answer
end
finish()
return reply
