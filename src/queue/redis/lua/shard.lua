-- Part of every script: the names of a shard's keys, its time, its news, and writing in batches.
--
-- What is here and in the other parts is made once, and called again and again: what a run keeps, it makes
-- in its beginning, in `begin`.
--
-- KEYS[1]  what all keys of the shard begin with, its {tag} included
-- ARGV[1]  the time in milliseconds; empty: the server's own
--
-- Names inside a key are held apart by the character 1, which no name contains.
local SEP = '\1'
local KEYS, ARGV, base, now, now_text

-- What the parts make in the beginning of each run, so that nothing is left of the one before, also when that
-- one failed on its way.
local begins = {}

local function key(what, a, b, c)
  if not a then return base .. what end
  if not b then return base .. what .. SEP .. a end
  if not c then return base .. what .. SEP .. a .. SEP .. b end
  return base .. what .. SEP .. a .. SEP .. b .. SEP .. c
end

local function server_time()
  local at = redis.call('TIME')
  return at[1] * 1000 + math.floor(at[2] / 1000)
end

-- Numbers are slow to hand to a call: what is called often is given texts.
local function whole(number)
  return string.format('%d', number)
end

-- A moment as a text that sorts like the number.
local function moment(ms)
  return string.format('%013d', ms)
end

-- The queue and the tenant of a lane, which its id begins with; its name comes behind them.
local function parts(lane)
  return string.match(lane, '^([^\1]*)\1([^\1]*)\1')
end

-- A call costs more than what it does: what many jobs need is put together, and written by `write`.
local CHUNK = 500
local batches

local function put(command, where, a, b)
  local by = batches[command]
  if not by then
    by = {}
    batches[command] = by
  end
  local list = by[where]
  if not list then
    list = {}
    by[where] = list
  end
  list[#list + 1] = a
  if b ~= nil then list[#list + 1] = b end
end

local function in_chunks(list, step)
  for first = 1, #list, CHUNK do step(first, math.min(first + CHUNK - 1, #list)) end
end

-- Writes a whole list of what one command takes.
local function put_all(command, where, list)
  local count = #list
  if count == 0 then return end
  if count <= CHUNK then return redis.call(command, where, unpack(list)) end
  in_chunks(list, function(first, last) redis.call(command, where, unpack(list, first, last)) end)
end

local function write()
  for command, by in pairs(batches) do
    for where, list in pairs(by) do put_all(command, where, list) end
  end
  batches = {}
end

-- The values of many fields of a hash, in one call each chunk.
local function values_of(hash, fields)
  if #fields == 0 then return {} end
  if #fields <= CHUNK then return redis.call('HMGET', hash, unpack(fields)) end
  local values = {}
  in_chunks(fields, function(first, last)
    for i, value in ipairs(redis.call('HMGET', hash, unpack(fields, first, last))) do
      values[first + i - 1] = value
    end
  end)
  return values
end

-- Says that this run changes something, and answers the version of all that it changes.
local version
local function change()
  version = version or redis.call('HINCRBY', key('meta'), 'version', 1)
  return version
end

-- Queues in which something became claimable.
local woken
local function wake(queue)
  change()
  woken[queue] = true
end

-- How many jobs came to a state or left it, by queue; written once.
local tallies
local function tally(queue, state, by)
  local field = queue .. SEP .. state
  tallies[field] = (tallies[field] or 0) + by
end

-- What is looked at once all is written.
local endings = {}

local function begin(keys, arguments)
  KEYS, ARGV = keys, arguments
  base, now = KEYS[1], tonumber(ARGV[1]) or server_time()
  now_text = moment(now)
  batches, version, woken, tallies = {}, nil, {}, {}
  for _, anew in ipairs(begins) do anew() end
end

-- Tells what is new: the version, then the queues woken. Where jobs only came, to lanes that wait their turn
-- already, there is nothing that anybody waits for: each message wakes every process.
local function publish(only_came)
  for _, ending in ipairs(endings) do ending() end
  for field, by in pairs(tallies) do
    if by ~= 0 then redis.call('HINCRBY', key('tallies'), field, by) end
  end
  if not version or only_came and not next(woken) then return end
  local news = { whole(version) }
  for queue in pairs(woken) do news[#news + 1] = queue end
  redis.call('PUBLISH', key('news'), table.concat(news, SEP))
end
