-- Takes jobs in: all of the submission or nothing.
--
-- KEYS[1]   the shard
-- ARGV[1]   the time
-- ARGV[2]   the tenant
-- ARGV[3-6] the submission's key (empty: not remembered), its fingerprint, its answer, how long it is
--           kept (ms)
-- ARGV[7…]  nine for each job: id, lane id, lane policy (JSON), priority (0 first), run_at (ms; empty:
--           now), attempts it may have, uniqueness key (empty: none), fixed part (JSON), payload
--
-- Gives {'fresh', id…}, {'replayed', answer}, {'reused'}, or {'taken', id} for an id that is there.
local tenant, submission, fingerprint, answer, keep = ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local FIRST, WIDTH = 7, 9

local remembered = key('submission', tenant, submission)
if submission ~= '' then
  local known = redis.call('HMGET', remembered, 'fingerprint', 'answer', 'expires_at')
  if known[1] and tonumber(known[3]) > now then
    return known[1] == fingerprint and { 'replayed', known[2] } or { 'reused' }
  end
end

-- Everything is looked at before anything is written.
local ids, new = { 'fresh' }, {}
local here, twins = {}, {}
-- Ids that the answer names, and those of the jobs that are there in their place.
local instead = {}
for at = FIRST, #ARGV, WIDTH do
  local id, unique = ARGV[at], ARGV[at + 6]
  local twin = unique ~= '' and (twins[unique] or redis.call('GET', key('unique', tenant, unique)))
  if not twin then
    if here[id] or redis.call('EXISTS', job_key(id)) == 1 then return { 'taken', id } end
    here[id], new[#new + 1] = true, at
    if unique ~= '' then twins[unique] = id end
  else
    instead['job_' .. id] = 'job_' .. twin
  end
  ids[#ids + 1] = twin or id
end

if submission ~= '' then
  if next(instead) then answer = string.gsub(answer, 'job_' .. string.rep('%w', 26), instead) end
  local expires_at = now + math.max(tonumber(keep), 1)
  redis.call('HSET', remembered, 'fingerprint', fingerprint, 'answer', answer, 'expires_at', expires_at)
  redis.call('ZADD', key('submissions'), expires_at, tenant .. SEP .. submission)
end
local seq = redis.call('HINCRBY', key('meta'), 'seq', #new) - #new
for number, at in ipairs(new) do
  local lane = ensure_lane(ARGV[at + 1], ARGV[at + 2])
  local run_at = math.max(tonumber(ARGV[at + 4]) or now, now)
  local job = {
    id = ARGV[at], lane = lane.id, priority = tonumber(ARGV[at + 3]), seq = seq + number,
    run_at = run_at, wait = run_at > now and 'schedule' or 'turn', due_at = run_at,
    created_at = now, attempt = 0, max_attempts = tonumber(ARGV[at + 5]), crashes = 0, fence = 0,
    unique = ARGV[at + 6] ~= '' and ARGV[at + 6] or nil, version = change(),
  }
  enter_waiting(job, lane)
  lane.jobs = lane.jobs + 1
  redis.call('HSET', job_key(job.id), 'state', pack_job(job), 'fixed', ARGV[at + 7], 'body', ARGV[at + 8])
  redis.call('ZADD', key('ids'), 0, job.id)
  if job.unique then redis.call('SET', unique_key(job, lane), job.id) end
end
finish()
return ids
