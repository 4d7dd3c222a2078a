-- Begins to remove a study. ARGV: time, study, when it last changed.
local uid = ARGV[2]
local state, received, tenant, updated = unpack(call('HMGET', P .. 's:' .. uid, 'state', 'received', 'tenant', 'updated'))
if not state then
  return { 'study' }
end
if state == 'removing' then
  return { 'before' }
end
if OPEN[state] then
  return { 'state', state }
end
if tonumber(updated) ~= tonumber(ARGV[3]) then
  return { 'outdated' }
end
for _, packed in ipairs(call('HVALS', P .. 'dl:' .. uid)) do
  if cmsgpack.unpack(packed)[SENT_DUE] ~= 0 then
    return { 'sending' }
  end
end
local wall = clocks()
set_state(uid, state, 'removing', received, tenant, 'updated', wall)
return { 'now' }
