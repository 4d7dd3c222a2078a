-- Lets a lease last longer. ARGV: time, study, number, token, lease time in ms.
local uid, n, token, ttl = ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local job = get_job(uid, n)
local refused = refusal(job, token)
if refused then
  return { refused }
end
local _, t = clocks()
job[EXPIRES] = t + ttl
put_job(uid, n, job)
call('ZADD', P .. 'leases', job[EXPIRES], member_of(uid, n, job[KIND]))
return { 'now' }
