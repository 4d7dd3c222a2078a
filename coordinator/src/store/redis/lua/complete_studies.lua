-- Declares studies complete. ARGV: time, request id, why, studies.
local id = ARGV[2]
local FIRST = 4
local named = table.concat(ARGV, ' ', FIRST)
if id ~= '' then
  local before = call('HGET', P .. 'requests', id)
  if before then
    return { before == named and 'before' or 'reused' }
  end
end
local states = {}
for place = FIRST, #ARGV do
  states[place] = call('HMGET', P .. 's:' .. ARGV[place], 'state', 'received', 'tenant')
  if not states[place][1] then
    return { 'study', ARGV[place] }
  end
end
local wall, t = clocks()
local done = 'before'
local seen = {}
for place = FIRST, #ARGV do
  local state, received, tenant = unpack(states[place])
  state = not seen[ARGV[place]] and state
  seen[ARGV[place]] = true
  if state == 'receiving' then
    set_state(ARGV[place], state, 'complete', received, tenant, 'completion', ARGV[3], 'updated', wall)
    done = 'now'
  elseif state == 'failed' or state == 'cancelled' or state == 'skipped' then
    reopen(ARGV[place], state, 'complete', received, tenant, wall, t)
    call('HSET', P .. 's:' .. ARGV[place], 'completion', ARGV[3])
    done = 'now'
  end
end
if id ~= '' then
  call('HSET', P .. 'requests', id, named)
  call('ZADD', P .. 'requests:at', t, id)
end
return { done }
