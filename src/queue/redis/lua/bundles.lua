-- Part of scripts that touch jobs: bundles.
--
-- Jobs that were submitted together and may run at once are kept as one text, and moved many at a time,
-- for as long as they fare as most jobs do: they wait, are claimed once, and complete. As soon as anything
-- else happens to one, it is kept apart, like a job that came alone.
--
-- The ids of a bundle differ in their last four digits alone, which count from 0000: that one is the
-- bundle's head, and names it. Those of one lane and priority stand behind each other, and wait there under
-- one ticket. The bundle's text: the stamp (see `tickets`), how many jobs there are (4), how many of them are
-- neither apart nor gone (4); a record (32) of each job; where the text of each begins, and where the last one
-- ends (7 each); what was submitted of each.
--
-- A record: a letter of FARES, 'a' (kept apart) or 'g' (gone); the number of the first job that was
-- claimed together with this one (4); when it ended (13); its version (14).
--
-- What was claimed together is a take, and named by its head and its first number. It has one lease, and
-- in `takes` (packed): the last number, the moment, the version, the worker; then of each lane that it took
-- from its id, the last number, drawn buckets (packed) or false.
local RECORD, OFFSET = 32, 7
local COUNT_AT, LEFT_AT, RECORDS_AT = STAMP, STAMP + 4, STAMP + 8
local FARES = { w = 'waiting', p = 'processing', c = 'completed', r = 'completed' }
local NOT_ENDED = string.rep('0', 13)

local function id_in(head, number)
  return string.sub(head, 1, 22) .. four(number)
end

-- A part of the bundle's text; both ends count from 0, and are in it.
local function cut(head, from, to)
  return redis.call('GETRANGE', key('bundle', head), from, to)
end

local function records_of(head, from, to)
  return cut(head, RECORDS_AT + from * RECORD, RECORDS_AT + (to + 1) * RECORD - 1)
end

local function record_in(records, place)
  return string.sub(records, place * RECORD + 1, (place + 1) * RECORD)
end

local function set_records(head, from, records)
  redis.call('SETRANGE', key('bundle', head), RECORDS_AT + from * RECORD, records)
end

-- Where the texts of these jobs begin, and where the last one ends.
local function offsets_of(head, count, from, to)
  local at = RECORDS_AT + count * RECORD
  return cut(head, at + from * OFFSET, at + (to + 2) * OFFSET - 1)
end

local function size_of(front)
  return tonumber(string.sub(front, COUNT_AT + 1, COUNT_AT + 4))
end

-- The jobs from this number on that were claimed together.
local takes_known
local function take_of(head, first)
  local name = head .. first
  local take = takes_known[name]
  if not take then
    local packed = redis.call('HGET', key('takes'), name)
    if not packed then return nil end
    local v = cmsgpack.unpack(packed)
    take = { name = name, head = head, first = tonumber(first), last = v[1], at = v[2], version = v[3],
      worker = v[4], parts = v }
    takes_known[name] = take
  end
  return take
end

-- In what was packed, lanes stand from here on: id, last number, drawn buckets (packed: few ask for them).
local PARTS, PART = 5, 3

-- The lane of the job with this number, and what was drawn for it.
local function part_with(take, number)
  local parts, at = take.parts, PARTS
  while parts[at + 1] < number do at = at + PART end
  return parts[at], parts[at + 2] or nil
end

-- The record of a job that runs, if it is of this take.
local function held_record(first, version)
  return 'p' .. first .. NOT_ENDED .. version
end

-- What is known of a job since it was claimed.
local function tell_claimed(job, record)
  local member = job.member
  local take = take_of(member.head, member.first)
  job.fresh, job.wait = nil, nil
  job.state, job.since, job.version = 'processing', take.at, take.version
  job.fence, job.attempt, job.begun, job.begun_at, job.started_at = 1, 1, 1, take.at, take.at
  job.worker = take.worker
  if member.letter == 'p' then
    local _, drawn = part_with(take, member.number)
    job.drawn = drawn and { cmsgpack.unpack(drawn) }
    return
  end
  job.state, job.since, job.version = 'completed', tonumber(string.sub(record, 6, 18)), string.sub(record, 19)
  job.outcome, job.ended_at = 'completed', job.since
  job.result = member.letter == 'r' and redis.call('HGET', key('results'), job.id) or 'null'
end

-- Reads jobs of a bundle, from one number to another, as far as they are asked for and there.
local function read_members(head, wanted, from, to, found)
  local front = cut(head, 0, RECORDS_AT - 1)
  if front == '' then return end
  to = math.min(to, size_of(front) - 1)
  if from > to then return end
  local records, offsets = records_of(head, from, to), offsets_of(head, size_of(front), from, to)
  local function offset(place)
    return tonumber(string.sub(offsets, place * OFFSET + 1, (place + 1) * OFFSET))
  end
  local base_ = offset(0)
  local texts, stamp = cut(head, base_, offset(to - from + 1) - 1), string.sub(front, 1, STAMP)
  for number = from, to do
    local id, record = wanted[number], record_in(records, number - from)
    local letter = string.sub(record, 1, 1)
    if id and FARES[letter] then
      local text = stamp .. string.sub(texts, offset(number - from) - base_ + 1, offset(number - from + 1) - base_)
      local job = untouched(id, submitted(text))
      job.member = { head = head, number = number, letter = letter, first = string.sub(record, 2, 5), text = text }
      if letter ~= 'w' then tell_claimed(job, record) end
      found[id] = job
    end
  end
