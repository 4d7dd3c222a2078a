-- How much waits, runs and was given up. ARGV: time.
-- Answers ready and leased jobs by kind, delayed and dead jobs, open studies, the longest wait in ms, and a list of the
-- queues of jobs that demand something of workers: kind, demand, jobs, longest wait.
local _, t = clocks()
local ready, leased = { x = 0, c = 0, m = 0, a = 0 }, { x = 0, c = 0, m = 0, a = 0 }
local longest, open = 0, 0
local late = call('ZRANGE', P .. 'late', 0, -1)
for _, member in ipairs(late) do
  local kind = string.sub(member, -1)
  ready[kind] = ready[kind] + 1
end

-- Counts a queue; the jobs in it, and how long the first of them has waited.
local function look(kind, queue)
  local first = call('ZRANGE', P .. queue, 0, 0)[1]
  if not first then
    return 0, 0
  end
  local uid, n = parse(first)
  local jobs, wait = call('ZCARD', P .. queue), t - get_job(uid, n)[UPDATED]
  ready[kind], longest = ready[kind] + jobs, math.max(longest, wait)
  return jobs, wait
end

local demanded = {}
for _, waiting in ipairs(call('SMEMBERS', P .. 'waiting')) do
  local kind, tenant, demand = parse_waiting(waiting)
  if demand then
    local jobs, wait = look(kind, queue_of(kind, tenant, demand))
    if jobs > 0 then
      demanded[#demanded + 1] = { kind, demand, jobs, wait }
    end
  end
end
local counts = call('HGETALL', P .. 'open')
for place = 1, #counts, 2 do
  open = open + counts[place + 1]
  for kind in string.gmatch('xcma', '%a') do
    leased[kind] = leased[kind] + call('ZCARD', P .. 'l:' .. kind .. ':' .. counts[place])
    look(kind, queue_of(kind, counts[place]))
  end
end
return {
  ready.x, ready.c, ready.m, ready.a, leased.x, leased.c, leased.m, leased.a, #late, call('ZCARD', P .. 'dead'), open,
  longest, demanded,
}
