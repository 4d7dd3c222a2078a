-- Adds a question about a study. ARGV: time, study, number, head start in ms, demand (empty for none), spec.
local uid, n, head_start = ARGV[2], ARGV[3], tonumber(ARGV[4])
local demand = ARGV[5] ~= '' and ARGV[5] or nil
local state, tenant = unpack(call('HMGET', P .. 's:' .. uid, 'state', 'tenant'))
if not state then
  return { 'study' }
end
if state == 'removing' then
  return { 'state', state }
end
if get_job(uid, n) then
  return { 'before' }
end
local _, t = clocks()
local job = { 'a', 'r', t - head_start, 0, 0, 0, 0, 0, '', 0, '', t, tenant, '', demand }
call('HSET', P .. 'j:' .. uid, 's' .. n, ARGV[6])
put_job(uid, n, job)
enter(uid, n, job)
return { 'now' }
