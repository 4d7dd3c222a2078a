-- How much waits, runs and was given up. ARGV: time.
-- Answers ready and leased jobs by kind, delayed and dead jobs, open studies, and the longest wait in ms.
local _, t = clocks()
local ready, leased = { x = 0, c = 0, m = 0 }, { x = 0, c = 0, m = 0 }
local longest, open = 0, 0
local late = call('ZRANGE', P .. 'late', 0, -1)
for _, member in ipairs(late) do
  local kind = string.sub(member, -1)
  ready[kind] = ready[kind] + 1
end
local counts = call('HGETALL', P .. 'open')
for place = 1, #counts, 2 do
  open = open + counts[place + 1]
  for kind in string.gmatch('xcm', '%a') do
    leased[kind] = leased[kind] + call('ZCARD', P .. 'l:' .. kind .. ':' .. counts[place])
    local queue = P .. 'q:' .. kind .. ':' .. counts[place]
    local first = call('ZRANGE', queue, 0, 0)[1]
    if first then
      ready[kind] = ready[kind] + call('ZCARD', queue)
      local uid, n = parse(first)
      longest = math.max(longest, t - get_job(uid, n)[UPDATED])
    end
  end
end
return {
  ready.x, ready.c, ready.m, leased.x, leased.c, leased.m, #late, call('ZCARD', P .. 'dead'), open, longest,
}
