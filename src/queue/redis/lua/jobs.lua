-- Reads a page of jobs, newest first.
--
-- KEYS[1] the shard
-- ARGV[1] the time
-- ARGV[2] the id before which to begin; empty: from the newest
-- ARGV[3] how many at most
--
-- Gives {time, job…}, each as script `job` gives it.
local from = ARGV[2] == '' and '+' or '(' .. ARGV[2]
local most, page = tonumber(ARGV[3]), {}

-- Those of a bundle before the id, newest first, as far as they are there.
local function add_bundle(name)
  local head, last = string.sub(name, 1, 26), tonumber(string.sub(name, 27))
  if string.sub(ARGV[2], 1, 22) == string.sub(head, 1, 22) then
    local _, before = place_of(ARGV[2])
    last = math.min(last, (before or last + 1) - 1)
  end
  local records = records_of(head, 0, last)
  for number = last, 0, -1 do
    if #page == most then return end
    if string.sub(record_in(records, number), 1, 1) ~= 'g' then page[#page + 1] = id_in(head, number) end
  end
end

local read = 0
while #page < most do
  local names = redis.call('ZREVRANGEBYLEX', key('ids'), from, '-', 'LIMIT', read, most)
  for _, name in ipairs(names) do
    if #page == most then break end
    if #name == 26 then page[#page + 1] = name else add_bundle(name) end
  end
  if #names < most then break end
  read = read + most
end
local reply = views_of(page)
table.insert(reply, 1, now)
return reply
