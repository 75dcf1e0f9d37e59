-- Part of scripts that touch jobs: the record of a job.
--
-- A job is a hash of three fields: `fixed` (JSON of the submitter's, never read here), `body` (the
-- payload), and `state`, a packed list of these, in this order; false stands for none.
-- What most jobs have comes first: the list ends with the last that there is.
local FIELDS = {
  'state', 'lane', 'priority', 'seq', 'run_at', 'wait', 'due_at', 'created_at', 'attempt',
  'max_attempts', 'crashes', 'fence', 'version', 'unique', 'worker', 'started_at', 'attempts',
  'completed_at', 'result', 'drawn', 'reason', 'error', 'retryable', 'skipped', 'cursor',
  'cancelled_by', 'cancel_requested',
}
local COUNT = #FIELDS

local function job_key(id)
  return key('job', id)
end

local function unpack_job(id, packed)
  if not packed then return nil end
  local job, values = { id = id }, cmsgpack.unpack(packed)
  for i = 1, #values do
    local value = values[i]
    if value then job[FIELDS[i]] = value end
  end
  return job
end

local function load_job(id)
  return unpack_job(id, redis.call('HGET', job_key(id), 'state'))
end

local function pack_job(job)
  local last = COUNT
  while not job[FIELDS[last]] do last = last - 1 end
  local values = {}
  for i = 1, last do values[i] = job[FIELDS[i]] or false end
  return cmsgpack.pack(values)
end

local function save_job(job)
  job.version = change()
  redis.call('HSET', job_key(job.id), 'state', pack_job(job))
end

-- A job's name where order counts: its arrival, then its id.
local function ticket(job)
  job.ticket = job.ticket or string.format('%014d', job.seq) .. job.id
  return job.ticket
end

local function id_of(ticket_)
  return string.sub(ticket_, 15)
end
