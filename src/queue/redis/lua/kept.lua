-- Part of scripts that touch jobs: reading them, and writing them.

-- Each run unpacks a job once.
local known
table.insert(begins, function() known = {} end)

-- The jobs of these ids that there are, by id.
local function load_jobs(ids)
  local missing = {}
  for i, text in ipairs(values_of(STATES, ids)) do
    if known[ids[i]] == nil then
      known[ids[i]] = text and unpack_state(ids[i], text)
      if not text then missing[#missing + 1] = ids[i] end
    end
  end
  local elsewhere = {}
  for i, text in ipairs(values_of(JOBS, missing)) do
    if text then
      known[missing[i]] = untouched(missing[i], submitted(text))
    else
      elsewhere[#elsewhere + 1] = missing[i]
    end
  end
  for id, job in pairs(load_members(elsewhere)) do known[id] = job end
  return known
end

-- What was submitted of jobs that are loaded.
local function texts_of(ids)
  local texts = values_of(JOBS, ids)
  for i, id in ipairs(ids) do
    local job = known[id]
    texts[i] = texts[i] or job and job.member and job.member.text
  end
  return texts
end

local function load_job(id)
  return load_jobs({ id })[id] or nil
end

local function save_job(job)
  if job.member then keep_apart(job) end
  put('HSET', STATES, job.id, pack_state(job))
end

-- A job's name where order counts: when it runs, its arrival, its letter or '-' if it has a state
-- already, its id.
local function ticket(job)
  return job.run_at .. job.seq .. (job.fresh and job.letter or '-') .. job.id
end
