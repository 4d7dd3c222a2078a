-- How much waits, runs and was given up. ARGV: time.
-- Answers ready and leased jobs by kind, delayed and dead jobs, open studies, and the longest wait in ms.
local _, t = clocks()
local ready, leased, delayed, longest = {}, { x = 0, c = 0, m = 0 }, 0, 0
for _, kind in ipairs({ 'x', 'c', 'm' }) do
  local late = call('ZCARD', P .. 'late:' .. kind)
  delayed = delayed + late
  ready[kind] = late
  for _, tenant in ipairs(call('SMEMBERS', P .. 'waiting:' .. kind)) do
    local queue = P .. 'q:' .. kind .. ':' .. tenant
    ready[kind] = ready[kind] + call('ZCARD', queue)
    local first = call('ZRANGE', queue, 0, 0)[1]
    local uid, n = parse(first)
    longest = math.max(longest, t - get_job(uid, n)[UPDATED])
  end
end
local counts = call('HGETALL', P .. 'leased')
for place = 1, #counts, 2 do
  local kind = string.sub(counts[place], 1, 1)
  leased[kind] = leased[kind] + counts[place + 1]
end
return {
  ready.x, ready.c, ready.m, leased.x, leased.c, leased.m, delayed, call('ZCARD', P .. 'dead'),
  tonumber(call('HGET', P .. 'open', '*') or 0), longest,
}
