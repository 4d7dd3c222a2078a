-- Gives a job back unfinished. ARGV: time, study, number, token.
local uid, n, token = ARGV[2], ARGV[3], tonumber(ARGV[4])
local job = get_job(uid, n)
if settled(job, token) == 'L' then
  return { 'before' }
end
local refused = refusal(job, token)
if refused then
  return { refused }
end
local _, t = clocks()
leave(uid, n, job)
job[STATE], job[ATTEMPTS], job[NOT_BEFORE], job[EXPIRES] = 'r', job[ATTEMPTS] - 1, 0, 0
job[SETTLED], job[SETTLED_HOW], job[UPDATED] = token, 'L', t
put_job(uid, n, job)
enter(uid, n, job)
return { 'now' }
