-- Stores the outcome of a read job. ARGV: time, study, number, token, outcome, then the nine figures of its cost.
local uid, n, token, outcome = ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5]
local FIRST_COST = 6
local job = get_job(uid, n)
if settled(job, token) == 'C' then
  return { 'before' }
end
local refused = refusal(job, token)
if refused then
  return { refused }
end
if job[KIND] == 'm' then
  return { 'misfit' }
end
local wall, t = clocks()
leave(uid, n, job)
job[STATE], job[EXPIRES], job[SETTLED], job[SETTLED_HOW], job[UPDATED] = 'd', 0, token, 'C', t
put_job(uid, n, job)
call('HSET', P .. 'o:' .. uid, n, outcome)
local cost = {}
for place = FIRST_COST, #ARGV do
  cost[#cost + 1] = tonumber(ARGV[place])
end
cost[#cost + 1] = job[WAITED]
add_cost(uid, cost)
count_finished(uid, wall, t)
return { 'now' }
