-- Draws permits of one bucket that all tenants share, as many as all its limits admit.
--
-- KEYS[1] the shard of the bucket
-- ARGV[1] the time
-- ARGV[2] its limits (JSON), all of the same bucket
-- ARGV[3…] the permits
--
-- Gives {how many were drawn, the first ones; and if that is not all: when the next comes free, the
-- label of the limit that is the last to admit it}.
local NOBODY, permits, limits = '', {}, {}
for at = 3, #ARGV do permits[at - 2] = ARGV[at] end
local left = #permits
for i, given in ipairs(cjson.decode(ARGV[2])) do
  local limit = { given.bucket, given.label, given.count, given.window_ms }
  limits[i] = limit
  widen(bucket_of(NOBODY, limit), limit)
  left = math.min(left, room(NOBODY, limit))
end
if left > 0 then draw(bucket_of(NOBODY, limits[1]), { unpack(permits, 1, left) }) end
write()
if left == #permits then return { left } end
local till, label = now, ''
for _, limit in ipairs(limits) do
  local at = opens_at(NOBODY, limit)
  if at > till then till, label = at, limit[LABEL] end
end
return { left, till, label }
