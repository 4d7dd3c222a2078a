-- What is known of workers. ARGV: time, what, then what it is about. A worker's record: what it said, since when it is
-- known, when it was heard of, whether it is to stop.
local what, worker = ARGV[2], ARGV[3]
local _, t = clocks()
local workers = P .. 'workers'

local function forget(id)
  call('HDEL', workers, id)
  call('HDEL', P .. 'asked', id)
end

if what == 'list' then
  local found = {}
  local held = call('HGETALL', workers)
  for place = 1, #held, 2 do
    local record = cmsgpack.unpack(held[place + 1])
    found[#found + 1] = { record[1], record[2], record[3], record[4] and 1 or 0, math.max(t - record[3], 0) }
  end
  return found
elseif what == 'forget_old' then
  local count = 0
  local held = call('HGETALL', workers)
  for place = 1, #held, 2 do
    if cmsgpack.unpack(held[place + 1])[3] < t - ARGV[3] then
      forget(held[place])
      count = count + 1
    end
  end
  return count
end

local packed = call('HGET', workers, worker)
local record = packed and cmsgpack.unpack(packed)
if what == 'heartbeat' then
  record = { ARGV[4], record and record[2] or t, t, record and record[4] or false }
  call('HSET', workers, worker, cmsgpack.pack(record))
  return { record[4] and 'drain' or 'now' }
elseif what == 'drain' then
  local drain = ARGV[4] == '1'
  if not record then
    return { 'worker' }
  end
  if record[4] == drain then
    return { 'before' }
  end
  record[4] = drain
  call('HSET', workers, worker, cmsgpack.pack(record))
  return { 'now' }
elseif what == 'forget' then
  if not record then
    return { 'before' }
  end
  forget(worker)
  return { 'now' }
end
