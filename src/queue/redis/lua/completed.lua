-- Part of settling: jobs of bundles that completed under their first claim, many at a time. Where a settlement
-- says how many jobs, under which fence, and what becomes of them, is told in `settle.lua`.
local byte, sub = string.byte, string.sub
local MANY, FENCE, ORDER, FIRST_FENCE = 27, 31, 41, '0000000001'
local DONE = byte('C')

-- The takes that this run met, by their heads; and how many of them ended, by their lanes.
local takes, met, ended_in

-- The take that this job of a bundle runs in, as far as it is known or the job still runs; it is asked for
-- up to another one.
local function take_with(head, number, upto)
  local of = takes[head]
  if not of then
    of = {}
    takes[head] = of
  end
  for _, take in ipairs(of) do
    if take.first <= number and number <= take.last then return take end
  end
  local records = records_of(head, number, upto)
  local take = byte(records) == byte('p') and take_of(head, sub(records, 2, 5))
  if not take or number > take.last then return nil end
  take.held, take.ended = held_record(four(take.first), take.version), 0
  -- Mostly all of a take ends at once.
  local whole_take = take.first == number and take.last <= upto
  take.records = whole_take and records or records_of(head, take.first, take.last)
  of[#of + 1], met[#met + 1] = take, take
  return take
end

-- Jobs of a take that completed one behind the other, and are not written yet: settlements come in the
-- order of ids.
local range

local function write_range()
  if not range then return end
  set_records(range.take.head, range.from, table.concat(range.records))
  put('RPUSH', key('completed'), range.take.head .. four(range.from) .. four(range.to))
  range = nil
end

-- The pieces, one for each take, that these jobs of a bundle are; nothing unless all of them run under
-- their first claim.
local function held_pieces(head, number, last)
  local pieces = {}
  while number <= last do
    local take = take_with(head, number, last)
    if not take then return nil end
    local to = math.min(last, take.last)
    local place, count = number - take.first, to - number + 1
    if sub(take.records, place * RECORD + 1, (place + count) * RECORD) ~= string.rep(take.held, count) then
      return nil
    end
    pieces[#pieces + 1] = { take = take, from = number, count = count }
    number = to + 1
  end
  return pieces
end

-- Counts those of a take that end, from one number to another, for their lanes.
local function count_lanes(parts, from, to)
  local at = PARTS
  while parts[at + 1] < from do at = at + PART end
  repeat
    local lane, last = parts[at], math.min(parts[at + 1], to)
    ended_in[lane] = (ended_in[lane] or 0) + last - from + 1
    from, at = last + 1, at + PART
  until from > to
end

local function complete_piece(piece, letter)
  local take, to = piece.take, piece.from + piece.count - 1
  if not range or range.take ~= take or range.to + 1 ~= piece.from then
    write_range()
    range = { take = take, from = piece.from, records = {} }
  end
  local record = letter .. sub(take.held, 2, 5) .. now_text .. version_text()
  range.to, range.records[#range.records + 1] = to, string.rep(record, piece.count)
  take.ended = take.ended + piece.count
  count_lanes(take.parts, piece.from, to)
end

-- Says of jobs of a bundle that they completed, if all of them run under their first claim: their records
-- are written anew. Whether it did.
local function complete_members(order)
  local head, number = place_of(sub(order, 1, 26))
  if not head or byte(order, ORDER) ~= DONE or sub(order, FENCE, ORDER - 1) ~= FIRST_FENCE then return false end
  local count = tonumber(sub(order, MANY, FENCE - 1))
  local pieces = held_pieces(head, number, number + count - 1)
  if not pieces then return false end
  local letter = 'c'
  if #order > ORDER then
    letter = 'r'
    put('HSET', key('results'), sub(order, 1, 26), sub(order, ORDER + 1))
  end
  for _, piece in ipairs(pieces) do complete_piece(piece, letter) end
  return true, count
end

-- Counts jobs that completed, by their lanes' ids.
local function complete_in_lanes(counts)
  local ids = {}
  for id in pairs(counts) do ids[#ids + 1] = id end
  load_lanes(ids)
  for id, count in pairs(counts) do
    local lane = lane_of(id)
    count_ended(lane, count)
    tally(lane.queue, 'completed', count)
  end
end

-- What follows for the lanes and leases of those takes.
local function close_takes()
  write_range()
  complete_in_lanes(ended_in)
  for _, take in ipairs(met) do
    if take.ended > take.last - take.first then
      put('ZREM', key('leases'), take.name)
    elseif take.ended > 0 then
      leave_take(take)
    end
  end
end
