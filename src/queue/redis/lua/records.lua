-- Part of scripts that touch jobs: the record of a job.
--
-- A job is a hash of three fields: `fixed` (JSON of the submitter's, never read here), `body` (the
-- payload), and `state`, a packed list of these, in this order; false stands for none.
local FIELDS = {
  'state', 'lane', 'priority', 'seq', 'run_at', 'wait', 'reason', 'due_at', 'created_at', 'attempt',
  'max_attempts', 'crashes', 'fence', 'version', 'worker', 'cursor', 'result', 'skipped', 'error',
  'cancelled_by', 'cancel_requested', 'retryable', 'started_at', 'completed_at', 'unique', 'drawn',
  'attempts',
}

local function job_key(id)
  return key('job', id)
end

local function unpack_job(id, packed)
  if not packed then return nil end
  local job, values = { id = id }, cmsgpack.unpack(packed)
  for i = 1, #FIELDS do job[FIELDS[i]] = values[i] or nil end
  return job
end

local function load_job(id)
  return unpack_job(id, redis.call('HGET', job_key(id), 'state'))
end

local function pack_job(job)
  local values = {}
  for i = 1, #FIELDS do values[i] = job[FIELDS[i]] or false end
  return cmsgpack.pack(values)
end

local function save_job(job)
  job.version = change()
  redis.call('HSET', job_key(job.id), 'state', pack_job(job))
end

-- A job's name where order counts: its arrival, then its id.
local function ticket(job)
  return string.format('%014d', job.seq) .. job.id
end

local function id_of(ticket_)
  return string.sub(ticket_, 15)
end
