-- Declares studies complete. ARGV: time, request id, studies.
local id = ARGV[2]
local named = table.concat(ARGV, ' ', 3)
if id ~= '' then
  local before = call('HGET', P .. 'requests', id)
  if before then
    return { before == named and 'before' or 'reused' }
  end
end
local states = {}
for place = 3, #ARGV do
  states[place] = call('HGET', P .. 's:' .. ARGV[place], 'state')
  if not states[place] then
    return { 'study', ARGV[place] }
  end
end
local wall, t = clocks()
local done = 'before'
local seen = {}
for place = 3, #ARGV do
  local state = not seen[ARGV[place]] and states[place]
  seen[ARGV[place]] = true
  if state == 'receiving' then
    set_state(ARGV[place], state, 'complete', { 'updated', wall })
    done = 'now'
  elseif state == 'failed' or state == 'cancelled' then
    reopen(ARGV[place], state, 'complete', wall)
    done = 'now'
  end
end
if id ~= '' then
  call('HSET', P .. 'requests', id, named)
  call('ZADD', P .. 'requests:at', t, id)
end
return { done }
