-- Declares a study complete if its time has come and nothing changed since that was decided. ARGV: time, study, how many
-- changes there were then, its time in ms, why it is complete.
local uid, changes, due = ARGV[2], ARGV[3], tonumber(ARGV[4])
local held = call('HMGET', P .. 's:' .. uid, 'state', 'changes', 'received', 'tenant')
if not held[1] then
  return { 'study' }
end
local wall, t = clocks()
if held[1] ~= 'receiving' or (held[2] or '0') ~= changes or due > t then
  return { 'before' }
end
set_state(uid, 'receiving', 'complete', held[3], held[4], 'completion', ARGV[5], 'updated', wall)
return { 'now' }
