-- Part of scripts that touch jobs: what is stored of a job.
--
-- `jobs` holds what was submitted, and is written once. `states` holds what became of it since
-- something first happened to it; a job that only waits has no state yet. A long payload lies apart,
-- so that what is read often stays short.
local JOBS, STATES = key('jobs'), key('states')

-- What was submitted is a text: created_at (13 digits), version (14) and arrival (12), written by the
-- script that took it in; then, as the submitter wrote it, 'i' or 'a' (payload inside, apart), the
-- priority (0 first), the moment asked for (13), lane, uniqueness key and fixed part, each behind its
-- length (6), and the payload.
local function submitted(text)
  local at = 54
  local function piece()
    local length = tonumber(string.sub(text, at + 1, at + 6))
    local from = at + 7
    at = at + 6 + length
    return string.sub(text, from, at)
  end
  local created, asked = string.sub(text, 1, 13), string.sub(text, 42, 54)
  return {
    created_at = tonumber(created), version = tonumber(string.sub(text, 14, 27)),
    seq = string.sub(text, 28, 39), apart = string.sub(text, 40, 40) == 'a',
    priority = tonumber(string.sub(text, 41, 41)), run_at = asked > created and asked or created,
    later = asked > created, lane = piece(), unique = piece(), fixed = piece(),
  }
end

-- A state is a packed list of these, in this order; false stands for none. It ends with the last that
-- there is, and what most jobs have comes first. RUN_AT and SEQ are texts that sort. PAST holds the
-- attempts before the last one, packed one behind the other, and PASTS how many.
local ID, STATE, LANE, SEQ, RUN_AT, PRIORITY, FENCE, ATTEMPT, CRASHES, VERSION = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
local WORKER, BEGUN_AT, BEGUN, STARTED_AT, UNIQUE, DRAWN, WAIT = 11, 12, 13, 14, 15, 16, 17
local COMPLETED_AT, OUTCOME, ENDED_AT, RESULT, TOLD, ERROR, REASON = 18, 19, 20, 21, 22, 23, 24
local RETRYABLE, SKIPPED, CURSOR, CANCELLED_BY, CANCEL_REQUESTED, DUE_AT = 25, 26, 27, 28, 29, 30
local PAST, PASTS = 31, 32

local function set(job, field, value)
  for empty = #job + 1, field - 1 do job[empty] = false end
  job[field] = value or false
end

-- The state of a job to which nothing has happened.
local function untouched(id, text)
  local s = submitted(text)
  return { id, 'waiting', s.lane, s.seq, s.run_at, s.priority, 0, 0, 0, s.version, false, false, false,
    false, s.unique ~= '' and s.unique, false, s.later and 'schedule' }
end

-- Each run reads a job once. Those without a state are `fresh`.
local known, fresh = {}, {}

-- Jobs that have a state, by id.
local function load_states(ids)
  for i, packed in ipairs(values_of(STATES, ids)) do
    if known[ids[i]] == nil then known[ids[i]] = packed and cmsgpack.unpack(packed) end
  end
  return known
end

-- All jobs of these ids that there are.
local function load_jobs(ids)
  load_states(ids)
  local missing = {}
  for _, id in ipairs(ids) do
    if not known[id] then missing[#missing + 1] = id end
  end
  for i, text in ipairs(values_of(JOBS, missing)) do
    if text then
      known[missing[i]] = untouched(missing[i], text)
      fresh[missing[i]] = true
    end
  end
  return known
end

local function load_job(id)
  return load_jobs({ id })[id] or nil
end

local function save_job(job)
  job[VERSION] = change()
  put('HSET', STATES, job[ID], cmsgpack.pack(job))
end

-- A job's name where order counts: when it runs, its arrival, whether it has a state, its id.
local function ticket(job)
  return job[RUN_AT] .. job[SEQ] .. (fresh[job[ID]] and '0' or '1') .. job[ID]
end

local function id_of(ticket_)
  return string.sub(ticket_, 27)
end

local function run_of(ticket_)
  return string.sub(ticket_, 1, 13)
end
