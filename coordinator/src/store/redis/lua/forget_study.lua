-- Forgets a study whose bytes are gone. ARGV: time, study.
local uid = ARGV[2]
local study, instances = P .. 's:' .. uid, P .. 'i:' .. uid
local held = call('HMGET', study, 'state', 'a:patient_id', 'a:accession_number', 'a:study_date')
if not held[1] then
  return { 'before' }
end
if held[1] ~= 'removing' then
  return { 'state', held[1] }
end
for n, job in pairs(all_jobs(uid)) do
  leave(uid, n, job)
end
-- So many at a time: a call takes a few thousand arguments. An instance may have come into another study since.
local TOGETHER = 1000
local uids = call('HKEYS', instances)
for from = 1, #uids, TOGETHER do
  local some = { unpack(uids, from, math.min(from + TOGETHER - 1, #uids)) }
  local gone = {}
  for index, place in ipairs(call('HMGET', P .. 'at', unpack(some))) do
    if place == uid then
      gone[#gone + 1] = some[index]
    end
  end
  if #gone > 0 then
    call('HDEL', P .. 'at', unpack(gone))
  end
end
call('ZREM', P .. 'ix:*', uid)
call('ZREM', P .. listing_of('removing'), uid)
for place, listing in ipairs({ 'ix:p:', 'ix:a:', 'ix:d:' }) do
  if held[place + 1] then
    call('ZREM', P .. listing .. redis.sha1hex(held[place + 1]), uid)
  end
end
call('DEL', study, instances, P .. 'j:' .. uid, P .. 'd:' .. uid, P .. 'dl:' .. uid)
return { 'now' }
