-- Cancels a study with its jobs. ARGV: time, study, reason.
local uid = ARGV[2]
local state, received, tenant = unpack(call('HMGET', P .. 's:' .. uid, 'state', 'received', 'tenant'))
if not state then
  return { 'study' }
end
if state == 'cancelled' then
  return { 'before' }
end
if not OPEN[state] then
  return { 'state', state }
end
local wall, t = clocks()
for n, job in pairs(all_jobs(uid)) do
  if job[KIND] == 'a' then
    forget_job(uid, n, job)
  elseif job[STATE] == 'r' or job[STATE] == 'l' or job[STATE] == 'D' then
    leave(uid, n, job)
    job[STATE], job[NOT_BEFORE], job[EXPIRES], job[UPDATED] = 'c', 0, 0, t
    put_job(uid, n, job)
  end
end
set_state(uid, state, 'cancelled', received, tenant, 'reason', ARGV[3], 'updated', wall)
return { 'now' }