end

-- The jobs of these ids that are in bundles, by id.
local function load_members(ids)
  local heads, found = {}, {}
  for _, id in ipairs(ids) do
    local head, number = place_of(id)
    if head then
      local of = heads[head] or { wanted = {}, from = number, to = number }
      heads[head] = of
      of.wanted[number], of.from, of.to = id, math.min(of.from, number), math.max(of.to, number)
    end
  end
  for head, of in pairs(heads) do read_members(head, of.wanted, of.from, of.to, found) end
  return found
end

-- The lease of a job that runs.
local function lease_of(job)
  local member = job.member
  return member and member.head .. member.first or job.id
end

-- How many jobs of a take still run under its lease.
local function held_in(take)
  local records, held = records_of(take.head, take.first, take.last), 0
  local record = held_record(four(take.first), take.version)
  for place = 0, take.last - take.first do
    if record_in(records, place) == record then held = held + 1 end
  end
  return held
end

-- Nothing is in the bundle any more: those that are kept apart are listed by themselves.
local function dissolve(head)
  local last = size_of(cut(head, 0, RECORDS_AT - 1)) - 1
  local records, firsts, names, takes = records_of(head, 0, last), {}, {}, {}
  for number = 0, last do
    local record = record_in(records, number)
    if string.sub(record, 1, 1) == 'a' then
      names[#names + 1] = '0'
      names[#names + 1] = id_in(head, number)
    end
    firsts[string.sub(record, 2, 5)] = true
  end
  for first in pairs(firsts) do takes[#takes + 1] = head .. first end
  put_all('ZADD', key('ids'), names)
  put_all('HDEL', key('takes'), takes)
  redis.call('ZREM', key('ids'), head .. four(last))
  redis.call('UNLINK', key('bundle', head))
end

-- How many jobs left each bundle, and the takes that jobs left, in this run. When all is written, bundles
-- that nothing is left of are dissolved, and leases end under which nothing runs any more.
local left_bundle, left_take
table.insert(begins, function() takes_known, left_bundle, left_take = {}, {}, {} end)

table.insert(endings, function()
  for head, by in pairs(left_bundle) do
    local left = cut(head, LEFT_AT, LEFT_AT + 3) - by
    if left == 0 then
      dissolve(head)
    else
      redis.call('SETRANGE', key('bundle', head), LEFT_AT, four(left))
    end
  end
  for name, take in pairs(left_take) do
    if held_in(take) == 0 then redis.call('ZREM', key('leases'), name) end
  end
end)

local function shrink(head, by)
  left_bundle[head] = (left_bundle[head] or 0) + by
end

local function leave_take(take)
  left_take[take.name] = take
end

local function set_letter(head, number, letter)
  redis.call('SETRANGE', key('bundle', head), RECORDS_AT + number * RECORD, letter)
end

-- From now on the job is kept like one that came alone.
local function keep_apart(job)
  local member = job.member
  local lease = lease_of(job)
  job.member = nil
  put('HSET', JOBS, job.id, member.text)
  set_letter(member.head, member.number, 'a')
  if member.letter == 'p' then
    -- Where it runs on, the lease goes with it.
    if job.state == 'processing' then
      redis.call('ZADD', key('leases'), redis.call('ZSCORE', key('leases'), lease), job.id)
    end
    leave_take(take_of(member.head, member.first))
  elseif member.letter == 'r' then
    put('HDEL', key('results'), job.id)
  end
  shrink(member.head, 1)
end

-- The job is deleted: one of a bundle, or one that was kept apart from it.
local function drop_member(job)
  local member = job.member
  if member then
    set_letter(member.head, member.number, 'g')
    if member.letter == 'r' then put('HDEL', key('results'), job.id) end
    return shrink(member.head, 1)
  end
  local head, number = place_of(job.id)
  local front = head and cut(head, 0, RECORDS_AT - 1) or ''
  if front ~= '' and number < size_of(front) then set_letter(head, number, 'g') end
end

-- A waiting job leaves its bundle: those before it and those behind it wait on.
local function split_bundle(job, waits_)
  local arrival, place = string.sub(job.seq, 1, 10), tonumber(string.sub(job.seq, 11))
  local front = job.run_at .. arrival
  local ticket = redis.call('ZREVRANGEBYLEX', waits_, '(' .. front .. four(place + 1), '[' .. front,
    'LIMIT', 0, 1)[1]
  local b, number = bundle_in(ticket), job.member.number
  redis.call('ZREM', waits_, ticket)
  if number > b.number then redis.call('ZADD', waits_, '0', ticket_for(b, b.number, number - 1)) end
  if number < b.last then redis.call('ZADD', waits_, '0', ticket_for(b, number + 1, b.last)) end
end
