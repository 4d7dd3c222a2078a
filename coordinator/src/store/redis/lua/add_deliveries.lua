-- Notes where a draft is to go. ARGV: time, study, version, whether again ('1'), then destination and object of each.
local uid, version = ARGV[2], tonumber(ARGV[3])
local newest, state = unpack(call('HMGET', P .. 's:' .. uid, 'draft', 'state'))
if not newest then
  return { 'study' }
end
if version == 0 or version > tonumber(newest) or state == 'removing' then
  return { 'outdated' }
end
local wall, t = clocks()
return { note_wishes(uid, ARGV[3], 5, ARGV[4] == '1', wall, t) and 'now' or 'before' }
