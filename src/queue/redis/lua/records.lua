-- Part of scripts that touch jobs: what is stored of a job.
--
-- `jobs` holds what was submitted, and is written once. `states` holds what became of it since
-- something first happened to it; a job that only waits has no state yet. A long payload lies apart,
-- so that what is read often stays short.
local JOBS, STATES = key('jobs'), key('states')

-- What was submitted is a text. The script that took it in wrote, in digits: created_at (13), version
-- (14), arrival (10); the submitter: the job's number in the submission (4), a letter (how its payload
-- is kept, 'i' inside or 'a' apart, or 'j' and 'b' when its end is to be told; in upper case when it is
-- unique), id (26), the number of its lane (4), priority (0 first; 3 more when a moment is asked for),
-- that moment (13); then lane, uniqueness key and fixed part, each behind its length (6), and the
-- payload.
local STAMP = 37
local LETTER, FIRST_ID, LAST_ID, LANE_NUMBER, PRIORITY, ASKED, PIECES = 5, 6, 31, 32, 36, 37, 49
local INSIDE, APART = string.byte('ia', 1, 2)

local function one_of(letters)
  local set = {}
  for at = 1, #letters do set[string.byte(letters, at)] = true end
  return set
end

local IS_UNIQUE, IS_APART, IS_TOLD = one_of('IAJB'), one_of('aAbB'), one_of('jbJB')

local function submitted(text)
  local at = STAMP + PIECES
  local function piece()
    local length = tonumber(string.sub(text, at + 1, at + 6))
    local from = at + 7
    at = at + 6 + length
    return string.sub(text, from, at)
  end
  local function part(from, count)
    return string.sub(text, STAMP + from, STAMP + from + count - 1)
  end
  local created, asked = string.sub(text, 1, 13), part(ASKED, 13)
  return {
    created_at = tonumber(created), version = string.sub(text, 14, 27),
    seq = string.sub(text, 28, STAMP + 4), letter = part(LETTER, 1), priority = tonumber(part(PRIORITY, 1)) % 3,
    run_at = asked > created and asked or created, later = asked > created,
    lane = piece(), unique = piece(), fixed = piece(),
  }
end

-- A state is a text as well, so that what happens to most jobs needs no more than its front: version
-- (14), since when it is in its state (13), the state (1, a letter of LETTERS), fence (10), attempt
-- (5), crashes (5), 'c' or '-' (a cancel was asked for), run_at (13), seq (14), the letter of what was
-- submitted (1), priority (1), the length of its lane (2 bytes), the lane; then, packed, its details. A
-- job that completed and needs no further words has no end in its details; its result (JSON) stands
-- packed behind them, unless that is null. LAST is where the front ends.
local LAST = 80
local LETTERS = { waiting = 'w', processing = 'p', completed = 'c', failed = 'f', cancelled = 'x' }
local STATE_OF = { w = 'waiting', p = 'processing', c = 'completed', f = 'failed', x = 'cancelled' }

local function lane_part(id)
  return string.char(math.floor(#id / 256), #id % 256) .. id
end

local function lane_in(state)
  local high, low = string.byte(state, LAST - 1, LAST)
  return string.sub(state, LAST + 1, LAST + high * 256 + low)
end

-- Details, where they apply: worker, begun_at, begun (its number), started_at, ended_at, outcome, told
-- of the last attempt; past (those before, packed one behind the other) and pasts (how many); wait,
-- reason, error, result, retryable, skipped, cursor, cancelled_by, due_at, drawn (buckets).
local function unpack_state(id, text)
  local lane = lane_in(text)
  local details, result = cmsgpack.unpack(string.sub(text, LAST + #lane + 1))
  local job = details
  job.id, job.lane, job.version = id, lane, string.sub(text, 1, 14)
  job.state, job.since = STATE_OF[string.sub(text, 28, 28)], tonumber(string.sub(text, 15, 27))
  job.fence, job.attempt = tonumber(string.sub(text, 29, 38)), tonumber(string.sub(text, 39, 43))
  job.crashes, job.cancel_requested = tonumber(string.sub(text, 44, 48)), string.sub(text, 49, 49) == 'c'
  job.run_at, job.seq, job.letter = string.sub(text, 50, 62), string.sub(text, 63, 76), string.sub(text, 77, 77)
  job.priority = tonumber(string.sub(text, 78, 78))
  if job.state == 'completed' and not job.ended_at then
    job.result, job.outcome, job.ended_at, job.error = result or 'null', 'completed', job.since, nil
  end
  return job
end

local DETAILS = {
  'worker', 'begun_at', 'begun', 'started_at', 'ended_at', 'outcome', 'told', 'past', 'pasts', 'wait',
  'reason', 'error', 'result', 'retryable', 'skipped', 'cursor', 'cancelled_by', 'due_at', 'drawn',
}

local function version_text()
  return string.format('%014d', change())
end

local function pack_state(job)
  local details = {}
  for _, name in ipairs(DETAILS) do details[name] = job[name] or nil end
  return version_text() .. moment(job.since) .. LETTERS[job.state] .. string.format('%010d%05d%05d',
    job.fence, job.attempt, job.crashes) .. (job.cancel_requested and 'c' or '-')
    .. job.run_at .. job.seq .. job.letter .. job.priority .. lane_part(job.lane)
    .. cmsgpack.pack(details)
end

-- The state of a job to which nothing has happened.
local function untouched(id, s)
  return { id = id, state = 'waiting', lane = s.lane, seq = s.seq, run_at = s.run_at, priority = s.priority,
    fence = 0, attempt = 0, crashes = 0, version = s.version, letter = s.letter,
    since = s.created_at, wait = s.later and 'schedule' or nil, fresh = true }
end

-- Each run unpacks a job once.
local known = {}

-- The jobs of these ids that there are, by id.
local function load_jobs(ids)
  local missing = {}
  for i, text in ipairs(values_of(STATES, ids)) do
    if known[ids[i]] == nil then
      known[ids[i]] = text and unpack_state(ids[i], text)
      if not text then missing[#missing + 1] = ids[i] end
    end
  end
  for i, text in ipairs(values_of(JOBS, missing)) do
    if text then known[missing[i]] = untouched(missing[i], submitted(text)) end
  end
  return known
end

local function load_job(id)
  return load_jobs({ id })[id] or nil
end

local function save_job(job)
  put('HSET', STATES, job.id, pack_state(job))
end

-- A job's name where order counts: when it runs, its arrival, its letter or '-' if it has a state
-- already, its id.
local function ticket(job)
  return job.run_at .. job.seq .. (job.fresh and job.letter or '-') .. job.id
end

local function id_of(ticket_)
  return string.sub(ticket_, 29)
end

local function run_of(ticket_)
  return string.sub(ticket_, 1, 13)
end
