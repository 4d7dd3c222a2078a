-- Declares a study complete if nothing came for it. ARGV: time, study, quiet time in ms.
local uid, quiet = ARGV[2], tonumber(ARGV[3])
local wall, t = clocks()
local held = call('HMGET', P .. 's:' .. uid, 'state', 'last_instance')
if not held[1] then
  return { 'study' }
end
if held[1] ~= 'receiving' or tonumber(held[2]) + quiet > t then
  return { 'before' }
end
set_state(uid, 'receiving', 'complete', { 'updated', wall })
return { 'now' }
