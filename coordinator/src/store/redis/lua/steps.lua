-- Performed procedure steps. ARGV: time, what, then what it is about. A step's record: revision, write, when it changed, the
-- studies that it is of, with spaces, and the rest as JSON. `steps:of` has the steps of each study, with spaces.
local what = ARGV[2]
local steps, times, of = P .. 'steps', P .. 'steps:at', P .. 'steps:of'
local _, t = clocks()

local function held(uid)
  local packed = call('HGET', steps, uid)
  return packed and cmsgpack.unpack(packed)
end

if what == 'put' then
  -- uid, revision that it takes the place of (empty for a new one), write, tenant, most, JSON, studies
  local uid, after, write, tenant, most = ARGV[3], ARGV[4], ARGV[5], ARGV[6], tonumber(ARGV[7])
  local record = held(uid)
  if record and record[2] == write then
    return { 'now' }
  end
  if (record and tostring(record[1]) or '') ~= after then
    return { 'no' }
  end
  if not record and call('ZCARD', times) >= most then
    return { 'full' }
  end
  local studies = record and record[4] or ARGV[9]
  record = { (tonumber(after) or 0) + 1, write, t, studies, ARGV[8] }
  call('HSET', steps, uid, cmsgpack.pack(record))
  call('ZADD', times, string.format('%.0f', t), uid)
  for study in string.gmatch(studies, '%S+') do
    if after == '' then
      local known = call('HGET', of, study)
      call('HSET', of, study, known and known .. ' ' .. uid or uid)
    end
    if call('HGET', P .. 's:' .. study, 'tenant') == tenant then
      call('HINCRBY', P .. 's:' .. study, 'changes', 1)
    end
  end
  return { 'now' }
elseif what == 'get' then
  local record = held(ARGV[3])
  return record and { record[1], record[2], record[3], record[4], record[5] } or {}
elseif what == 'of' then
  -- most of a study, studies
  local most, found = tonumber(ARGV[3]), {}
  for place = 4, #ARGV do
    local uids, some = {}, {}
    for uid in string.gmatch(call('HGET', of, ARGV[place]) or '', '%S+') do
      uids[#uids + 1] = uid
    end
    table.sort(uids)
    for index = 1, math.min(#uids, most) do
      local record = held(uids[index])
      some[index] = { record[1], record[2], record[3], record[4], record[5] }
    end
    found[#found + 1] = some
  end
  return found
end
-- Those that changed long ago are forgotten: age in ms.
local old = call('ZRANGEBYSCORE', times, '-inf', '(' .. string.format('%.0f', t - ARGV[3]), 'LIMIT', 0, 1000)
for _, uid in ipairs(old) do
  for study in string.gmatch(held(uid)[4], '%S+') do
    local left = {}
    for known in string.gmatch(call('HGET', of, study) or '', '%S+') do
      if known ~= uid then
        left[#left + 1] = known
      end
    end
    if #left == 0 then
      call('HDEL', of, study)
    else
      call('HSET', of, study, table.concat(left, ' '))
    end
  end
  call('HDEL', steps, uid)
  call('ZREM', times, uid)
end
return #old
