-- Takes submissions in: of each all jobs or nothing.
--
-- KEYS[1] the shard
-- ARGV[1] the time
-- ARGV[2] how many submissions; then for each:
--         tenant; its key (empty: not remembered), its fingerprint, its answer, how long it is kept
--         (ms); how many lanes, and for each its id and policy (JSON); how many bundles (see `bundles`),
--         and for each its head, how many jobs it has, how many parts these are, and for each part, in the
--         order of numbers, how many jobs, the number of their lane, their priority (0 first), and the place
--         of the first among the submission's jobs in that lane; how many other jobs, and for each what
--         is submitted (see `tickets`), behind which comes its uniqueness key, if the text says so. No id is
--         there twice in a submission, and where a job has a uniqueness key, there are no bundles.
--
-- The text of a bundle, its stamp left open, and a payload that lies apart are set before this is called,
-- for a while and only if they are not there: they would go through here for nothing. What stays without
-- an end was taken in.
--
-- Gives for each {'fresh'}, followed by all ids if some are others than those submitted; {'replayed',
-- answer}, {'reused'}, {'taken', id} for an id that is there, or {'missing'} if a text is not.
local at
local AT_ONCE = string.byte('3')
local byte, sub = string.byte, string.sub

local function read(count)
  local first = at
  at = at + count
  return unpack(ARGV, first, first + count - 1)
end

-- Lists of the jobs' texts, and of their uniqueness keys, and which payloads lie apart, by place in that
-- list.
local function read_jobs(s, count)
  local texts, here = s.texts, at
  for number = 1, count do
    local text = ARGV[here]
    local letter = byte(text, LETTER)
    texts[number], here = text, here + 1
    if letter ~= INSIDE then
      if IS_UNIQUE[letter] then s.unique[number], here = ARGV[here], here + 1 end
      if IS_APART[letter] then s.apart[number] = key('payload', sub(text, FIRST_ID, LAST_ID)) end
    end
  end
  at = here
end

-- A bundle, and where its parts stand.
local function read_bundle()
  local head, jobs, parts = read(3)
  local b = { head = head, count = tonumber(jobs), first = at }
  at = at + tonumber(parts) * 4
  b.last = at - 4
  return b
end

local function read_submission()
  local s, count = { lanes = {}, policies = {}, joined = {}, texts = {}, unique = {}, apart = {} }, nil
  s.tenant, s.key, s.fingerprint, s.answer, s.keep, count = read(6)
  for number = 1, tonumber(count) do s.lanes[number], s.policies[number] = read(2) end
  s.bundles = {}
  for number = 1, tonumber(read(1)) do s.bundles[number] = read_bundle() end
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
    local id, unique = sub(s.texts[number], FIRST_ID, LAST_ID), s.unique[number]
    local twin = unique and (twins[unique] or redis.call('GET', key('unique', s.tenant, unique)))
    if twin then
      s.instead['job_' .. id], s.texts[number] = 'job_' .. twin, false
    elseif unique then
      twins[unique] = id
    end
    s.answered[number + 1], s.ids[number] = twin or id, id
  end
end

-- Whether the id is one of a bundle's. What is gone from there is taken still: ids are not used twice.
local function is_member(id)
  local head, number = place_of(id)
  local count = head and redis.call('GETRANGE', key('bundle', head), STAMP, STAMP + 3)
  return count and count ~= '' and number < tonumber(count)
end

-- Everything is looked at before anything is written. Answers with the id that is there, if one is.
local function look(s)
  if next(s.unique) then
    leave_twins_out(s)
  else
    local ids, texts = {}, s.texts
    for number = 1, #texts do ids[number] = sub(texts[number], FIRST_ID, LAST_ID) end
    s.ids, s.instead, s.answered = ids, {}, { 'fresh' }
  end
  local there = values_of(JOBS, s.ids)
  for number = 1, #there do
    local id = s.ids[number]
    if s.texts[number] and (there[number] or is_member(id)) then return { 'taken', id } end
  end
  for number, payload in pairs(s.apart) do
    if s.texts[number] and redis.call('EXISTS', payload) == 0 then return { 'missing' } end
  end
  -- Who named one job of a bundle named them all.
  for _, b in ipairs(s.bundles) do
    local ends_in = redis.call('PTTL', key('bundle', b.head))
    if ends_in == -1 or redis.call('HEXISTS', JOBS, b.head) == 1 then return { 'taken', b.head } end
    if ends_in < 0 then return { 'missing' } end
  end
end

-- What was set for jobs that are not taken in ends now.
local function leave_out(s)
  local function drop(text)
    if redis.call('PTTL', text) >= 0 then redis.call('UNLINK', text) end
  end
  for _, b in ipairs(s.bundles) do drop(key('bundle', b.head)) end
  for _, payload in pairs(s.apart) do drop(payload) end
