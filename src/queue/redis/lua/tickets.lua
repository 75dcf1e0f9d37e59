-- Part of scripts that touch jobs: what was submitted, and the names by which jobs wait.
--
-- `jobs` holds what was submitted, and is written once. `states` holds what became of it since
-- something first happened to it; a job that only waits has no state yet. A long payload lies apart,
-- so that what is read often stays short. Jobs that came together may lie in bundles instead (see there).
local JOBS, STATES
table.insert(begins, function() JOBS, STATES = key('jobs'), key('states') end)

-- What was submitted is a text. The script that took it in wrote, in digits: created_at (13), version
-- (14), arrival (10); the submitter: the job's number in the submission (4), a letter (how its payload
-- is kept, 'i' inside or 'a' apart, or 'j' and 'b' when its end is to be told; in upper case when it is
-- unique), id (26), the number of its lane (4), priority (0 first; 3 more when a moment is asked for),
-- that moment (13); then lane, uniqueness key and fixed part, each behind its length (6), and the
-- payload.
local STAMP = 37
local LETTER, FIRST_ID, LAST_ID, LANE_NUMBER, PRIORITY, ASKED, PIECES = 5, 6, 31, 32, 36, 37, 49
local INSIDE, APART = string.byte('ia', 1, 2)

-- By the byte: 'IAJB', 'aAbB', 'jbJB'.
local IS_UNIQUE = { [73] = true, [65] = true, [74] = true, [66] = true }
local IS_APART = { [97] = true, [65] = true, [98] = true, [66] = true }
local IS_TOLD = { [106] = true, [98] = true, [74] = true, [66] = true }

local function version_text()
  return string.format('%014d', change())
end

local function four(number)
  return string.format('%04d', number)
end

-- The head of the bundle that the job may be in, and its number there.
local function place_of(id)
  local number = string.match(id, '^%d%d%d%d$', 23)
  if number then return string.sub(id, 1, 22) .. '0000', tonumber(number) end
end

-- A name where order counts, a ticket: when the job runs (13), its arrival (10), its place in the
-- submission (4), a letter (that of what was submitted, or '-' if the job has a state already), its id.
local function run_of(ticket_)
  return string.sub(ticket_, 1, 13)
end

-- A bundle's ticket has the place of its first job among those of the submission, '*', its head, and the
-- numbers of its first and last job and how many it had.
local function bundle_ticket(run_at, arrival, place, head, number, last, count)
  return string.format('%s%s%04d*%s%04d%04d%04d', run_at, arrival, place, head, number, last, count)
end

local BUNDLE = string.byte('*')

local function is_bundle(ticket)
  return string.byte(ticket, 28) == BUNDLE
end

-- The numbers of the first and the last job that a bundle's ticket names, or of those from a number on.
local function numbers_in(ticket, from)
  return from or tonumber(string.sub(ticket, 55, 58)), tonumber(string.sub(ticket, 59, 62))
end

local function head_in(ticket)
  return string.sub(ticket, 29, 54)
end

local function bundle_in(ticket)
  local number, last = numbers_in(ticket)
  return { run_at = run_of(ticket), arrival = string.sub(ticket, 14, 23),
    place = tonumber(string.sub(ticket, 24, 27)), head = head_in(ticket), number = number, last = last,
    count = tonumber(string.sub(ticket, 63, 66)) }
end

-- The ticket of those of a bundle that wait from one number to another.
local function ticket_for(b, from, till)
  return bundle_ticket(b.run_at, b.arrival, b.place + from - b.number, b.head, from, till, b.count)
end
