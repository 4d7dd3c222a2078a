-- Makes what came of a review the newest version of a report. ARGV: time, study, version, where it stands ('signed',
-- 'amended' or 'rejected', as the study will), request, digest, size, objects and summary, then destination and object of each of
-- its deliveries.
local uid, version, standing, request = ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5]
local study = P .. 's:' .. uid
local held = call('HMGET', study, 'state', 'draft', 'received', 'tenant', 'signed')
local state, newest = held[1], held[2]
if not state then
  return { 'study' }
end
local reviewed = call('HGET', P .. 'd:' .. uid, newest)
reviewed = reviewed and cjson.decode(reviewed)
if reviewed and request ~= '' and reviewed.request == request then
  return { 'before' }
end
local open = state == 'drafted' or state == 'signed' or state == 'amended' or state == 'rejected'
if not reviewed or not open then
  return { 'state', state }
end
if version ~= newest + 1 then
  return { 'outdated' }
end
local is_draft = (reviewed.standing or 'unsigned_draft') == 'unsigned_draft'
if standing == 'rejected' and not is_draft then
  return { 'state', state }
end
local has_signed = (tonumber(held[5]) or 0) > 0
if (standing == 'signed' and has_signed) or (standing == 'amended' and not has_signed) then
  return { 'misfit' }
end
-- Where a draft is rejected, what was signed before stands.
local state_now = standing
if standing == 'rejected' and has_signed then
  local signed = call('HGET', P .. 'd:' .. uid, held[5])
  signed = signed and cjson.decode(signed)
  state_now = signed and signed.standing == 'amended' and 'amended' or 'signed'
end
local wall, t = clocks()
local report = string.format(
  '{"version":%s,"digest":"%s","size_bytes":%s,"drafted_at_ms":%.0f,"standing":"%s","request":%s}',
  ARGV[3], ARGV[6], ARGV[7], wall, standing, cjson.encode(request))
call('HSET', P .. 'd:' .. uid, ARGV[3], report)
if standing ~= 'rejected' then
  call('HSET', study, 'signed', ARGV[3])
end
note_wishes(uid, ARGV[3], 10, false, wall, t)
set_state(uid, state, state_now, held[3], held[4], 'draft', ARGV[3], 'objects', ARGV[8], 'summary', ARGV[9],
  'updated', wall)
return { 'now' }