end

local function remember(s)
  if s.key == '' then return end
  local answer = s.answer
  if next(s.instead) then answer = string.gsub(answer, 'job_' .. string.rep('%w', 26), s.instead) end
  local expires_at = now + math.max(tonumber(s.keep), 1)
  redis.call('HSET', s.remembered, 'fingerprint', s.fingerprint, 'answer', answer, 'expires_at', expires_at)
  redis.call('ZADD', key('submissions'), expires_at, s.tenant .. SEP .. s.key)
end

-- The lane of this number.
local function meet(s, number)
  number = tonumber(number)
  return ensure_lane(s.lanes[number], s.policies[number])
end

-- The lane of this number, made ready for jobs that join it one by one.
local function join(s, number)
  local named = s.joined[number]
  if not named then
    named = { lane = meet(s, number), counts = { 0, 0, 0 }, waiting = { {}, {}, {} } }
    s.joined[number] = named
  end
  return named
end

-- A later job joins those that wait in its lane.
local function join_later(named, text, arrival)
  local asked, index = sub(text, ASKED, ASKED + 12), byte(text, PRIORITY) - AT_ONCE + 1
  local name = (asked > now_text and asked or now_text) .. arrival .. sub(text, 1, LAST_ID)
  table.insert(named.waiting[index], '0')
  table.insert(named.waiting[index], name)
  if asked > now_text then put('ZADD', key('scheduled', named.lane.queue), '0', name) end
  count_waiting(named.lane, index, run_of(name), 1)
end

local function leave(named)
  for index = 1, 3 do
    put_all('ZADD', waits(named.lane, index - 1), named.waiting[index])
    if named.counts[index] > 0 then count_waiting(named.lane, index, now_text, named.counts[index]) end
  end
end

local function take_bundle_in(s, b, stamp, arrival)
  redis.call('SETRANGE', key('bundle', b.head), 0, stamp)
  redis.call('PERSIST', key('bundle', b.head))
  put('ZADD', key('ids'), '0', b.head .. four(b.count - 1))
  local from = 0
  for part = b.first, b.last, 4 do
    local count, number, priority, place = unpack(ARGV, part, part + 3)
    local lane, index, last = meet(s, number), priority + 1, from + count - 1
    redis.call('ZADD', waits(lane, index - 1), '0',
      bundle_ticket(now_text, arrival, place, b.head, from, last, b.count))
    count_waiting(lane, index, now_text, count)
    lane.jobs = lane.jobs + count
    from = last + 1
  end
end

local function take_in(s)
  load_lanes(s.lanes)
  local arrival = string.format('%010d', redis.call('HINCRBY', key('meta'), 'arrivals', 1))
  local stamp, at_once = now_text .. version_text() .. arrival, now_text .. arrival
  local jobs, names, place = {}, {}, 1
  -- Those of the job before: most jobs of a submission wait in one list.
  local named, lane, rank, list, last
  for number, text in ipairs(s.texts) do
    if text then
      local id, of, priority = s.ids[number], sub(text, LANE_NUMBER, LANE_NUMBER + 3), byte(text, PRIORITY)
      if of ~= lane then named, lane, rank = join(s, of), of, nil end
      jobs[place], jobs[place + 1], names[place], names[place + 1] = id, stamp .. text, '0', id
      place = place + 2
      if priority >= AT_ONCE then
        join_later(named, text, arrival)
        rank = nil
      else
        if priority ~= rank then
          rank, list = priority, named.waiting[priority - AT_ONCE + 4]
          last = #list
        end
        list[last + 1], list[last + 2], last = '0', at_once .. sub(text, 1, LAST_ID), last + 2
        local index = priority - AT_ONCE + 4
        named.counts[index] = named.counts[index] + 1
      end
      named.lane.jobs = named.lane.jobs + 1
      if s.unique[number] then redis.call('SET', key('unique', s.tenant, s.unique[number]), id) end
      if s.apart[number] then redis.call('PERSIST', s.apart[number]) end
    end
  end
  put_all('HSET', JOBS, jobs)
  put_all('ZADD', key('ids'), names)
  for _, b in ipairs(s.bundles) do take_bundle_in(s, b, stamp, arrival) end
  for _, named in pairs(s.joined) do leave(named) end
end

-- Each run:
at = 3
local reply = {}
for number = 1, tonumber(ARGV[2]) do
  local s = read_submission()
  local answer = answered_before(s) or look(s)
  if not answer then
    remember(s)
    take_in(s)
    answer = s.answered
  end
  leave_out(s)
  reply[number] = answer
end
finish(true)
return reply
