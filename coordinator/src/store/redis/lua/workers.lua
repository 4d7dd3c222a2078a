-- What is known of workers. ARGV: time, what, then what it is about. A worker's record: what it said, since when it is
-- known, when it was heard of, whether it is to stop, its processes (the newest last), and when one of them was heard of
-- again after another (0 for never). Records of older versions end after the fourth.
local what, worker = ARGV[2], ARGV[3]
local _, t = clocks()
local workers = P .. 'workers'

if what == 'list' then
  local found = {}
  local held = call('HGETALL', workers)
  for place = 1, #held, 2 do
    local record = cmsgpack.unpack(held[place + 1])
    found[#found + 1] = {
      record[1], record[2], record[3], record[4] and 1 or 0, math.max(t - record[3], 0), record[5] or {}, record[6] or 0,
    }
  end
  return found
elseif what == 'forget_old' then
  local count = 0
  local held = call('HGETALL', workers)
  for place = 1, #held, 2 do
    if cmsgpack.unpack(held[place + 1])[3] < t - ARGV[3] then
      call('HDEL', workers, held[place])
      count = count + 1
    end
  end
  return count
end

local packed = call('HGET', workers, worker)
local record = packed and cmsgpack.unpack(packed)
if what == 'heartbeat' then
  local process, kept = ARGV[5], tonumber(ARGV[6])
  record = record or { '', t, t, false, {}, 0 }
  local processes, shared = record[5] or {}, record[6] or 0
  if process ~= '' and processes[#processes] ~= process then
    for place, known in ipairs(processes) do
      if known == process then
        table.remove(processes, place)
        shared = t
        break
      end
    end
    processes[#processes + 1] = process
    if #processes > kept then
      table.remove(processes, 1)
    end
  end
  record = { ARGV[4], record[2], t, record[4], processes, shared }
  call('HSET', workers, worker, cmsgpack.pack(record))
  return { record[4] and 1 or 0, shared, t }
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
  call('PUBLISH', P .. 'wake', 'orders')
  return { 'now' }
elseif what == 'forget' then
  if not record then
    return { 'before' }
  end
  call('HDEL', workers, worker)
  return { 'now' }
end
