-- Ends an attempt without an outcome. ARGV: time, study, number, token, reason, verdict ('dead' or a delay in ms).
local uid, n, token, reason, verdict = ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5], ARGV[6]
local job = get_job(uid, n)
local how = settled(job, token)
if how == 'R' then
  return { 'retried' }
end
if how == 'B' then
  return { 'buried' }
end
local refused = refusal(job, token)
if refused then
  return { refused }
end
local wall, t = clocks()
local retried = verdict ~= 'dead'
job[SETTLED], job[SETTLED_HOW] = token, retried and 'R' or 'B'
note_failure(uid, n, job, reason, verdict, wall, t)
return { retried and 'retried' or 'buried' }
