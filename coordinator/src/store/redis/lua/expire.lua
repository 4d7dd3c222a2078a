-- Takes back a lease that has run out. ARGV: time, study, number, token, verdict ('dead' or a delay in ms).
local uid, n, token, verdict = ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5]
local wall, t = clocks()
local job = get_job(uid, n)
if not job or job[STATE] ~= 'l' or job[TOKEN] ~= token or job[EXPIRES] > t then
  return { 'before' }
end
note_failure(uid, n, job, 'lease ran out: the worker was not heard of in time', verdict, wall, t)
return { 'now' }
