-- Declares studies complete whose time has come, if nothing changed since that was decided. ARGV: time, then, for each,
-- study, how many changes there were then, its time in ms, why it is complete. Answers those that became complete.
local EACH = 4
local wall, t = clocks()
local complete = {}
for place = 2, #ARGV, EACH do
  local uid, changes, due = ARGV[place], ARGV[place + 1], tonumber(ARGV[place + 2])
  local held = due <= t and call('HMGET', P .. 's:' .. uid, 'state', 'changes', 'received', 'tenant')
  if held and held[1] == 'receiving' and (held[2] or '0') == changes then
    set_state(uid, 'receiving', 'complete', held[3], held[4], 'completion', ARGV[place + 3], 'updated', wall)
    complete[#complete + 1] = uid
  end
end
return complete
